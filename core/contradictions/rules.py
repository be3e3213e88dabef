"""Two texts about one subject: rules that compare what both state.

Each rule looks for one kind of statement in both sentences and returns a `Finding` where they cannot both be right. The
scores are a judgement, made while reading what the rules found; docs/detection.md says how often all rules together are
right.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from core.contradictions.antonyms import are_opposites
from core.contradictions.finding import Context, Finding
from core.contradictions.pairing import SentencePair
from core.contradictions.polarity import opposed_words, opposite_polarity
from core.contradictions.sentences import Sentence
from core.contradictions.values import Value, ValueKind
from core.model import ContradictionKind, Span
from core.text import content_stems, stem

Rule = Callable[[SentencePair, Context], Finding | None]

_EVENT_WINDOW_CHARS = 60
_ASKED_WINDOW_CHARS = 60
_ROUNDING = 0.02
"""Quantities closer than this share are taken for one figure, rounded differently."""
_BOUND_BEFORE = re.compile(
    r"(?:[<>≤≥~]|\d\s*(?:[-–—]|to|or)|\bbetween\s\S{1,12}\sand|\b(?:over|above|under|below|at least|at most|up to"
    r"|(?:more|less|fewer|greater) than))\s*$",
    re.IGNORECASE,
)
"""Before a number these make it the end of a range or a bound: no figure that another one could contradict."""
_BOUND_WINDOW_CHARS = 32
_BOUND_AFTER = re.compile(r"[^.;]{0,20}\b(?:more|less|fewer|higher|lower|or so)\b", re.IGNORECASE)
"""Behind a number these make it a difference or a bound: `3,000 more than before`."""
_WHOLE = 100.0

_SUPPORT = re.compile(
    r"\b(?:requires?|required|requirements?|supports?|supported|needs?|needed|compatible|works?|runs?|minimum|"
    r"at least|python_requires|for python)\b",
    re.IGNORECASE,
)
_PAST = re.compile(
    r"\b(?:drop|deprecat|remov|no longer|end(?:ed|s|[- ]of[- ]life)\b|eol|older|latest|last|legacy|until|before|prior|"
    r"if\b|versions?\s\d[\w.]*\s(?:to|through|and|or|[-–])\s?\d)",
    re.IGNORECASE,
)
_ASIDE_BEFORE = re.compile(r"(?:\(\s*|(?:^|[:;,(]\s*)(?:on|under|with|for|since)\s+)\w+\s*[<>=~!]*\s*$", re.IGNORECASE)
"""Before a version these make it the condition of something else: `(Python 3.4 and up)`, `On Python 3.14+, ...`."""
_REQUIRES = re.compile(r"(?P<who>[^,;:()]{0,80})\b(?:requires?|needs?|supports?)\s", re.IGNORECASE)
_RELEASE = re.compile(r"\b\d+\.\d|\b\d+\.x\b", re.IGNORECASE)
_GENERIC = frozenset(map(stem, "package library project module distribution tool software program version".split()))
"""How a text calls the product it is about."""


def required_versions(pair: SentencePair, context: Context) -> Finding | None:
    """Two statements of which versions of a product are needed, whose lowest versions differ.

    `Python >=3.10` against `supports Python 3.8 and 3.9`. Sentences about versions that were dropped say nothing, and
    a single version without a bound is an example.
    """
    lowest_left, lowest_right = (_lowest_versions(one, context) for one in (pair.left, pair.right))
    for product in sorted(lowest_left.keys() & lowest_right.keys() & context.query_topic):
        one, other = lowest_left[product], lowest_right[product]
        low, high = sorted((one, other), key=lambda value: value.digits)
        if low.digits[:2] != high.digits[:2] and high.bounded:
            return Finding(ContradictionKind.NUMERIC, 0.8, Span(one.start, one.end), Span(other.start, other.end))
    return None


def _lowest_versions(sentence: Sentence, context: Context) -> dict[str, Value]:
    """The lowest version of each product that the sentence says is needed or supported."""
    if not _SUPPORT.search(sentence.text) or _PAST.search(sentence.text) or _requires_for_a_part(sentence, context):
        return {}
    stated: dict[str, list[Value]] = {}
    for value in sentence.values:
        if value.kind is ValueKind.VERSION and not _is_aside(sentence, value):
            stated.setdefault(value.key, []).append(value)
    return {
        product: min(values, key=lambda value: value.digits)
        for product, values in stated.items()
        if len(values) > 1 or values[0].bounded
    }


def _requires_for_a_part(sentence: Sentence, context: Context) -> bool:
    """Whether something else than the query's subject requires: a feature (`type checking requires ...`), a release."""
    verb = _REQUIRES.search(sentence.text)
    if verb is None:
        return False
    who = content_stems(verb["who"])
    return bool(who) and (not who & (context.about | _GENERIC) or _RELEASE.search(verb["who"]) is not None)


def _is_aside(sentence: Sentence, value: Value) -> bool:
    return _ASIDE_BEFORE.search(sentence.passage_text[sentence.start : value.start]) is not None


_EVENTS = {
    name: re.compile(rf"\b(?:{words})", re.IGNORECASE)
    for name, words in {
        "birth": r"born\b|birth\b|b\.\s",
        "death": r"died\b|death\b|passed away",
        "foundation": r"founded|established|incorporated|formed\b|foundation\b|inception",
        "release": r"released|release\b|published|premiered|debuted|launched|aired",
        "opening": r"opened|opening\b|inaugurated",
        "construction": r"built\b|constructed|completed\b|erected",
        "discovery": r"discovered|invented|patented",
        "end": r"closed\b|dissolved|abolished|demolished|ended\b",
    }.items()
}


def event_dates(pair: SentencePair, context: Context) -> Finding | None:
    """The same event of the subject (birth, foundation, release, ...), at dates that cannot both be right."""
    del context
    for event in _EVENTS.values():
        one, other = _date_of(pair.left, event), _date_of(pair.right, event)
        if one is None or other is None:
            continue
        shared = min(len(one.digits), len(other.digits))
        if one.digits[:shared] != other.digits[:shared]:
            return Finding(ContradictionKind.DATE, 0.7, Span(one.start, one.end), Span(other.start, other.end))
    return None


def _date_of(sentence: Sentence, event: re.Pattern[str]) -> Value | None:
    """The one date that stands close to the event's word; nothing where two compete."""
    match = event.search(sentence.passage_text, sentence.start, sentence.end)
    if match is None:
        return None
    close = [
        value
        for value in sentence.values
        if value.kind is ValueKind.DATE and -_EVENT_WINDOW_CHARS / 2 <= value.start - match.end() <= _EVENT_WINDOW_CHARS
    ]
    return close[0] if len(close) == 1 else None


_ROLES = {
    name: re.compile(pattern, re.IGNORECASE)
    for name, pattern in {
        "director": r"\bdirected by\s+",
        "author": r"\bwritten by\s+|\bauthored by\s+|\bauthor (?:is|was)\s+",
        "producer": r"\bproduced by\s+",
        "founder": r"\bfounded by\s+",
        "designer": r"\bdesigned by\s+",
        "composer": r"\bcomposed by\s+",
        "performer": r"\bperformed by\s+|\brecorded by\s+|\bsung by\s+",
        "spouse": r"\bmarried to\s+",
        "capital": r"\bcapital (?:is|was)\s+",
        "owner": r"\bowned by\s+",
    }.items()
}
_ROLE_GAP_CHARS = 5
_LIST_JOINER = re.compile(r"\s*(?:,\s*(?:and\s|&)?|and\s|&)\s*")


def role_names(pair: SentencePair, context: Context) -> Finding | None:
    """The same role (director, founder, licence, ...) held by different names."""
    del context
    for role in _ROLES.values():
        one, other = _holder(pair.left, role), _holder(pair.right, role)
        if one is None or other is None:
            continue
        shared = _stems_of(_listed(pair.left, one)) & _stems_of(_listed(pair.right, other))
        if not shared and not _forms_of_one_another(pair, one, other):
            return Finding(ContradictionKind.ENTITY, 0.7, Span(one.start, one.end), Span(other.start, other.end))
    return None


_LICENCE = re.compile(
    r"\b(?:licen[cs]ed|released|distributed|available) under\s+(?:the\s+|an?\s+)?(?:terms of the\s+)?(?:the\s+)?"
    r"|\blicen[cs]e (?:of [\w.\-]+ )?is\s+(?:the\s+)?",
    re.IGNORECASE,
)


_LICENCE_VERSION = re.compile(r"v?\d[\w.]*")
_LETTERS = re.compile(r"\b(?!of\b|the\b)[a-z]+")
_LICENCE_WORDS = frozenset(
    "license licence public general software version v or later only new modified style clause and".split()
)
"""Words that many licences have in their names."""
_LICENCE_STEMS = frozenset(stem(word) for word in ("licence", "license", "licensed"))


def licences(pair: SentencePair, context: Context) -> Finding | None:
    """Two different licences of the subject; nothing where one abbreviates the other, or lists have one in common."""
    if not context.query_topic & _LICENCE_STEMS:
        return None
    one, other = _holder(pair.left, _LICENCE), _holder(pair.right, _LICENCE)
    if one is None or other is None:
        return None
    listed = (
        sentence.passage_text[names[0].start : names[-1].end]
        for sentence, names in ((pair.left, _listed(pair.left, one)), (pair.right, _listed(pair.right, other)))
    )
    if _is_one_licence(*listed):
        return None
    return Finding(ContradictionKind.ENTITY, 0.7, Span(one.start, one.end), Span(other.start, other.end))


def _is_one_licence(one: str, other: str) -> bool:
    """Whether two licences (or lists of some) may be the same: they share a word, or one abbreviates the other."""
    ones, others = _licence_words(one), _licence_words(other)
    if not ones - _LICENCE_WORDS or not others - _LICENCE_WORDS:
        return True
    if (ones & others) - _LICENCE_WORDS:
        return True
    return any(
        len(word) > 1 and word in "".join(part[0] for part in long)
        for short, long in ((ones, _LETTERS.findall(other.lower())), (others, _LETTERS.findall(one.lower())))
        for word in short
    )


def _licence_words(text: str) -> set[str]:
    return set(_LETTERS.findall(_LICENCE_VERSION.sub(" ", text.lower())))


def _holder(sentence: Sentence, role: re.Pattern[str]) -> Value | None:
    """The name that follows the role's words."""
    match = role.search(sentence.passage_text, sentence.start, sentence.end)
    if match is None:
        return None
    names = (value for value in sentence.values if value.kind is ValueKind.NAME)
    return next((name for name in names if 0 <= name.start - match.end() <= _ROLE_GAP_CHARS), None)


def _listed(sentence: Sentence, first: Value) -> list[Value]:
    """A name and those that commas and an `and` add to it: a role can have several holders."""
    listed = [first]
    for value in sentence.values:
        if value.kind is ValueKind.NAME and value.start > first.start:
            if not _LIST_JOINER.fullmatch(sentence.passage_text, listed[-1].end, value.start):
                break
            listed.append(value)
    return listed


def _stems_of(names: Iterable[Value]) -> set[str]:
    return {stemmed for name in names for stemmed in name.stems}


def _forms_of_one_another(pair: SentencePair, one: Value, other: Value) -> bool:
    """Whether one name is part of the other or its abbreviation: MIT and MIT-style, BSD and the spelled-out name."""
    short, long = sorted((_value_text(pair.left, one), _value_text(pair.right, other)), key=len)
    initials = "".join(word[0] for word in re.findall(r"[A-Za-z]+", long)).lower()
    return short.replace(".", "").lower() in initials or short.lower() in long.lower()


def _value_text(sentence: Sentence, value: Value) -> str:
    return sentence.passage_text[value.start : value.end]


def counted_things(pair: SentencePair, context: Context) -> Finding | None:
    """What the query asks about, counted differently, at the same time as far as times are given.

    In both sentences the number stands close to words of the query, and is the only one of its unit. Ranges and bounds
    (`10 to 20`, `over 3,000`) are no figures that could contradict another.
    """
    years_left, years_right = _years(pair.left), _years(pair.right)
    if years_left and years_right and not years_left & years_right:
        return None
    for unit in sorted({value.key for value in pair.left.values if value.kind is ValueKind.QUANTITY and value.key}):
        ones, others = _quantities(pair.left, unit), _quantities(pair.right, unit)
        if len(ones) != 1 or len(others) != 1:
            continue
        one, other = ones[0], others[0]
        if _is_bound(pair.left, one) or _is_bound(pair.right, other):
            continue
        asked = _asked_near(pair.left, one, context) & _asked_near(pair.right, other, context)
        if not asked - {unit} or _turn_words_round(pair):
            continue
        if unit == "%" and one.number + other.number == _WHOLE:
            continue  # what has a property, and what lacks it
        if abs(one.number - other.number) > _ROUNDING * max(abs(one.number), abs(other.number)):
            return Finding(ContradictionKind.NUMERIC, 0.6, Span(one.start, one.end), Span(other.start, other.end))
    return None


def _asked_near(sentence: Sentence, value: Value, context: Context) -> set[str]:
    """Stems of the query's attribute, as far as they stand close to the value."""
    return {
        stemmed
        for word, stemmed in zip(sentence.words, sentence.stems, strict=True)
        if stemmed in context.attribute
        and value.start - _ASKED_WINDOW_CHARS <= word.start <= value.end + _ASKED_WINDOW_CHARS
    }


def _is_bound(sentence: Sentence, value: Value) -> bool:
    window = max(sentence.start, value.start - _BOUND_WINDOW_CHARS)
    return (
        _BOUND_BEFORE.search(sentence.passage_text, window, value.start) is not None
        or _BOUND_AFTER.match(sentence.passage_text, value.end, sentence.end) is not None
    )


def _turn_words_round(pair: SentencePair) -> bool:
    """Whether one sentence has the opposite of a word of the other: then both count different things."""
    return any(
        are_opposites(one, other)
        for one in pair.left.topic - pair.right.topic
        for other in pair.right.topic - pair.left.topic
    )


def _years(sentence: Sentence) -> set[int]:
    return {value.digits[0] for value in sentence.values if value.kind is ValueKind.DATE}


def _quantities(sentence: Sentence, unit: str) -> list[Value]:
    return [
        value
        for value in sentence.values
        if value.kind is ValueKind.QUANTITY and value.key == unit and not sentence.passage_text[value.start].isalpha()
    ]


RULES_ON_PRODUCTS: tuple[Rule, ...] = (required_versions, licences)
"""Rules about products, whose names are unique enough."""

RULES_IN_ONE_SETTING: tuple[Rule, ...] = (
    event_dates,
    role_names,
    counted_things,
    opposite_polarity,
    opposed_words,
)
"""Rules that namesakes would fool: they need passages that also share other names."""

"""Pairs of opposite words from WordNet 3.0, reduced to stems.

WordNet's antonyms are pairs of words in one sense each (pointer `!`, man page wninput(5)). Taken are adjectives,
adverbs and verbs, and nouns where one denies the other (`stability`, `instability`) or that `_NOUNS` lists: two
opposite nouns are mostly two things (`the beginning of the war`, `the end of the war`), and both sentences may be
right. A pair stays where one word denies the other, or where the opposed senses are among the first `_SENSES` of both
words. Out are the words of `_LOOSE`: what they say of a thing stands beside its counterpart in one world, or is the
same event from the other side. Comparatives, superlatives and irregular forms are added: stems do not lead to them.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from core.text import STOPWORDS, stem

_SENSES = 2
_PARTS_OF_SPEECH = ("noun", "verb", "adj", "adv")
_WORD = re.compile(r"[a-z]{2,}")
_DENIALS = ("anti", "counter", "de", "dis", "il", "im", "in", "ir", "mal", "mis", "non", "un")
_ENDINGS = (("ful", "less"), ("fully", "lessly"))
_NOUNS = frozenset(
    "absence acceleration acceptance acquittal appearance appreciation contraction conviction deceleration decrease "
    "defeat deficit depreciation disappearance expansion failure fall gain guilt increase innocence loss majority "
    "maximum minimum minority presence rejection rise strength success surplus victory weakness".split()
)
"""Nouns whose antonyms are taken."""
_PLACES = (
    "above ahead away back backward backwards below bottom down downstairs downstream downtown downward downwards east "
    "eastern easterly external externally far following forward forwards front here home inner inside internal "
    "internally inward inwardly leading left lower near north northern northerly off on out outer outside outward "
    "outwardly overhead right side south southern southerly surface there top up upper upstairs upstream uptown upward "
    "upwards west western westerly distant close anterior posterior proximal distal dorsal ventral medial lateral "
    "leeward windward aft fore"
)
_TIMES = (
    "advance after before early earliest first former future last late latter middle past preceding present previous "
    "second succeeding precede follow succeed postwar prewar predate postdate"
)
_PEOPLE = "female feminine male masculine junior senior maternal paternal"
_VIEWS = (
    "arrive ask answer borrow buy come export exhale go give import inhale lend leave live sell take have miss find "
    "deposit withdraw set be let know mind back veer move stay depart admit issue recall lie sit stand walk ride"
)
"""One event from two sides, or two that belong to one story."""
_DEGREES = (
    "all anti double ever few half like little many mental much multiple neutral no numerical other physical pro same "
    "single some whole natural sharp flat dull bound free even odd bare covered round square general common individual "
    "local national international conventional nuclear nonspecific specific strange familiar delicate rugged running "
    "passing moving still green black white blue lively concerned changed adopted ordered lined headed overt analytic "
    "synthetic functional lyric cerebral lead break make keep charge discharge clear bounce better well ill open shut "
    "closed dress fuse bolt string staple button pin tune clip"
)
"""Quantities and degrees that go together, and words of many senses."""
_LOOSE = frozenset(f"{_PLACES} {_TIMES} {_PEOPLE} {_VIEWS} {_DEGREES}".split())
"""Words that are left out in every sense, with all their opposites, unless `_KEPT` has the pair."""
_KEPT = (
    ("open", "closed"),
    ("open", "shut"),
    ("open", "close"),
    ("arrive", "depart"),
    ("keep", "lose"),
    ("many", "few"),
    ("better", "worse"),
    ("single", "multiple"),
    ("single", "married"),
    ("internal", "external"),
    ("same", "different"),
    ("ever", "never"),
    ("upward", "downward"),
    ("admit", "deny"),
    ("all", "none"),
    ("even", "odd"),
    ("live", "dead"),
    ("even", "uneven"),
    ("make", "break"),
)
_ADDED = (("more", "less"), ("more", "fewer"), ("most", "least"), ("always", "never"), ("win", "lose"), ("won", "lost"))
"""Opposites that WordNet has in forms or senses that the rules above lose."""
_SHORT = re.compile(r"[^aeiouy]*[aeiouy]+[^aeiouy]*e?")
"""A word of one syllable, whose comparative ends in `er`."""


@dataclass(frozen=True, slots=True)
class _Lexicon:
    """WordNet's words of one part of speech.

    Attributes:
        words: the words of each set of synonyms, by its offset.
        opposed: offset and place of a word, then those of its antonym; places count from 0.
        senses: for each word the offsets of its senses, the most frequent one first.
        irregular: the forms of each word that its rules do not give.
    """

    words: dict[str, tuple[str, ...]]
    opposed: tuple[tuple[str, int, str, int], ...]
    senses: dict[str, tuple[str, ...]]
    irregular: dict[str, frozenset[str]]


def antonym_table(folder: Path) -> str:
    """The table as text.

    Args:
        folder: with WordNet's files.

    Raises:
        OSError: a file is missing.
    """
    opposites: defaultdict[str, set[str]] = defaultdict(set)
    for part in _PARTS_OF_SPEECH:
        lexicon = _read(folder, part)
        for one, other in _pairs(lexicon, part):
            for left, right in _forms(one, other, part, lexicon.irregular):
                _add(opposites, left, right)
    for one, other in (*_KEPT, *_ADDED):
        _add(opposites, one, other)
    return "".join(f"{low} {' '.join(sorted(highs))}\n" for low, highs in sorted(opposites.items()))


def _add(opposites: defaultdict[str, set[str]], one: str, other: str) -> None:
    low, high = sorted((stem(one), stem(other)))
    if low != high:
        opposites[low].add(high)


def _read(folder: Path, part: str) -> _Lexicon:
    words: dict[str, tuple[str, ...]] = {}
    opposed = []
    for line in _lines(folder / f"data.{part}"):
        fields = line.partition("|")[0].split()
        count = int(fields[3], 16)
        words[fields[0]] = tuple(field.partition("(")[0] for field in fields[4 : 4 + 2 * count : 2])
        pointers = fields[5 + 2 * count :]
        for sign, target, of_part, places in zip(*[iter(pointers)] * 4, strict=False):
            if sign == "!" and (of_part == "s" or part.startswith(of_part) or (part, of_part) == ("adv", "r")):
                opposed.append((fields[0], int(places[:2], 16) - 1, target, int(places[-2:], 16) - 1))
    senses = {}
    for line in _lines(folder / f"index.{part}"):
        fields = line.split()
        senses[fields[0]] = tuple(fields[-int(fields[2]) :])
    irregular: defaultdict[str, set[str]] = defaultdict(set)
    for line in _lines(folder / f"{part}.exc"):
        form, *bases = line.split()
        for base in bases:
            irregular[base].add(form)
    return _Lexicon(words, tuple(opposed), senses, {base: frozenset(forms) for base, forms in irregular.items()})


def _lines(path: Path) -> Iterator[str]:
    with path.open(encoding="latin-1") as lines:
        yield from (line for line in lines if line[0] != " ")  # the licence stands indented at the top


def _pairs(lexicon: _Lexicon, part: str) -> Iterator[tuple[str, str]]:
    for one_sense, one_place, other_sense, other_place in lexicon.opposed:
        one, other = lexicon.words[one_sense][one_place], lexicon.words[other_sense][other_place]
        if not (_WORD.fullmatch(one) and _WORD.fullmatch(other)) or {one, other} & (_LOOSE | STOPWORDS):
            continue
        denied = _denies(one, other) or _denies(other, one)
        listed = part != "noun" or (one in _NOUNS and other in _NOUNS)
        frequent = all(
            sense in lexicon.senses[word][:_SENSES] for word, sense in ((one, one_sense), (other, other_sense))
        )
        if denied or (listed and frequent):
            yield one, other


def _denies(one: str, other: str) -> bool:
    """Whether `one` is `other` with a denying prefix, or ends in `less` where `other` ends in `ful`."""
    if any(one == start + other for start in _DENIALS):
        return True
    return any(one == other.removesuffix(full) + less for full, less in _ENDINGS if other.endswith(full))


def _forms(one: str, other: str, part: str, irregular: dict[str, frozenset[str]]) -> Iterator[tuple[str, str]]:
    """The pair and its forms that have stems of their own."""
    yield one, other
    if part == "verb":
        yield from product((one, *irregular.get(one, ())), (other, *irregular.get(other, ())))
    if part == "adj":
        for ending in ("er", "est"):
            left, right = _degrees(one, ending, irregular), _degrees(other, ending, irregular)
            yield from product(left, right)


def _degrees(word: str, ending: str, irregular: dict[str, frozenset[str]]) -> tuple[str, ...]:
    found = tuple(form for form in irregular.get(word, ()) if form.endswith(ending))
    if found or not _SHORT.fullmatch(word):
        return found
    return (word.removesuffix("e") + ending,)

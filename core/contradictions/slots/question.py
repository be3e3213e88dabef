"""What a question asks for, and about what."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from types import MappingProxyType

from core.contradictions.slots.lexicon import asked_categories
from core.contradictions.subject import subject_of
from core.contradictions.values import ValueKind, values_in
from core.text import content_stems, stem, words


class SlotKind(StrEnum):
    """What sort of answer a question asks for."""

    DATE = "date"
    NUMBER = "number"
    PERSON = "person"
    PLACE = "place"
    CATEGORY = "category"
    VERSION = "version"
    YES_NO = "yes or no"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Question:
    """A question, read.

    Attributes:
        text: the question.
        kind: what sort of answer it asks for.
        categories: for `CATEGORY`, the names of the categories, most likely first.
        attribute: stems of what it asks about its subject.
        triggers: stems that stand beside the answer: the attribute's own words and others that say the same.
        subject: stems of what it asks about.
        topic: stems of all its topic words.
        units: stems of the units that its answer comes in; empty where it may be any.
    """

    text: str
    kind: SlotKind
    categories: tuple[str, ...]
    attribute: frozenset[str]
    triggers: frozenset[str]
    subject: frozenset[str]
    topic: frozenset[str]
    units: frozenset[str]


_YES_NO = re.compile(r"(?:is|are|was|were|do|does|did|has|have|had|can|could|will|would|should)\b", re.IGNORECASE)
_ASKED = re.compile(
    r"(?:(?:in|on|at|of|for|to|by|from|with|under|since)\s+)?(?:who|whom|whose|what|when|where|which|how)\b|.*\?\s*$",
    re.IGNORECASE | re.DOTALL,
)
_QUOTED = re.compile(r"[\"“](.+?)[\"”]")
_VERSION = re.compile(r"\bversions?\b|\b(?:which|what) (?:python|release)\b", re.IGNORECASE)
_DATE = re.compile(
    r"^when\b|\b(?:what|which) (?:year|date|month|day|century)\b|\b(?:birth|death|release|start|founding) date\b"
    r"|\bdate of\b|\bhow recently\b|\bwhat time\b",
    re.IGNORECASE,
)
_NUMBER = re.compile(
    r"\bhow (?:many|much|long|tall|high|old|far|big|large|deep|wide|fast|heavy|often)\b|\b(?:population|number of|area|"
    r"elevation|length|size|height|distance|percentage|capacity|runtime|median|income|temperature|price|cost|"
    r"speed|weight|depth|width|age|amount|total|rate)\b",
    re.IGNORECASE,
)
_PLACE = re.compile(
    r"\bwhere\b|\b(?:what|which) (?:city|country|state|county|province|region|district|town|village|river|island|"
    r"continent)\b|\b(?:location|birthplace|capital|located in|headquarters)\b|\bis the region\b|\bstate where\b",
    re.IGNORECASE,
)
_LINK = re.compile(r"\b(?:home ?page|web ?site|repositor(?:y|ies)|source code|url|documentation|docs)\b", re.IGNORECASE)
"""Places on the network are no places."""
_PERSON = re.compile(
    r"^(?:who|whom|whose)\b|\b(?:author|director|artist|composer|creator|founder|architect|producer|father|mother|wife|"
    r"husband|actor|singer|writer|developer|mayor|president|owner|maintainer|main character|leader|winner)\b",
    re.IGNORECASE,
)

_SAYING = (
    "born birth b birthday",
    "die died death d buried killed passed",
    "established founded formed created opened started began inception incorporated organized formation founding",
    "built constructed completed erected construction building dating",
    "released release published issued premiered",
    "opened opening open",
    "launched launch",
    "elected election served won",
    "population inhabitants residents people census populated",
    "artist by band singer musician group performed recorded album performer vocalist",
    "director directed directs film by filmmaker",
    "author written wrote by writer novel book",
    "composer composed by",
    "producer produced by",
    "creator created by wrote director directed",
    "architect designed by",
    "located location in at city county situated near lies",
    "published in newspaper based",
    "father son daughter child succeeded",
    "mother son daughter child",
    "married wife husband spouse consort",
    "character protagonist stars role hero",
    "sport player plays played footballer team league professional",
    "profession occupation is was career professional",
    "party member elected senator representative",
    "genre film album is music",
    "instrument plays player maestro",
    "position plays as played",
    "rank retired promoted officer",
    "debut debuted joined member",
    "season career began debut professional",
    "known called common name",
    "size length area km square miles acres",
    "income median family",
    "age median years old",
    "license licence licensed under",
    "version versions requires require supports python",
)


def _synonyms() -> Mapping[str, frozenset[str]]:
    """For the first words of each line, all its words; a line's first word counts before another line's second."""
    found: dict[str, frozenset[str]] = {}
    groups = [[stem(word) for word in line.split()] for line in _SAYING]
    for group in groups:
        found[group[0]] = found.get(group[0], frozenset()).union(group)
    for group in groups:
        for word in group[1:4]:
            found.setdefault(word, frozenset(group))
    return MappingProxyType(found)


_SYNONYMS = _synonyms()


_METRES = "m metre meter km kilometre kilometer cm ft foot feet mile mi inch yard"
_UNITS = (
    (re.compile(r"\bhow (?:tall|high|far|deep|wide)\b|\b(?:height|elevation|depth|width)\b"), _METRES),
    (re.compile(r"\bhow heavy\b|\bweight\b"), "kg kilogram g gram lb pound ton tonne"),
    (re.compile(r"\bhow old\b"), "year"),
)
"""Wordings of questions, and the units that their answers come in. A length may be one of time, or a count of laps."""


@lru_cache(maxsize=1024)
def read_question(text: str) -> Question:
    """Read what a question asks for, from its wording alone."""
    subject = subject_of(text)
    categories = asked_categories(text)
    topic = content_stems(text)
    quoted = content_stems(" ".join(_QUOTED.findall(text)))
    names = quoted | subject.names if quoted else subject.names
    attribute = topic - names or topic
    triggers = attribute.union(*(_SYNONYMS.get(word, frozenset()) for word in attribute))
    if re.match(r"where\b", text, re.IGNORECASE):
        triggers |= _SYNONYMS[stem("located")]
    kind = _kind(text, categories)
    units = _units(text) if kind is SlotKind.NUMBER else frozenset[str]()
    triggers = (triggers | units) - names
    return Question(text, kind, categories, attribute, triggers, names or topic - attribute, topic, units)


def is_question(text: str) -> bool:
    """Whether a text asks for something that a passage could answer with a value.

    Claims and key words do not, and neither do questions for a yes or a no: that a passage says yes is no value in it.
    """
    return _ASKED.match(text) is not None and _YES_NO.match(text) is None


def name_in(question: Question) -> str:
    """What the question is about, as it writes it: what it quotes, else its first name, else all of it."""
    quoted = _QUOTED.search(question.text)
    if quoted is not None:
        return quoted.group(1)
    runs = values_in(question.text, 0, len(question.text), words(question.text))
    return next(
        (
            question.text[run.start : run.end]
            for run in runs
            if run.kind is ValueKind.NAME and {*run.stems} & question.subject
        ),
        question.text,
    )


def _units(text: str) -> frozenset[str]:
    wanted = next((units for pattern, units in _UNITS if pattern.search(text.lower())), "")
    return frozenset(map(stem, wanted.split()))


def _kind(text: str, categories: tuple[str, ...]) -> SlotKind:
    if _YES_NO.match(text):
        return SlotKind.YES_NO
    if _LINK.search(text):
        return SlotKind.OTHER
    if _VERSION.search(text):
        return SlotKind.VERSION
    if _DATE.search(text):
        return SlotKind.DATE
    if categories and not text.lower().startswith(("who", "where")):
        return SlotKind.CATEGORY
    if _NUMBER.search(text):
        return SlotKind.NUMBER
    if _PLACE.search(text):
        return SlotKind.PLACE
    return SlotKind.PERSON if _PERSON.search(text) else SlotKind.OTHER

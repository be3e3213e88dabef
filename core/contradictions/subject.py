"""What a query is about, and whether two passages mean the same thing by that name.

`Broken Bow, Nebraska` and `Broken Bow, Oklahoma` are two towns: passages about them can both be right. A passage says
which one it means by what it adds to the name: further parts of the name, a bracket behind it, a place after a comma,
or the year in its definition (`is a 1931 film`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from core.contradictions.sentences import Sentence, read_sentences
from core.contradictions.values import Value, ValueKind, values_in
from core.model import Span
from core.similarity import word_set
from core.text import content_stems, stem, words

_BRACKET = re.compile(r"\s*\((?P<inside>[^()]{2,40})\)")
_PLACE = re.compile(r",\s+(?P<place>(?:(?:St|Mt|Ft)\.\s)?[A-Z][\w\-]*(?:\.[\w\-]+)*(?:\s[A-Z][\w\-]*(?:\.[\w\-]+)*)?)")
_DEFINITION_YEAR = re.compile(r"\b(?:is|was)\s+(?:an?|the)\s+(?P<year>1[5-9]\d\d|20\d\d)\b")
_LIFE_DATES = re.compile(r"\bborn\b|\bdied\b|\d{3,4}\s*[–-]|^\W*\d{1,2}\s\w+\s\d{4}", re.IGNORECASE)
"""A bracket with dates of life states a fact about the subject; the next text may dispute it."""
_ABOUT_SHARE = 2 / 3
_BEGINNING = 3
"""Sentences in which a text says what it is about."""


def _stems(text: str) -> frozenset[str]:
    return frozenset(stem(word) for word in text.split())


ASKING = _stems(
    "name names called known type kind genre year date time place country state city located location many much long "
    "old number first last current currently official used work works born died founded built released published "
    "written directed invented established opened created version versions support supports supported require requires "
    "required need needs needed run runs compatible minimum licence license licensed install installed installation "
    "page package packages library project distribution purpose population author maintainer home website python pip "
    "command source code repository create created describe described development status depend dependencies lowest "
    "highest oldest newest latest"
)
"""What questions ask with, rather than ask about: a passage may lack these and still be about the subject."""

_TITLES = _stems(
    "judge justice admiral general colonel captain lieutenant major sergeant president king queen prince princess "
    "saint sir lord lady dr professor senator governor minister bishop archbishop pope father mayor"
)
"""Titles stand before many names and tell nobody apart."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What a query is about.

    Attributes:
        topic: stems of all its topic words.
        about: those that a passage about the subject has.
        names: those of the first name in the query; empty where it has no name.
    """

    topic: frozenset[str]
    about: frozenset[str]
    names: frozenset[str]

    @property
    def attribute(self) -> frozenset[str]:
        """Stems of what is asked about the subject."""
        return self.topic - self.names


@lru_cache(maxsize=1024)
def subject_of(query: str) -> Subject:
    """Tell a query's subject from what it asks about it. The first capitalised run of words is its name."""
    topic = content_stems(query)
    about = topic - ASKING or topic
    runs = (value for value in values_in(query, 0, len(query), words(query)) if value.kind is ValueKind.NAME)
    names = next((found for run in runs if (found := frozenset(run.stems) & about)), frozenset[str]())
    return Subject(topic, about, names - _TITLES or names)


@lru_cache(maxsize=8192)
def is_about(text: str, subject: Subject) -> bool:
    """Whether a text is about the query's subject, and does not only mention it.

    It has most of the words that the query is about, and its name in the first sentence or more than once; for a query
    without a name that holds for each of these words.
    """
    present = word_set(text) & subject.about
    if not subject.names <= present or len(present) < _ABOUT_SHARE * len(subject.about):
        return False
    sentences = read_sentences(text)
    naming = (subject.names or present).difference(sentences[0].stems if sentences else ())
    return all(sum(word in sentence.stems for sentence in sentences) > 1 for word in naming)


def share_subject(subject: Subject, one: str, other: str) -> bool:
    """Whether both texts have the same of the words that the query is about."""
    return word_set(one) & subject.about == word_set(other) & subject.about


def about_subject(question: str, texts: Sequence[str]) -> list[float]:
    """How likely each text is about what the question names: 1 where it says the name, else the share that does.

    A piece cut from the middle of a document does not repeat what that is about. It is taken to be about the subject as
    likely as its neighbours in the ranking are: where most of them are, it is too; where one in twenty is, it is not.
    """
    subject = subject_of(question)
    name = subject.names or subject.about
    named = [name <= word_set(text) for text in texts]
    share = sum(named) / len(named) if named else 0.0
    return [1.0 if one else share for one in named]


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a passage adds to a name.

    Attributes:
        name_parts: stems of further words of the name.
        marks: stems that tell namesakes apart: in a bracket or after a comma behind the name, or a definition's year.
        span: where the passage says so first.
    """

    name_parts: frozenset[str]
    marks: frozenset[str]
    span: Span


@lru_cache(maxsize=8192)
def meaning_of(text: str, names: frozenset[str]) -> Meaning | None:
    """What the passage means by the name; nothing where it only repeats the name, or never has it."""
    parts: set[str] = set()
    marks: set[str] = set()
    spans: list[Span] = []
    for sentence in read_sentences(text)[:_BEGINNING]:
        for value in sentence.values:
            if value.kind is ValueKind.NAME and names & set(value.stems):
                added, marked, span = _added(sentence, value, names)
                parts |= added
                marks |= marked
                if added or marked:
                    spans.append(span)
    if not spans:
        return None
    return Meaning(frozenset(parts), frozenset(marks), spans[0])


def _added(sentence: Sentence, name: Value, names: frozenset[str]) -> tuple[set[str], set[str], Span]:
    text = sentence.passage_text
    opening = sentence.stems[0] if name.start == sentence.start else None
    added = {part for part in name.stems if part not in names and part != opening}
    marks: set[str] = set()
    end = name.end
    behind = _BRACKET.match(text, name.end, sentence.end) or _PLACE.match(text, name.end, sentence.end)
    if behind is not None and not _LIFE_DATES.search(behind[0]):
        marks |= {stem(word.text) for word in words(behind[1])} & (content_stems(behind[1]) - names)
        end = behind.end() if marks else end
    year = _DEFINITION_YEAR.search(text, name.end, min(sentence.end, name.end + 60))
    if year is not None:
        marks.add(year["year"])
        end = year.end()
    return added, marks, Span(name.start, end)


def different_meanings(one: Meaning | None, other: Meaning | None, one_text: str, other_text: str) -> bool:
    """Whether two passages mean different things by one name.

    They do if what marks one is nowhere in the other, or if both add to the name and share nothing of it.
    """
    if one is None or other is None:
        return False
    if (one.marks or other.marks) and _foreign(one.marks, other_text) and _foreign(other.marks, one_text):
        return True
    return bool(one.name_parts and other.name_parts) and not one.name_parts & other.name_parts


def _foreign(marks: frozenset[str], text: str) -> bool:
    """Whether something of the marks is missing from the text; vacuously so for a text that has no marks to offer."""
    return not marks or bool(marks - word_set(text))

"""Which sentence pairs of a query are worth asking an entailment model about.

A model call costs milliseconds, and most pairs of sentences have nothing to do with each other: a model that is asked
about them all finds contradictions that are none (`A 1.0 is installed`, `B 2.0 is installed`). So

- both passages must be about the query's subject, and not name two things that share its name;
- both sentences must name it, in the same words, and neither may begin with something that neither the other one nor
  the query has;
- where the passages are no near-copies, each sentence may have at most one value (a date, a quantity, a name) that the
  other has not: what differs in more is said of two things, and both can be right.

What is left is ranked by

    worth = overlap * asked * closeness

overlap    weighted share of the shorter sentence's topic that both have (`pairs_of_texts`), 0 to 1.
asked      share of the query's topic words that both sentences have, 0 to 1.
closeness  1 / sqrt((1 + l / 10) * (1 + r / 10)), l and r the passages' places in the ranking, from 0: 1 for the first
           two, a half around the tenth. Places, because the scale of scores is the retriever's own.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from core.contradictions.pairing import SentencePair, pairs_of_texts
from core.contradictions.sentences import NEGATIONS, Sentence, read_sentences
from core.contradictions.subject import (
    ASKING,
    Subject,
    different_meanings,
    is_about,
    meaning_of,
    subject_of,
)
from core.contradictions.values import Value
from core.model import Passage
from core.similarity import NEAR_COPY, similarity_matrix
from core.text import count_tokens, stem

_COMPOUND = re.compile(r"[-_]")
_HALF_PLACES = 10
"""Places down the ranking after which a passage counts for half."""
_SHARED_ABOUT = 0.6
"""Share of the words of a query without a name, and of what both sentences have of them, that both must have."""
_MOST_PASSAGES = 40
"""Passages whose sentences are paired: time and memory grow with the square of their number."""


class Candidate(NamedTuple):
    """A pair of sentences to ask about: the places of its passages in the ranking, the sentences, and its worth."""

    left_passage: int
    right_passage: int
    left: Sentence
    right: Sentence
    worth: float


@dataclass(frozen=True, slots=True)
class Gate:
    """Picks the pairs. The same passages and query give the same pairs.

    Attributes:
        min_worth: least worth of a pair; below it no call is made.
        max_pairs: most pairs of a query.
        max_pairs_per_passages: most pairs of the same two passages.
        longest_tokens: length of both sentences together, by `core.text.count_tokens`, above which a pair is left out,
            because the model would read it in part.
    """

    min_worth: float = 0.15
    max_pairs: int = 24
    max_pairs_per_passages: int = 2
    longest_tokens: int = 80

    def __post_init__(self) -> None:
        """Refuse limits that make no sense. Raises ValueError."""
        for name in ("max_pairs", "max_pairs_per_passages", "longest_tokens"):
            value: int = getattr(self, name)
            if value < 1:
                raise ValueError(f"{name} is {value}, expected at least 1")

    def pick(
        self, query: str, passages: Sequence[Passage], decided: Collection[frozenset[str]]
    ) -> tuple[Candidate, ...]:
        """The pairs worth asking about, best first; equal ones in the order of the passages.

        Args:
            query: the query's text.
            passages: those of the ranking, in its order.
            decided: pairs of passage ids that are settled, and not asked about.
        """
        subject = subject_of(query)
        texts = [passage.text for passage in passages]
        about = [place for place, text in enumerate(texts) if is_about(text, subject)][:_MOST_PASSAGES]
        if not subject.topic or len(about) < 2:  # noqa: PLR2004 - nothing to compare
            return ()
        taken: Counter[tuple[int, int]] = Counter()
        comparable: dict[tuple[int, int], bool] = {}
        similarity = similarity_matrix(tuple(texts))
        picked: list[Candidate] = []
        for candidate in self._ranked(subject, texts, about):
            both = candidate.left_passage, candidate.right_passage
            if taken[both] == self.max_pairs_per_passages or self._is_too_long(candidate):
                continue
            if both not in comparable:
                ids = frozenset(passages[place].passage_id for place in both)
                comparable[both] = ids not in decided and _mean_one_thing(subject, *(texts[place] for place in both))
            left, right = candidate.left, candidate.right
            if not comparable[both] or _says_the_same(left, right) or not _are_of_one_thing(left, right, subject):
                continue
            if similarity[both] < NEAR_COPY and not _differ_in_one(left, right, subject):
                continue
            taken[both] += 1
            picked.append(candidate)
            if len(picked) == self.max_pairs:
                break
        return tuple(picked)

    def _ranked(self, subject: Subject, texts: Sequence[str], about: Sequence[int]) -> list[Candidate]:
        pairs = pairs_of_texts(tuple(texts[place] for place in about), subject.topic)
        candidates = (_weighed(pair, subject, about) for pair in pairs)
        worthy = [candidate for candidate in candidates if candidate.worth >= self.min_worth]
        return sorted(worthy, key=_best_first)

    def _is_too_long(self, candidate: Candidate) -> bool:
        return count_tokens(candidate.left.text) + count_tokens(candidate.right.text) > self.longest_tokens


def _weighed(pair: SentencePair, subject: Subject, about: Sequence[int]) -> Candidate:
    left, right = about[pair.left_passage], about[pair.right_passage]
    asked = len(pair.left.topic & pair.right.topic & subject.topic) / len(subject.topic)
    closeness = 1 / math.sqrt((1 + left / _HALF_PLACES) * (1 + right / _HALF_PLACES))
    return Candidate(left, right, pair.left, pair.right, round(pair.overlap * asked * closeness, 6))


def _best_first(candidate: Candidate) -> tuple[float, int, int, int, int]:
    return (
        -candidate.worth,
        candidate.left_passage,
        candidate.right_passage,
        candidate.left.start,
        candidate.right.start,
    )


def _mean_one_thing(subject: Subject, one: str, other: str) -> bool:
    """Whether the passages do not name two things that share the name that is asked about."""
    if not subject.names:
        return True
    return not different_meanings(meaning_of(one, subject.names), meaning_of(other, subject.names), one, other)


def _are_of_one_thing(left: Sentence, right: Sentence, subject: Subject) -> bool:
    """Whether both sentences name one thing, and begin with what the other one or the query has too.

    Where the query has a name, both must have the same of it. Where it has none, nobody can tell what it is about from
    what it says of it (`coffee raises blood pressure`): then they must share most of those words.
    """
    named, others = _named(left, subject), _named(right, subject)
    shared = named & others
    if subject.names:
        if not shared or named != others:
            return False
    elif len(shared) < _SHARED_ABOUT * max(len(subject.about), len(named | others)):
        return False
    known = subject.topic | ASKING | NEGATIONS
    return left.lead in known | right.topic and right.lead in known | left.topic


def _named(sentence: Sentence, subject: Subject) -> frozenset[str]:
    """What the sentence has of the name, or of what the query is about; compounds such as `name-tools` are more."""
    asked = subject.names or subject.about
    compounds = (word for word in sentence.topic if "-" in word or "_" in word)
    return (sentence.topic & asked) | {
        word for word in compounds if not asked.isdisjoint(map(stem, _COMPOUND.split(word)))
    }


def values_apart(left: Sentence, right: Sentence) -> tuple[list[Value], list[Value]]:
    """The values of each sentence that the other one does not state."""
    in_left, in_right = ({_identity(value): value for value in sentence.values} for sentence in (left, right))
    return (
        [value for identity, value in in_left.items() if identity not in in_right],
        [value for identity, value in in_right.items() if identity not in in_left],
    )


def _identity(value: Value) -> tuple[object, ...]:
    return value.kind, value.key, value.number, value.digits, value.stems


def _differ_in_one(left: Sentence, right: Sentence, subject: Subject) -> bool:
    """Whether each sentence has at most one value that the other has not, names of the query's words aside."""
    return all(
        sum(not value.stems or not subject.topic.issuperset(value.stems) for value in values) <= 1
        for values in values_apart(left, right)
    )


def _says_the_same(left: Sentence, right: Sentence) -> bool:
    """Whether one passage has the other's sentence too, but for signs and endings: then both say it."""
    return any(left.stems == other.stems for other in read_sentences(right.passage_text)) or any(
        right.stems == other.stems for other in read_sentences(left.passage_text)
    )

"""The slot reader: from a question and passages to what each answers and which of them answer the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from core.contradictions.slots.answers import (
    Answer,
    SlotReading,
    prepare,
    probabilities,
    second_look,
    tabulate,
)
from core.contradictions.slots.features import FEATURES
from core.contradictions.slots.pairs import PAIR_FEATURES, SUBJECT_FEATURES, pair_features, subject_features
from core.contradictions.slots.question import Question, read_question
from core.contradictions.slots.spans import PassageSpans, read_spans
from core.contradictions.slots.weights import AGAIN, Weights, shipped_content, weights_of
from core.similarity import similarity_matrix

FEATURE_NAMES = {
    "spans": FEATURES,
    "spans_again": AGAIN,
    "pairs": PAIR_FEATURES,
    "subjects": SUBJECT_FEATURES,
}
"""The features that weights are for, for each part of `Weights`."""
_ANSWERED_FROM = 0.3
"""A passage below answers nothing that could be compared."""
_EVEN = 0.5


class SlotVerdict(StrEnum):
    """What two passages' answers are to each other."""

    SAME = "same"
    DIFFERENT = "different"
    OTHER_SUBJECT = "other subject"
    INCOMPARABLE = "incomparable"


@dataclass(frozen=True, slots=True)
class SlotComparison:
    """Two passages' answers, compared.

    Attributes:
        verdict: what they are to each other.
        probability: how likely it is that both answer and that the verdict holds, 0 to 1; for `INCOMPARABLE`, that one
            of them answers nothing.
        left, right: what each passage answers; nothing where it has no value of the sort that is asked for.
    """

    verdict: SlotVerdict
    probability: float
    left: Answer | None
    right: Answer | None


@dataclass(frozen=True, slots=True)
class SlotTable:
    """What a list of passages answers to one question.

    Attributes:
        question: what was asked.
        readings: what each passage answers.
        different: how likely each two passages answer differently, shape `(n, n)`.
        same_subject: how likely each two passages are about one thing, by what they say beside the answer.
        similarity: how much each two passages repeat each other.
    """

    question: Question
    readings: tuple[SlotReading, ...]
    different: NDArray[np.float32]
    same_subject: NDArray[np.float32]
    similarity: NDArray[np.float32]

    def compare(self, left: int, right: int) -> SlotComparison:
        """Compare the answers of two passages, given by their numbers in the list."""
        one, other = self.readings[left], self.readings[right]
        said = tuple(reading.answers[0] if reading.answers else None for reading in (one, other))
        answered = min(one.answered, other.answered)
        if answered < _ANSWERED_FROM or None in said:
            return SlotComparison(SlotVerdict.INCOMPARABLE, 1.0 - one.answered * other.answered, *said)
        different, subject = float(self.different[left, right]), float(self.same_subject[left, right])
        if different < _EVEN:
            return SlotComparison(SlotVerdict.SAME, answered * (1.0 - different), *said)
        if subject < _EVEN:
            return SlotComparison(SlotVerdict.OTHER_SUBJECT, answered * different * (1.0 - subject), *said)
        return SlotComparison(SlotVerdict.DIFFERENT, answered * different * subject, *said)


class SlotReader:
    """Reads what passages answer. Holds weights and nothing else; safe to share between threads.

    Args:
        weights: trained by `training/slots`.
    """

    def __init__(self, weights: Weights) -> None:
        self._weights = weights

    @property
    def version(self) -> str:
        """Name and version of the weights."""
        return self._weights.version

    def read_texts(self, question: str, texts: Sequence[str]) -> SlotTable:
        """Read a question and passages, given as texts. What depends on a passage alone is kept by its text."""
        return self.read(read_question(question), [read_spans(text) for text in texts], similarity_matrix(tuple(texts)))

    def read(self, question: Question, passages: Sequence[PassageSpans], similarity: NDArray[np.float32]) -> SlotTable:
        """Read what each passage answers and compare the answers, each with each.

        Args:
            question: what is asked.
            passages: the passages, read.
            similarity: how much each two repeat each other, 0 to 1, as `similarity_matrix` gives it.
        """
        first_weights, second_weights = self._weights.for_kind(question.kind)
        prepared = prepare(question, passages, similarity)
        first = [probabilities(table, first_weights) for table in prepared.tables]
        likely = [probabilities(table, second_weights) for table in second_look(prepared, first)]
        table = tabulate(prepared, likely)
        subjects = subject_features(question, passages, similarity)
        different = _logistic(pair_features(question, passages, table, similarity, subjects), self._weights.pairs)
        subject = _logistic(subjects, self._weights.subjects)
        np.fill_diagonal(different, 0)
        np.fill_diagonal(subject, 1)
        return SlotTable(question, table.readings, different, subject, similarity)


def _logistic(table: NDArray[np.float32], weights: NDArray[np.float32]) -> NDArray[np.float32]:
    score = table @ weights[:-1] + weights[-1]
    return np.asarray(1 / (1 + np.exp(-score.clip(-30, 30))), np.float32)


@lru_cache(maxsize=1)
def shipped_reader() -> SlotReader:
    """The reader with the packaged weights."""
    return SlotReader(weights_of(shipped_content(), FEATURE_NAMES))

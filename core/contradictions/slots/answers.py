"""What each passage answers: a probability a span, with the other passages' answers taken into account."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.contradictions.slots.features import features, fitting
from core.contradictions.slots.question import Question
from core.contradictions.slots.spans import PassageSpans
from core.contradictions.slots.values import SlotValue, alike
from core.model import Span

AGREEMENT_FEATURES = ("others_mean", "others_most", "log_first", "others_most_elsewhere")
"""Features of the second look: what the other passages answered at the first."""
KEPT_VALUES = 12
"""Values of a passage that are compared with others; what is less likely than these is no answer."""
_ALIKE_FROM = 0.5
_COPY_FROM = 0.5
_LEAST = 1e-4
_LEAST_KEPT = 0.002
"""A span that is less likely than this is left out: it changes no comparison and costs time."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One value that a passage may give as its answer, where it says so, and how likely that is its answer."""

    value: SlotValue
    span: Span
    probability: float


@dataclass(frozen=True, slots=True)
class SlotReading:
    """What one passage answers.

    Attributes:
        answers: its likeliest values, likeliest first; each value once, at its likeliest place.
        answered: how likely it is that the passage answers the question at all.
    """

    answers: tuple[Answer, ...]
    answered: float


@dataclass(frozen=True, slots=True)
class AnswerTable:
    """The answers of a list of passages to one question, as a table.

    Attributes:
        values: all values that a passage may answer with.
        mass: how likely each passage (row) answers with each value (column).
        alike: how alike each two values are, 0 where less than half.
        readings: the same for each passage, with places.
    """

    values: tuple[SlotValue, ...]
    mass: NDArray[np.float32]
    alike: NDArray[np.float32]
    readings: tuple[SlotReading, ...]


@dataclass(frozen=True, slots=True)
class Prepared:
    """Passages made ready for scoring: the spans that fit the question, and their features."""

    passages: tuple[PassageSpans, ...]
    chosen: tuple[NDArray[np.intp], ...]
    similarity: NDArray[np.float32]
    tables: tuple[NDArray[np.float32], ...]


def prepare(question: Question, passages: Sequence[PassageSpans], similarity: NDArray[np.float32]) -> Prepared:
    """Choose the spans that fit the question and compute their features."""
    chosen = tuple(fitting(question, spans) for spans in passages)
    tables = tuple(features(question, passages, chosen, similarity))
    return Prepared(tuple(passages), chosen, similarity, tables)


def probabilities(table: NDArray[np.float32], weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """Softmax over a passage's spans and `nothing`, which is last."""
    score = table @ weights
    score = np.exp(score - score.max())
    return np.asarray(score / score.sum(), np.float32)


def second_look(prepared: Prepared, first: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
    """The features with `AGREEMENT_FEATURES` behind them, given the probabilities of the first look."""
    table = tabulate(prepared, first)
    column = {value: number for number, value in enumerate(table.values)}
    agreed = np.minimum(1, table.mass @ table.alike)
    result = []
    for number, (spans, places) in enumerate(zip(prepared.passages, prepared.chosen, strict=True)):
        extra = np.zeros((len(places) + 1, len(AGREEMENT_FEATURES)), np.float32)
        extra[:, 2] = np.log(first[number] + _LEAST) / 5
        others = np.arange(len(agreed)) != number
        if others.any() and len(table.values):
            elsewhere = others & (prepared.similarity[number] < _COPY_FROM)
            per_value = np.stack(
                [
                    agreed[others].mean(axis=0),
                    agreed[others].max(axis=0),
                    agreed[elsewhere].max(axis=0, initial=0),
                ],
                axis=1,
            )
            rows = [row for row, place in enumerate(places) if spans.values[place] in column]
            columns = [column[spans.values[places[row]]] for row in rows]
            extra[np.ix_(rows, [0, 1, 3])] = per_value[columns]
        result.append(np.hstack([prepared.tables[number], extra]))
    return result


def tabulate(prepared: Prepared, likely: Sequence[NDArray[np.float32]]) -> AnswerTable:
    """Collect each passage's likeliest values into one table."""
    readings = []
    column: dict[SlotValue, int] = {}
    for spans, places, probability in zip(prepared.passages, prepared.chosen, likely, strict=True):
        reading = _reading(spans, places, probability)
        readings.append(reading)
        for answer in reading.answers:
            column.setdefault(answer.value, len(column))
    mass = np.zeros((len(readings), len(column)), np.float32)
    for row, reading in enumerate(readings):
        for answer in reading.answers:
            mass[row, column[answer.value]] = answer.probability
    values = tuple(column)
    similar = alike(values)
    return AnswerTable(values, mass, np.where(similar >= _ALIKE_FROM, similar, 0).astype(np.float32), tuple(readings))


def _reading(spans: PassageSpans, places: NDArray[np.intp], probability: NDArray[np.float32]) -> SlotReading:
    total: dict[SlotValue, float] = {}
    best: dict[SlotValue, tuple[float, int]] = {}
    for row in np.flatnonzero(probability[:-1] >= _LEAST_KEPT).tolist():
        place, chance = int(places[row]), float(probability[row])
        value = spans.values[place]
        total[value] = total.get(value, 0.0) + chance
        if chance > best.get(value, (-1.0, 0))[0]:
            best[value] = chance, place
    kept = sorted(total, key=lambda value: -total[value])[:KEPT_VALUES]
    answers = []
    for value in kept:
        place = best[value][1]
        span = Span(int(spans.places.starts[place]), int(spans.places.ends[place]))
        answers.append(Answer(value, span, total[value]))
    return SlotReading(tuple(answers), 1.0 - float(probability[-1]))

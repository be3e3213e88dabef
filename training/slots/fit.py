"""Fitting the slot reader: two softmax models over spans, and two logistic ones over pairs of passages."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from core.contradictions.slots.answers import probabilities, second_look, tabulate
from core.contradictions.slots.pairs import pair_features
from core.contradictions.slots.question import SlotKind
from core.contradictions.slots.reader import FEATURE_NAMES
from core.contradictions.slots.weights import fingerprint
from core.similarity import NEAR_COPY
from training.slots.data import LabelledQuestion

KINDS = (SlotKind.DATE, SlotKind.NUMBER, SlotKind.PERSON, SlotKind.PLACE, SlotKind.CATEGORY, SlotKind.OTHER)
_SHARED_PENALTY = 2.0
_KIND_PENALTY = 6.0
"""Squared weights are held down; more so what a kind of question adds to the weights that all share."""
_STEPS = 60
_INNER_FOLDS = 4
_NO_SPREAD = 1e-6
_DIGITS = 3

Spans = Mapping[SlotKind, NDArray[np.float32]]
Tables = Sequence[NDArray[np.float32]]


def folds(count: int, parts: int, seed: int) -> list[list[int]]:
    """The numbers below `count`, shuffled and dealt out."""
    order = list(range(count))
    random.Random(seed).shuffle(order)  # noqa: S311 - an order, no secret
    return [order[part::parts] for part in range(parts)]


def train(questions: Sequence[LabelledQuestion], version: str) -> Mapping[str, object]:
    """Train all four models; the result is what the weights' file holds.

    The second look and the pairs are trained on answers that were predicted for questions left out of the training
    of the look before, since a model is surer of what it has seen.
    """
    first_tables: list[Tables] = [question.prepared.tables for question in questions]
    spans = fit_spans(questions, first_tables)
    left_out = _predict_left_out(questions, first_tables, seed=1)
    second_tables = [second_look(item.prepared, likely) for item, likely in zip(questions, left_out, strict=True)]
    spans_again = fit_spans(questions, second_tables)
    left_out = _predict_left_out(questions, second_tables, seed=2)
    weights = {
        "spans": {kind.value: _rounded(row) for kind, row in spans.items()},
        "spans_again": {kind.value: _rounded(row) for kind, row in spans_again.items()},
        "pairs": _rounded(_fit_pairs(questions, left_out)),
        "subjects": _rounded(fit_subjects(questions)),
    }
    return {"version": version, "features": {part: fingerprint(names) for part, names in FEATURE_NAMES.items()}} | {
        "weights": weights
    }


def _rounded(row: NDArray[np.generic]) -> list[float]:
    return [float(f"{value:.{_DIGITS}g}") for value in row.tolist()]


def _predict_left_out(
    questions: Sequence[LabelledQuestion], tables: Sequence[Tables], *, seed: int
) -> list[list[NDArray[np.float32]]]:
    result: list[list[NDArray[np.float32]]] = [[] for _ in questions]
    for held in folds(len(questions), _INNER_FOLDS, seed):
        kept = sorted(set(range(len(questions))) - set(held))
        spans = fit_spans([questions[number] for number in kept], [tables[number] for number in kept])
        for number in held:
            row = spans[questions[number].question.kind]
            result[number] = [probabilities(table, row) for table in tables[number]]
    return result


def fit_spans(questions: Sequence[LabelledQuestion], tables: Sequence[Tables]) -> Spans:
    """Fit weights for each kind of question: weights that all share, and what each kind adds.

    The loss of a passage is minus the logarithm of the probability of all spans that state its answer.
    """
    rows: dict[SlotKind, list[tuple[NDArray[np.float32], NDArray[np.bool_]]]] = {kind: [] for kind in KINDS}
    for item, of_question in zip(questions, tables, strict=True):
        for table, right in zip(of_question, item.is_answer, strict=True):
            if right.any() and item.question.kind in rows:
                rows[item.question.kind].append((table, right))
    together = np.vstack([table for kind in KINDS for table, _ in rows[kind]])
    mean, spread = together.mean(axis=0), together.std(axis=0)
    spread[spread < _NO_SPREAD] = np.inf
    blocks = [_Block(number + 1, rows[kind], mean, spread) for number, kind in enumerate(KINDS) if rows[kind]]
    width = together.shape[1]
    penalty = np.full((len(KINDS) + 1, 1), _KIND_PENALTY)
    penalty[0] = _SHARED_PENALTY

    def loss(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        weights = flat.reshape(len(KINDS) + 1, width)
        total, slope = float((penalty * weights**2).sum()), 2 * penalty * weights
        for block in blocks:
            value, gradient = block.loss(weights[0] + weights[block.number])
            total += value
            slope[0] += gradient
            slope[block.number] += gradient
        return total, slope.ravel()

    start = np.zeros((len(KINDS) + 1) * width)
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": _STEPS}).x
    weights = found.reshape(len(KINDS) + 1, width)
    return {kind: ((weights[0] + weights[number + 1]) / spread).astype(np.float32) for number, kind in enumerate(KINDS)}


class _Block:
    """The passages of one kind of question, below each other, with where each begins."""

    def __init__(
        self,
        number: int,
        rows: Sequence[tuple[NDArray[np.float32], NDArray[np.bool_]]],
        mean: NDArray[np.float32],
        spread: NDArray[np.float32],
    ) -> None:
        self.number = number
        self._table = ((np.vstack([table for table, _ in rows]) - mean) / spread).astype(np.float32)
        self._right = np.concatenate([right for _, right in rows]).astype(np.float32)
        lengths = [len(table) for table, _ in rows]
        self._begins = np.cumsum([0, *lengths])[:-1]
        self._passage = np.repeat(np.arange(len(rows)), lengths)

    def loss(self, weights: NDArray[np.float64]) -> tuple[float, NDArray[np.floating]]:
        score = self._table @ weights.astype(np.float32)
        score = np.exp(score - np.maximum.reduceat(score, self._begins)[self._passage])
        likely = score / np.add.reduceat(score, self._begins)[self._passage]
        right = likely * self._right
        found = np.add.reduceat(right, self._begins) + 1e-9
        return -float(np.log(found).sum()), self._table.T @ (likely - right / found[self._passage])


def pairs_of(item: LabelledQuestion) -> Iterator[tuple[int, int, bool]]:
    """Numbers of each two passages that answer, and whether their answers differ."""
    for left, one in enumerate(item.answers):
        for right, other in enumerate(item.answers[:left]):
            if "noise" not in {item.types[left], item.types[right]}:
                yield left, right, one != other


def _fit_pairs(questions: Sequence[LabelledQuestion], likely: Sequence[Tables]) -> NDArray[np.float64]:
    rows: list[NDArray[np.float32]] = []
    labels: list[bool] = []
    counts: list[float] = []
    for item, probability in zip(questions, likely, strict=True):
        found = list(pairs_of(item))
        if not found:
            continue
        prepared = item.prepared
        table = tabulate(prepared, probability)
        pairs = pair_features(item.question, prepared.passages, table, prepared.similarity, item.subjects)
        rows.append(np.array([pairs[left, right] for left, right, _ in found]))
        labels.extend(different for *_, different in found)
        counts.extend([len(found) ** -0.5] * len(found))  # many pairs of one question tell less than as many of several
    return fit_logistic(np.vstack(rows), np.array(labels, np.float64), np.array(counts))


def fit_subjects(questions: Sequence[LabelledQuestion]) -> NDArray[np.float64]:
    """Fit whether two passages are about one thing; no label says so, so these stand for it.

    Correct passages with one answer are taken to be about one thing, those with different answers about several. A
    misinformation passage is taken to be about the same as the correct passage that it repeats most, if it repeats
    half of it: it was made from a text about that. Both cases count half.
    """
    rows: list[NDArray[np.float32]] = []
    labels: list[bool] = []
    for item in questions:
        similarity = item.prepared.similarity
        correct = [number for number, kind in enumerate(item.types) if kind == "correct"]
        for left, right, different in pairs_of(item):
            if item.types[left] == item.types[right] == "correct":
                rows.append(item.subjects[left, right])
                labels.append(not different)
        for number, kind in enumerate(item.types):
            source = max(correct, key=lambda other: similarity[number, other], default=number)
            if kind == "misinfo" and similarity[number, source] >= NEAR_COPY:
                rows.append(item.subjects[number, source])
                labels.append(True)
    same = np.array(labels, np.float64)
    counts = np.where(same == 1, 0.5 / same.mean(), 0.5 / (1 - same.mean()))  # RAMDocs has uncommonly many namesakes
    return fit_logistic(np.array(rows), same, counts)


def fit_logistic(
    table: NDArray[np.float32], labels: NDArray[np.float64], counts: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Logistic regression; the last weight is the constant.

    Args:
        table: features, a row an example.
        labels: 0 or 1.
        counts: what each example counts.
    """
    mean, spread = table.mean(axis=0), table.std(axis=0) + _NO_SPREAD
    scaled = np.hstack([(table - mean) / spread, np.ones((len(table), 1))])

    def loss(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        score = scaled @ weights
        value = float((counts * (np.logaddexp(0, score) - labels * score)).sum() + (weights[:-1] ** 2).sum())
        gradient = scaled.T @ (counts * (1 / (1 + np.exp(-score)) - labels))
        gradient[:-1] += 2 * weights[:-1]
        return value, gradient

    step: Callable[[NDArray[np.float64]], tuple[float, NDArray[np.float64]]] = loss
    found = minimize(step, np.zeros(scaled.shape[1]), jac=True, method="L-BFGS-B", options={"maxiter": 100}).x
    weights = found[:-1] / spread
    return np.append(weights, found[-1] - weights @ mean)

"""How good a selection is: the measures by hand, and what their intervals promise."""

from __future__ import annotations

from itertools import product

import pytest

from core.evaluation import Estimate, Outcome, evaluate, labels_by_query
from core.records import Label, LabelKind

CORRECT, MISINFO, NOISE = LabelKind.CORRECT, LabelKind.MISINFO, LabelKind.NOISE
NOTHING = Estimate(None, None, None, 0)

LABELS = {
    "one": {"a": CORRECT, "b": CORRECT, "c": MISINFO, "d": NOISE},
    "two": {"e": CORRECT, "f": MISINFO, "g": MISINFO},
    "three": {"h": NOISE},
    "four": {"i": CORRECT},
}
OUTCOMES = [
    Outcome("one", ("a", "c", "d"), (("a", "c"), ("d", "c"), ("c", "a"))),
    Outcome("two", ("f", "e", "x", "y"), (("g", "e"),)),
    Outcome("three", ("h",), (("h", "x"),)),
    Outcome("four", ("i",)),
    Outcome("unlabelled", ("z",), (("z", "a"),)),
]


def test_by_hand() -> None:
    """Each measure is what the module says, over the queries that have the labels for it.

    Recall: (1/2 + 1 + 1) / 3. Misinformation: (1/3 + 1/4) / 2. Flagged: a-c is right, d-c and h-x are wrong, e-g is
    right: 2 of 4. True conflicts: a-c, b-c, e-f, e-g, of which two are flagged.
    """
    quality = evaluate(OUTCOMES, LABELS)
    assert (quality.recall_correct.value, quality.recall_correct.n) == (0.8333, 3)
    assert (quality.misinfo_share.value, quality.misinfo_share.n) == (0.2917, 2)
    assert (quality.conflict_precision.value, quality.conflict_precision.n) == (0.5, 4)
    assert (quality.conflict_recall.value, quality.conflict_recall.n) == (0.5, 4)


def test_perfect() -> None:
    """An arm that does all right has values, and intervals, of 1 and 0."""
    flagged = (("a", "c"), ("b", "c"))
    quality = evaluate([Outcome("one", ("a", "b"), flagged), Outcome("four", ("i",))], LABELS)
    assert quality.recall_correct == Estimate(1.0, 1.0, 1.0, 2)
    assert quality.misinfo_share == Estimate(0.0, 0.0, 0.0, 1)
    assert quality.conflict_precision == Estimate(1.0, 1.0, 1.0, 2)
    assert quality.conflict_recall == Estimate(1.0, 1.0, 1.0, 2)


def test_nothing_to_measure() -> None:
    """Without outcomes, without labels, and without selections and findings, there is no value."""
    for quality in (evaluate([], LABELS), evaluate(OUTCOMES, {}), evaluate([Outcome("three", ("h",))], LABELS)):
        assert quality.recall_correct == quality.misinfo_share == NOTHING
        assert quality.conflict_precision == quality.conflict_recall == NOTHING
    empty = evaluate([Outcome("one", ())], LABELS)
    assert empty.misinfo_share == NOTHING
    assert empty.recall_correct == Estimate(0.0, 0.0, 0.0, 1)


def test_missed_conflicts() -> None:
    """An arm that flags nothing has no precision, and a recall of nothing."""
    quality = evaluate([Outcome("one", ("a",))], LABELS)
    assert quality.conflict_precision == NOTHING
    assert quality.conflict_recall == Estimate(0.0, 0.0, 0.0, 2)


@pytest.mark.parametrize("pair", [("a", "b"), ("c", "d"), ("a", "d"), ("a", "x"), ("a", "a"), ("c", "c"), ("x", "y")])
def test_wrong_flags(pair: tuple[str, str]) -> None:
    """A flagged pair is right only between a correct and a misinforming passage."""
    quality = evaluate([Outcome("one", (), (pair,))], LABELS)
    assert quality.conflict_precision == Estimate(0.0, 0.0, 0.0, 1)


def test_labels_of_another_query() -> None:
    """A passage's label counts for its own query only."""
    quality = evaluate([Outcome("four", ("i",), (("e", "f"),))], LABELS)
    assert quality.conflict_precision.value == 0.0


def test_deterministic() -> None:
    """The same outcomes give the same intervals, to the last digit, from any kind of iterable."""
    assert evaluate(OUTCOMES, LABELS) == evaluate(iter(OUTCOMES), LABELS)


@pytest.mark.parametrize(("queries", "right"), list(product((2, 5, 40, 300), (0.05, 0.5, 0.95))))
def test_interval_contains_the_value(queries: int, right: float) -> None:
    """The interval lies within 0 and 1 and holds the value, and more queries make it narrower."""
    labels = {str(number): {"a": CORRECT, "b": MISINFO} for number in range(queries)}
    outcomes = [
        Outcome(str(number), ("a", "b") if number < right * queries else ("b", "x", "y"), (("a", "b"), ("b", "x")))
        for number in range(queries)
    ]
    quality = evaluate(outcomes, labels)
    for estimate in (quality.recall_correct, quality.misinfo_share, quality.conflict_precision):
        assert estimate.value is not None
        assert estimate.low is not None
        assert estimate.high is not None
        assert 0.0 <= estimate.low <= estimate.value <= estimate.high <= 1.0
    recall = quality.recall_correct
    assert recall.low is not None
    assert recall.high is not None
    assert recall.high - recall.low <= 1.2 * 2 * 1.96 * 0.5 / queries**0.5


def test_known_interval() -> None:
    """For a share of one half over 400 queries the interval is that of the normal approximation: 0.049 either way."""
    labels = {str(number): {"a": CORRECT} for number in range(400)}
    outcomes = [Outcome(str(number), ("a",) if number % 2 else ()) for number in range(400)]
    recall = evaluate(outcomes, labels).recall_correct
    assert recall.value == 0.5
    assert recall.low == pytest.approx(0.451, abs=0.006)
    assert recall.high == pytest.approx(0.549, abs=0.006)


def test_labels_by_query() -> None:
    """Labels are grouped by query; of two for one passage the later one counts."""
    labels = [
        Label("one", "a", CORRECT),
        Label("two", "a", NOISE),
        Label("one", "b", MISINFO),
        Label("one", "a", NOISE),
    ]
    assert labels_by_query(labels) == {"one": {"a": NOISE, "b": MISINFO}, "two": {"a": NOISE}}
    assert labels_by_query([]) == {}

"""The entailment stage: what it asks, what it makes of the answers, and when it stops."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from core.adapters.manual_clock import ManualClock
from core.clock import Deadline
from core.contradictions.entailment_stage import GROUP, STAGE, EntailmentStage, difference
from core.contradictions.gate import Gate
from core.contradictions.sentences import read_sentences
from core.contradictions.stage import Asked
from core.model import (
    Agreement,
    ContradictionKind,
    Detection,
    Passage,
    Query,
    Ranking,
    ScoredPassage,
)
from tests.fake_entailment import CONTRADICTS, FOLLOWS, Scores, TableModel

QUERY = Query("q", "How does coffee work for the heart?")
GOOD = "Coffee is good for the heart of most adults."
BAD = "Coffee is bad for the heart of most adults."
GRIM = "Coffee is grim for the heart of most adults."
EVERYTHING = Gate(min_worth=0.0)
BOTH_WAYS: Mapping[tuple[str, str], Scores] = {(GOOD, BAD): CONTRADICTS, (BAD, GOOD): CONTRADICTS}


def ranking(*texts: str) -> Ranking:
    """Passages p0, p1, ..., best first."""
    passages = (Passage(f"p{place}", text) for place, text in enumerate(texts))
    return Ranking(tuple(ScoredPassage(passage, 9.0 - place) for place, passage in enumerate(passages)))


def refine(
    model: TableModel, *texts: str, known: Detection | None = None, stage: EntailmentStage | None = None
) -> Detection:
    """What the stage makes of a detection, with all the time in the world."""
    stage = stage or EntailmentStage(model, gate=EVERYTHING)
    asked = Asked(QUERY, ranking(*texts), Deadline(10.0, clock=ManualClock()), known or Detection())
    return stage.refine(asked)


def test_both_directions_make_a_contradiction() -> None:
    """The score is the mean of both; both sides name their sentence with its place."""
    table = {(GOOD, BAD): (0.0, 0.02, 0.98), (BAD, GOOD): (0.0, 0.06, 0.94)}
    found = refine(TableModel(table), f"News of coffee and the heart. {GOOD}", BAD)
    (item,) = found.contradictions
    assert (item.kind, item.stage) == (ContradictionKind.STATEMENT, STAGE)
    assert item.score == pytest.approx(0.96)
    assert (item.left.passage_id, item.right.passage_id) == ("p0", "p1")
    assert (item.left.sentence, item.right.sentence) == (GOOD, BAD)
    assert item.left.value == GOOD
    assert item.left.sentence_span == item.left.value_span
    assert item.left.sentence_span.start == len("News of coffee and the heart. ")
    assert found.complete


def test_one_direction_is_not_enough() -> None:
    """What contradicts in one direction alone, by the mean of both, is none."""
    table = {(GOOD, BAD): CONTRADICTS, (BAD, GOOD): (0.0, 0.4, 0.6)}
    model = TableModel(table)
    assert refine(model, GOOD, BAD) == Detection()
    assert model.pairs == [(GOOD, BAD), (BAD, GOOD)]


def test_the_other_direction_is_asked_only_about_suspicions() -> None:
    """Where even a certain answer would leave the mean below the least score, it is not asked."""
    model = TableModel({(GOOD, BAD): (0.0, 0.3, 0.7), (BAD, GOOD): CONTRADICTS})
    assert refine(model, GOOD, BAD) == Detection()
    assert model.pairs == [(GOOD, BAD)]
    assert refine(model, GOOD, BAD, stage=EntailmentStage(model, gate=EVERYTHING, min_score=0.8)).contradictions


def test_the_threshold() -> None:
    """From the least score on, a pair is a contradiction."""
    model = TableModel(BOTH_WAYS)
    assert refine(model, GOOD, BAD, stage=EntailmentStage(model, gate=EVERYTHING, min_score=0.959)).contradictions
    assert not refine(model, GOOD, BAD, stage=EntailmentStage(model, gate=EVERYTHING, min_score=0.961)).contradictions


def test_what_follows_from_each_other_is_nothing_to_report() -> None:
    """Agreement on something is not agreement on the answer; the other direction is not even asked."""
    model = TableModel(otherwise=FOLLOWS)
    assert refine(model, GOOD, BAD) == Detection()
    assert model.pairs == [(GOOD, BAD)]


def test_of_two_pairs_the_surer_one_stands() -> None:
    """Two passages contradict each other once, with the sentences that say so best."""
    calm = "Coffee calms the heart of most adults."
    table = {(GOOD, BAD): (0.0, 0.05, 0.95), (BAD, GOOD): (0.0, 0.05, 0.95), (GOOD, calm): CONTRADICTS}
    table |= {(calm, GOOD): CONTRADICTS}
    for text in (f"{BAD} {calm}", f"{calm} {BAD}"):
        (item,) = refine(TableModel(table), GOOD, text).contradictions
        assert item.right.sentence == calm


def test_what_is_known_stays_in_front() -> None:
    """Earlier findings are kept, decided pairs are not asked about, and an incomplete detection stays so."""
    known = Detection(agreements=(Agreement("p0", "p1", "x"),), complete=False)
    model = TableModel(otherwise=CONTRADICTS)
    found = refine(model, GOOD, BAD, GRIM, known=known)
    assert found.agreements == known.agreements
    assert not found.complete
    assert {(item.left.passage_id, item.right.passage_id) for item in found.contradictions} == {
        ("p0", "p2"),
        ("p1", "p2"),
    }
    assert (GOOD, BAD) not in model.pairs
    assert (BAD, GOOD) not in model.pairs


def test_findings_stand_in_the_order_of_the_passages() -> None:
    """Whatever order they were made in."""
    texts = [f"Coffee is {word} for the heart." for word in ("good", "bad", "fine", "grim")]
    found = refine(TableModel(otherwise=CONTRADICTS), *texts)
    pairs = [(item.left.passage_id, item.right.passage_id) for item in found.contradictions]
    assert pairs == sorted(pairs)
    assert len(pairs) == 6


def test_pairs_are_asked_in_small_groups_suspicions_first() -> None:
    """At most `GROUP` a call; the other direction of a suspicion before the next pair."""
    texts = [f"Coffee is {word} for the heart." for word in ("good", "bad", "fine", "grim", "fair")]
    model = TableModel(otherwise=CONTRADICTS)
    refine(model, *texts)
    assert [len(call) for call in model.calls] == [GROUP, GROUP, GROUP, GROUP, 2, 2]
    assert model.calls[1] == [(right, left) for left, right in model.calls[0]]


def test_the_most_calls_count_both_directions() -> None:
    """Used up, they end the asking; that is no lack of time."""
    texts = [f"Coffee is {word} for the heart." for word in ("good", "bad", "fine", "grim", "fair")]
    model = TableModel(otherwise=CONTRADICTS)
    found = refine(model, *texts, stage=EntailmentStage(model, gate=EVERYTHING, max_pairs=6))
    assert len(model.pairs) == 6
    assert len(found.contradictions) == 2
    assert found.complete


def test_without_time_nothing_is_asked() -> None:
    """The detection comes back as it was, but incomplete."""
    model = TableModel(BOTH_WAYS)
    known = Detection(agreements=(Agreement("p0", "p9", "x"),))
    for budget_s in (0.0, 0.04, 0.06):
        asked = Asked(QUERY, ranking(GOOD, BAD), Deadline(budget_s, clock=ManualClock()), known)
        assert EntailmentStage(model, gate=EVERYTHING).refine(asked) == replace(known, complete=False)
    assert model.calls == []


def test_a_group_that_would_not_fit_is_not_begun() -> None:
    """As long as the slowest group so far took must be left, beside the reserve; what was found by then stays."""
    clock = ManualClock()
    model = TableModel(otherwise=CONTRADICTS, clock=clock, seconds=0.1)
    texts = [f"Coffee is {word} for the heart." for word in ("good", "bad", "fine", "grim", "fair")]
    deadline = Deadline(0.33, clock=clock)
    found = EntailmentStage(model, gate=EVERYTHING).refine(Asked(QUERY, ranking(*texts), deadline, Detection()))
    assert len(model.calls) == 2
    assert deadline.spent_s == pytest.approx(0.2)
    assert len(found.contradictions) == GROUP
    assert not found.complete


def test_nothing_worth_asking_is_complete() -> None:
    """No pairs, no calls, no complaint."""
    model = TableModel(otherwise=CONTRADICTS)
    assert refine(model, GOOD, "Rye is a grass.") == Detection()
    assert refine(model, GOOD) == Detection()
    assert refine(model) == Detection()
    assert model.calls == []


def test_the_version_names_the_model() -> None:
    """A trace tells which weights decided."""
    assert EntailmentStage(TableModel()).version == "entailment-1(table-1)"


def test_the_gate_that_comes_with_it() -> None:
    """Without one of its own, the stage asks about what is worth it, and about no more pairs than it may."""
    model = TableModel(otherwise=CONTRADICTS)
    texts = [f"Coffee is {word} for the heart." for word in ("good", "bad", "fine", "grim", "fair")]
    assert refine(model, *texts, stage=EntailmentStage(model, max_pairs=6)).contradictions
    assert len(model.pairs) == 6


def test_no_calls_at_all_is_a_mistake() -> None:
    """Whoever wants no calls leaves the stage out."""
    with pytest.raises(ValueError, match="max_pairs is 0"):
        EntailmentStage(TableModel(), max_pairs=0)


@pytest.mark.parametrize(
    ("left", "right", "kind", "values"),
    [
        ("The mill was built in 1871.", "The mill was raised in 1904.", ContradictionKind.DATE, ("1871", "1904")),
        ("The mill has 40 looms.", "The mill runs 55 looms.", ContradictionKind.NUMERIC, ("40", "55")),
        ("It was run by Thomas Harlow.", "It was run by Mary Weir.", ContradictionKind.ENTITY, None),
        ("The mill has 40 looms.", "The mill has no looms.", ContradictionKind.STATEMENT, None),
        ("Built in 1871 with 40 looms.", "Built in 1904 with 55 looms.", ContradictionKind.STATEMENT, None),
        ("The mill of 1871 is dry.", "The mill of 1871 is wet.", ContradictionKind.STATEMENT, None),
    ],
)
def test_the_kind_is_that_of_the_one_value_that_differs(
    left: str, right: str, kind: ContradictionKind, values: tuple[str, str] | None
) -> None:
    """Where no value differs, or more than one, it is the statement as a whole."""
    ((one,), (other,)) = read_sentences(left), read_sentences(right)
    found, left_span, right_span = difference(one, other)
    assert found is kind
    said = left[left_span.start : left_span.end], right[right_span.start : right_span.end]
    if values is not None:
        assert said == values
    elif kind is ContradictionKind.STATEMENT:
        assert said == (left, right)

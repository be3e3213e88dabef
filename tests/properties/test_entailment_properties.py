"""Any passages, any answers of the model, any time: what the entailment stage keeps to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from core.adapters.manual_clock import ManualClock
from core.clock import Deadline
from core.contradictions.entailment_stage import EntailmentStage
from core.contradictions.gate import Gate
from core.contradictions.stage import Asked, decided_pairs
from core.digest import text_digest
from core.model import Agreement, Detection, Passage, Query, Ranking, ScoredPassage
from tests.fake_entailment import TableModel

WORDS = ["coffee", "heart", "good", "bad", "not", "doctors", "helps", "harms", "1871", "40"]
SENTENCES = st.lists(st.sampled_from(WORDS), min_size=2, max_size=6).map(lambda words: f"Coffee {' '.join(words)}.")
TEXTS = st.lists(SENTENCES, min_size=1, max_size=3).map(" ".join)
EVERYTHING = Gate(min_worth=0.0)


class HashedModel(TableModel):
    """Says something of each pair that looks like chance and is always the same; often sure."""

    def score(self, pairs: Sequence[tuple[str, str]]) -> NDArray[np.float32]:
        """Rows that sum to one."""
        super().score(pairs)
        rows = [(0.0, 0.0, 1.0) if text_digest("|".join(pair)) < "8" else (1.0, 0.0, 0.0) for pair in pairs]
        return np.array(rows, dtype=np.float32).reshape(len(pairs), 3)


@st.composite
def queries(draw: st.DrawFn) -> tuple[Query, Ranking, Detection]:
    """A query, its passages, and agreements that an earlier stage found."""
    texts = draw(st.lists(TEXTS, max_size=6))
    items = tuple(ScoredPassage(Passage(f"p{place}", text), 9.0 - place) for place, text in enumerate(texts))
    pairs = [(left, right) for right in range(len(texts)) for left in range(right)]
    decided = draw(st.lists(st.sampled_from(pairs), unique=True, max_size=4)) if pairs else []
    known = tuple(Agreement(f"p{left}", f"p{right}", "known") for left, right in decided)
    return (
        Query("q", draw(st.sampled_from(["How does coffee work for the heart?", "coffee", "?"]))),
        Ranking(items),
        Detection(agreements=known),
    )


def asked(case: tuple[Query, Ranking, Detection], *, budget_s: float = 10.0) -> Asked:
    """With its own time."""
    query, ranking, known = case
    return Asked(query, ranking, Deadline(budget_s, clock=ManualClock()), known)


@given(queries(), st.integers(1, 30))
def test_never_more_than_the_most_calls(case: tuple[Query, Ranking, Detection], most: int) -> None:
    """Both directions counted, whatever the model says."""
    model = HashedModel()
    EntailmentStage(model, gate=EVERYTHING, max_pairs=most).refine(asked(case))
    assert len(model.pairs) <= most


@given(queries())
def test_decided_pairs_stay_and_new_ones_are_found_once(case: tuple[Query, Ranking, Detection]) -> None:
    """What was known stays in front; a new finding is on a pair that nobody had decided, and on each at most once."""
    found = EntailmentStage(HashedModel(), gate=EVERYTHING).refine(asked(case))
    known = case[2]
    assert found.agreements[: len(known.agreements)] == known.agreements
    new = replace(found, agreements=found.agreements[len(known.agreements) :])
    assert not decided_pairs(new) & decided_pairs(known)
    assert len(decided_pairs(new)) == len(new.contradictions) + len(new.agreements)


@given(queries())
def test_claims_quote_their_passages(case: tuple[Query, Ranking, Detection]) -> None:
    """Spans hold what is said, the better ranked passage is left, and scores are from 0 to 1."""
    texts = {item.passage.passage_id: item.passage.text for item in case[1].items}
    found = EntailmentStage(HashedModel(), gate=EVERYTHING).refine(asked(case))
    for item in found.contradictions:
        assert item.left.passage_id < item.right.passage_id
        assert 0 <= item.score <= 1
        for side in (item.left, item.right):
            text = texts[side.passage_id]
            assert text[side.sentence_span.start : side.sentence_span.end] == side.sentence
            assert text[side.value_span.start : side.value_span.end] == side.value
            assert side.value in side.sentence


@given(st.lists(queries(), max_size=4))
def test_a_query_does_not_depend_on_those_before_it(cases: list[tuple[Query, Ranking, Detection]]) -> None:
    """In the other order they get the same."""
    stage = EntailmentStage(HashedModel(), gate=EVERYTHING)
    alone = [stage.refine(asked(case)) for case in cases]
    assert [stage.refine(asked(case)) for case in reversed(cases)] == alone[::-1]


@given(queries(), st.sampled_from([-1.0, 0.0, 0.03]))
def test_without_time_nothing_changes(case: tuple[Query, Ranking, Detection], budget_s: float) -> None:
    """No call, no finding; incomplete where there was something to compare."""
    model = HashedModel()
    found = EntailmentStage(model, gate=EVERYTHING).refine(asked(case, budget_s=budget_s))
    assert found == replace(case[2], complete=len(case[1].items) < 2)
    assert model.calls == []


@given(queries(), st.floats(0.0, 0.5), st.floats(0.001, 0.1))
def test_time_only_takes_away(case: tuple[Query, Ranking, Detection], budget_s: float, seconds: float) -> None:
    """What is found in less time is found in more; no call is begun that would not fit, if calls take equally long."""
    clock = ManualClock()
    model = HashedModel(clock=clock, seconds=seconds)
    query, ranking, known = case
    deadline = Deadline(budget_s, clock=clock)
    stage = EntailmentStage(model, gate=EVERYTHING, reserve_s=0.01, group_s=seconds)
    found = stage.refine(Asked(query, ranking, deadline, known))
    whole = EntailmentStage(HashedModel(), gate=EVERYTHING).refine(asked(case))
    assert set(found.contradictions) <= set(whole.contradictions)
    assert found == whole or not found.complete
    assert deadline.spent_s <= max(0.0, budget_s - 0.01)

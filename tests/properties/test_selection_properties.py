"""Any evidence, any disputes, any budget: what every selection keeps to."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from core.model import (
    Agreement,
    Claim,
    Contradiction,
    ContradictionKind,
    Detection,
    Evidence,
    ExclusionReason,
    Passage,
    Query,
    Ranking,
    ScoredPassage,
    Selection,
    Span,
)
from core.ordering import SupportOrderer
from core.placement import PlacementPolicy
from core.selection import legacy_selection, select
from core.similarity import NEAR_DUPLICATE, similarity_matrix
from core.text import count_tokens

BUDGETS = st.integers(-1, 60)
POLICIES = st.sampled_from(PlacementPolicy)
WORDS = [f"word{number}" for number in range(12)]
TEXTS = st.one_of(
    st.lists(st.sampled_from(WORDS), min_size=1, max_size=25).map(" ".join),
    st.sampled_from(["?!", "of the", "...", "word0 word1 word2"]),
)


def claim(place: int) -> Claim:
    """Whatever the passage says."""
    return Claim(f"p{place}", "x", Span(0, 1), "x", Span(0, 1))


@st.composite
def cases(draw: st.DrawFn) -> tuple[Ranking, Detection]:
    """A ranking with near-copies, sources and dates in it, and findings about it."""
    texts = draw(st.lists(TEXTS, max_size=8))
    scores = sorted(draw(st.lists(st.integers(-2, 9), min_size=len(texts), max_size=len(texts))), reverse=True)
    sources = st.sampled_from([None, "s", "t"])
    items = tuple(
        ScoredPassage(Passage(f"p{place}", text, draw(sources)), float(score))
        for place, (text, score) in enumerate(zip(texts, scores, strict=True))
    )
    pairs = [(left, right) for right in range(len(texts)) for left in range(right)]
    chosen = draw(st.lists(st.sampled_from(pairs), unique=True, max_size=6)) if pairs else []
    cut = draw(st.integers(0, len(chosen)))
    against = tuple(
        Contradiction(ContradictionKind.DATE, 0.7, "drawn", claim(left), claim(right)) for left, right in chosen[:cut]
    )
    agreeing = tuple(Agreement(f"p{left}", f"p{right}", "x") for left, right in chosen[cut:])
    return Ranking(items), Detection(against, agreements=agreeing)


def selected(
    case: tuple[Ranking, Detection], budget: int, policy: PlacementPolicy = PlacementPolicy.BEST_FIRST
) -> tuple[Selection, tuple[Evidence, ...]]:
    """The selection, and the evidence that it was made from."""
    ranking, detection = case
    evidence = SupportOrderer().order(Query("q", "?"), ranking, detection)
    return select(evidence, detection, token_budget=budget, placement=policy), evidence


@given(cases(), BUDGETS, POLICIES)
def test_every_passage_once(case: tuple[Ranking, Detection], budget: int, policy: PlacementPolicy) -> None:
    """Each passage is selected or left out with a reason, exactly once."""
    selection, _ = selected(case, budget, policy)
    named = [*selection.passage_ids, *(item.passage_id for item in selection.exclusions)]
    assert sorted(named) == sorted(item.passage.passage_id for item in case[0].items)


@given(cases(), BUDGETS)
def test_within_the_budget(case: tuple[Ranking, Detection], budget: int) -> None:
    """The tokens of what is selected fit, by the tokens of the texts themselves."""
    selection, _ = selected(case, budget)
    assert sum(count_tokens(item.passage.text) for item in selection.evidence) <= max(0, budget)
    legacy = legacy_selection(case[0], token_budget=budget)
    assert sum(count_tokens(item.passage.text) for item in legacy.evidence) <= max(0, budget)


@given(cases(), BUDGETS)
def test_no_half_dispute(case: tuple[Ranking, Detection], budget: int) -> None:
    """A selected passage of an open dispute has an opponent beside it, unless it is all that was selected."""
    selection, _ = selected(case, budget)
    names = set(selection.passage_ids)
    for item in selection.evidence:
        if item.disputed and not names & set(item.disputed_by):
            assert len(names) == 1


@given(cases(), BUDGETS, POLICIES)
def test_open_disputes_are_contiguous(case: tuple[Ranking, Detection], budget: int, policy: PlacementPolicy) -> None:
    """Under every placement the selected sides of an open dispute stand next to each other."""
    selection, _ = selected(case, budget, policy)
    groups = [item.conflict_group if item.disputed else None for item in selection.evidence]
    for group in set(groups) - {None}:
        first = groups.index(group)
        assert groups[first : first + groups.count(group)] == [group] * groups.count(group)


@given(cases(), BUDGETS)
def test_never_nothing(case: tuple[Ranking, Detection], budget: int) -> None:
    """Something is selected whenever some passage fits at all."""
    selection, evidence = selected(case, budget)
    assert bool(selection.evidence) == any(item.tokens <= budget for item in evidence)


@given(cases(), BUDGETS)
def test_reasons_are_true(case: tuple[Ranking, Detection], budget: int) -> None:
    """What is too long is so, what repeats repeats a selected passage, and what found no room had none."""
    selection, evidence = selected(case, budget)
    by_id = {item.passage.passage_id: item for item in evidence}
    left = budget - sum(item.tokens for item in selection.evidence)
    for item in selection.exclusions:
        out = by_id[item.passage_id]
        assert (item.reason is ExclusionReason.TOO_LONG) == (out.tokens > budget)
        if item.reason is ExclusionReason.NEAR_DUPLICATE:
            assert item.because_of in selection.passage_ids
            texts = out.passage.text, by_id[item.because_of].passage.text
            assert similarity_matrix(texts)[0, 1] >= NEAR_DUPLICATE
        elif item.reason is ExclusionReason.BUDGET:
            assert out.tokens > left
        elif item.reason is ExclusionReason.DISPUTE_DOES_NOT_FIT:
            assert out.disputed
            assert item.because_of in out.disputed_by
            assert not set(selection.passage_ids) & set(out.disputed_by) or len(selection.passage_ids) == 1


@given(cases(), BUDGETS)
def test_placement_selects_nothing_else(case: tuple[Ranking, Detection], budget: int) -> None:
    """How passages are placed never changes which are selected."""
    names = {policy: set(selected(case, budget, policy)[0].passage_ids) for policy in PlacementPolicy}
    assert len(set(map(frozenset, names.values()))) == 1


@settings(max_examples=50)
@given(cases(), BUDGETS)
def test_ample_budget(case: tuple[Ranking, Detection], budget: int) -> None:
    """Where all fits, only repetitions are left out."""
    del budget
    selection, _ = selected(case, 10_000)
    assert {item.reason for item in selection.exclusions} <= {ExclusionReason.NEAR_DUPLICATE}


@given(cases(), BUDGETS)
def test_legacy(case: tuple[Ranking, Detection], budget: int) -> None:
    """Legacy keeps the retriever's order, accounts for each passage, and is never empty where one fits."""
    ranking, _ = case
    legacy = legacy_selection(ranking, token_budget=budget)
    ranks = [item.rank_in for item in legacy.evidence]
    assert ranks == sorted(ranks)
    named = [*legacy.passage_ids, *(item.passage_id for item in legacy.exclusions)]
    assert sorted(named) == sorted(item.passage.passage_id for item in ranking.items)
    assert bool(legacy.evidence) == any(count_tokens(item.passage.text) <= budget for item in ranking.items)


@given(cases())
def test_order(case: tuple[Ranking, Detection]) -> None:
    """Ordering keeps each passage, its parts are within their bounds, and open disputes name each other."""
    ranking, detection = case
    evidence = SupportOrderer().order(Query("q", "?"), ranking, detection)
    by_id = {item.passage.passage_id: item for item in evidence}
    assert len(by_id) == len(evidence) == len(ranking.items)
    keys = [(-item.score, item.rank_in) for item in evidence]
    assert keys == sorted(keys)
    for item in evidence:
        parts = item.score_parts
        assert 0.0 <= parts.relevance <= 1.0
        assert 1 <= item.support <= len(evidence)
        assert parts.support >= 1.0
        assert parts.contradiction in {0.5, 0.8, 1.0}
        assert 1.0 <= parts.recency <= 1.1
        for opponent in item.disputed_by:
            assert item.passage.passage_id in by_id[opponent].disputed_by
            assert item.conflict_group == by_id[opponent].conflict_group


@given(cases(), st.integers(1, 7))
def test_scores_of_any_scale(case: tuple[Ranking, Detection], factor: int) -> None:
    """The scale of the retriever's scores changes nothing."""
    ranking, detection = case
    if any(item.score < 0 for item in ranking.items):
        return
    scaled = Ranking(tuple(replace(item, score=item.score * 2.0**factor) for item in ranking.items))
    query = Query("q", "?")
    assert SupportOrderer().order(query, ranking, detection) == SupportOrderer().order(query, scaled, detection)

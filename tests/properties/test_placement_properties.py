"""Every placement, of any evidence: nothing is lost, and blocks stay whole."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from core.model import Evidence, Passage, ScoreParts
from core.placement import PlacementPolicy, place

POLICIES = st.sampled_from(PlacementPolicy)
DATES = st.none() | st.datetimes(timezones=st.just(UTC))


@st.composite
def evidence_lists(draw: st.DrawFn, *, disputes: bool = True) -> list[Evidence]:
    """Evidence, best first; some of it in open disputes, some in settled ones."""
    items = []
    for number in range(draw(st.integers(0, 9))):
        group = draw(st.none() | st.integers(1, 3)) if disputes else None
        open_ = group is not None and draw(st.booleans())
        passage = Passage(str(number), f"text {number}", published_at=draw(DATES))
        score = 1.0 - number / 10
        items.append(
            Evidence(
                passage,
                score,
                ScoreParts(score),
                number + 1,
                2,
                conflict_group=group,
                disputed_by=("another",) if open_ else (),
            )
        )
    return items


@given(evidence_lists(), POLICIES)
def test_permutation(evidence: list[Evidence], policy: PlacementPolicy) -> None:
    """Every policy places each passage exactly once, unchanged."""
    placed = place(evidence, policy)
    assert sorted(placed, key=lambda item: item.rank_in) == evidence


@given(evidence_lists(), POLICIES)
def test_disputes_are_contiguous(evidence: list[Evidence], policy: PlacementPolicy) -> None:
    """The sides of an open dispute stand next to each other, better ones first, under every policy."""
    placed = place(evidence, policy)
    for group in {item.conflict_group for item in evidence if item.disputed}:
        at = [place for place, item in enumerate(placed) if item.disputed and item.conflict_group == group]
        assert at == list(range(at[0], at[0] + len(at)))
        ranks = [placed[place].rank_in for place in at]
        assert ranks == sorted(ranks)


@given(evidence_lists(disputes=False))
def test_best_first(evidence: list[Evidence]) -> None:
    """Best first changes nothing."""
    assert list(place(evidence, PlacementPolicy.BEST_FIRST)) == evidence


@given(evidence_lists(disputes=False))
def test_edges(evidence: list[Evidence]) -> None:
    """From the edges inwards the evidence falls, for even and odd numbers; the two policies are mirror images."""
    placed = list(place(evidence, PlacementPolicy.EDGES_BEST_FIRST))
    inwards = []
    left, right = 0, len(placed) - 1
    while left <= right:
        inwards.append(placed[left])
        if left < right:
            inwards.append(placed[right])
        left, right = left + 1, right - 1
    assert inwards == evidence
    assert list(place(evidence, PlacementPolicy.EDGES_BEST_LAST)) == placed[::-1]


@given(evidence_lists(disputes=False))
def test_chronological(evidence: list[Evidence]) -> None:
    """Dates rise, undated passages stand behind, and equal ones stand best first."""
    placed = place(evidence, PlacementPolicy.CHRONOLOGICAL)
    keys = [
        (item.passage.published_at is None, item.passage.published_at or datetime.max.replace(tzinfo=UTC), item.rank_in)
        for item in placed
    ]
    assert keys == sorted(keys)


@given(evidence_lists(), POLICIES)
def test_stable(evidence: list[Evidence], policy: PlacementPolicy) -> None:
    """The same evidence is placed in the same way."""
    assert place(evidence, policy) == place(list(evidence), policy)

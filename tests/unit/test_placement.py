"""Where the chosen passages stand: each policy, by hand."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from core.model import Evidence, Passage, ScoreParts
from core.placement import PlacementPolicy, place


def evidence(number: int, *, group: int | None = None, open_: bool = True, year: int | None = None) -> Evidence:
    """The evidence of that place in the order."""
    published_at = None if year is None else datetime(year, 1, 1, tzinfo=UTC)
    return Evidence(
        Passage(str(number), f"text {number}", published_at=published_at),
        score=1.0 / number,
        score_parts=ScoreParts(1.0 / number),
        rank_in=number,
        tokens=2,
        conflict_group=group,
        disputed_by=("someone",) if group is not None and open_ else (),
    )


def placed(policy: PlacementPolicy, *items: Evidence) -> str:
    """The numbers of the evidence as it is placed."""
    return " ".join(item.passage.passage_id for item in place(items, policy))


@pytest.mark.parametrize(
    ("policy", "count", "expected"),
    [
        (PlacementPolicy.BEST_FIRST, 5, "1 2 3 4 5"),
        (PlacementPolicy.EDGES_BEST_FIRST, 5, "1 3 5 4 2"),
        (PlacementPolicy.EDGES_BEST_FIRST, 4, "1 3 4 2"),
        (PlacementPolicy.EDGES_BEST_LAST, 5, "2 4 5 3 1"),
        (PlacementPolicy.EDGES_BEST_LAST, 4, "2 4 3 1"),
        (PlacementPolicy.EDGES_BEST_FIRST, 2, "1 2"),
        (PlacementPolicy.EDGES_BEST_LAST, 2, "2 1"),
        (PlacementPolicy.EDGES_BEST_LAST, 1, "1"),
        (PlacementPolicy.CHRONOLOGICAL, 3, "1 2 3"),
        (PlacementPolicy.CHRONOLOGICAL, 0, ""),
    ],
)
def test_policies(policy: PlacementPolicy, count: int, expected: str) -> None:
    """Each policy is exact, for even and odd numbers alike."""
    assert placed(policy, *(evidence(number) for number in range(1, count + 1))) == expected


def test_chronological() -> None:
    """Oldest first; what has no date stands behind, best first."""
    items = [evidence(1), evidence(2, year=2020), evidence(3), evidence(4, year=1999), evidence(5, year=2020)]
    assert placed(PlacementPolicy.CHRONOLOGICAL, *items) == "4 2 5 1 3"


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (PlacementPolicy.BEST_FIRST, "1 2 5 3 4"),
        (PlacementPolicy.EDGES_BEST_FIRST, "1 3 4 2 5"),
        (PlacementPolicy.EDGES_BEST_LAST, "2 5 4 3 1"),
    ],
)
def test_open_dispute_is_one_block(policy: PlacementPolicy, expected: str) -> None:
    """The sides of an open dispute stand together, the better one first, in the place of the better one."""
    items = [evidence(1), evidence(2, group=1), evidence(3), evidence(4), evidence(5, group=1)]
    assert placed(policy, *items) == expected


def test_block_in_time() -> None:
    """A block stands where its oldest passage would."""
    items = [evidence(1, group=1), evidence(2, year=2005), evidence(3, year=2001, group=1), evidence(4, year=2003)]
    assert placed(PlacementPolicy.CHRONOLOGICAL, *items) == "1 3 4 2"


def test_settled_dispute_is_no_block() -> None:
    """Sides of a dispute that is settled stand where their scores put them."""
    items = [evidence(1, group=1, open_=False), evidence(2), evidence(3, group=1, open_=False)]
    assert placed(PlacementPolicy.BEST_FIRST, *items) == "1 2 3"


def test_two_disputes() -> None:
    """Each dispute is a block of its own."""
    items = [evidence(1, group=2), evidence(2, group=1), evidence(3, group=2), evidence(4, group=1)]
    assert placed(PlacementPolicy.BEST_FIRST, *items) == "1 3 2 4"

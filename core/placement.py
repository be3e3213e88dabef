"""Where the chosen passages stand in what a language model reads.

Models read the edges of a long context better than its middle (Liu et al. 2023, "Lost in the Middle", arXiv
2307.03172). Libraries differ in what they do about it, and whether the best passage ends up first or last can depend on
whether their number is even. Here each policy is exact:

best_first        1 2 3 4 5 (numbers are places in the order, 1 the best)
edges_best_first  1 3 5 4 2
edges_best_last   2 4 5 3 1
chronological     oldest first; undated passages behind the dated ones, best first

The sides of an open dispute are one block in every policy: next to each other, the better one first.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from enum import StrEnum

from core.model import Evidence

_LAST = datetime.max.replace(tzinfo=UTC)


class PlacementPolicy(StrEnum):
    """How the chosen passages are placed."""

    BEST_FIRST = "best_first"
    EDGES_BEST_FIRST = "edges_best_first"
    EDGES_BEST_LAST = "edges_best_last"
    CHRONOLOGICAL = "chronological"


def place(evidence: Sequence[Evidence], policy: PlacementPolicy) -> tuple[Evidence, ...]:
    """Return the evidence, given best first, in the places that the policy gives it."""
    blocks = _blocks(evidence)
    match policy:
        case PlacementPolicy.BEST_FIRST:
            placed = blocks
        case PlacementPolicy.EDGES_BEST_FIRST:
            placed = _edges(blocks)
        case PlacementPolicy.EDGES_BEST_LAST:
            placed = _edges(blocks)[::-1]
        case PlacementPolicy.CHRONOLOGICAL:
            placed = sorted(blocks, key=lambda block: min(item.passage.published_at or _LAST for item in block))
    return tuple(item for block in placed for item in block)


def _blocks(evidence: Sequence[Evidence]) -> list[list[Evidence]]:
    """Evidence of one open dispute together, in the place of its best passage; everything else alone."""
    blocks: list[list[Evidence]] = []
    open_groups: dict[int, list[Evidence]] = {}
    for item in evidence:
        if not item.disputed or item.conflict_group is None:
            blocks.append([item])
        elif item.conflict_group in open_groups:
            open_groups[item.conflict_group].append(item)
        else:
            open_groups[item.conflict_group] = [item]
            blocks.append(open_groups[item.conflict_group])
    return blocks


def _edges(blocks: list[list[Evidence]]) -> list[list[Evidence]]:
    return blocks[::2] + blocks[1::2][::-1]

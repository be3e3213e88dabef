"""Words that exclude each other: opposites from WordNet, and sets of which one thing has one.

Two sentences about one thing that differ in such a word alone cannot both be right. The table is `antonyms.txt`, made
by `training/antonyms`; its licence stands beside it.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files

from core.model import ContradictionKind
from core.text import stem


def _stems(text: str) -> frozenset[str]:
    return frozenset(stem(word) for word in text.split())


_EXCLUSIVE = (
    (ContradictionKind.ENTITY, _stems("black blue brown green orange pink purple red white yellow gray grey")),
    (ContradictionKind.DATE, _stems("monday tuesday wednesday thursday friday saturday sunday")),
    (
        ContradictionKind.DATE,
        _stems("january february march april may june july august september october november december"),
    ),
    (ContradictionKind.DATE, _stems("spring summer autumn winter")),
    (ContradictionKind.ENTITY, _stems("north south east west")),
    (ContradictionKind.ENTITY, _stems("northern southern eastern western")),
    (ContradictionKind.ENTITY, _stems("northeast northwest southeast southwest")),
    (ContradictionKind.ENTITY, _stems("man woman")),
    (ContradictionKind.ENTITY, _stems("men women")),
    (ContradictionKind.ENTITY, _stems("boy girl")),
    (ContradictionKind.ENTITY, _stems("male female")),
    (ContradictionKind.POLARITY, _stems("near far")),
    (ContradictionKind.POLARITY, _stems("inside outside")),
    (ContradictionKind.POLARITY, _stems("indoors outdoors")),
    (ContradictionKind.POLARITY, _stems("left right")),
    (ContradictionKind.POLARITY, _stems("upper lower")),
    (ContradictionKind.POLARITY, _stems("start end")),
    (ContradictionKind.POLARITY, _stems("stand sit lie")),
    (ContradictionKind.POLARITY, _stems("buy sell")),
    (ContradictionKind.POLARITY, _stems("bought sold")),
    (ContradictionKind.POLARITY, _stems("day night")),
)
"""Sets that a thing has one of: one colour, one day, one direction, one side. Something else may have another one: only
where all other words are the same, they contradict each other."""
_SAME = (_stems("gray grey"),)


@lru_cache(maxsize=1)
def _opposites() -> frozenset[tuple[str, str]]:
    """All pairs of opposite stems, the one that sorts first in front."""
    lines = files("core.contradictions").joinpath("antonyms.txt").read_text(encoding="ascii").splitlines()
    return frozenset((low, high) for line in lines for low, *highs in (line.split(),) for high in highs)


def are_opposites(one: str, other: str) -> bool:
    """Whether two stems (`core.text.stem`) are those of opposite words; in either order."""
    return (min(one, other), max(one, other)) in _opposites()


def exclusion(one: str, other: str) -> ContradictionKind | None:
    """What sort of contradiction it is to say one stem instead of the other, all else the same; nothing if none."""
    if are_opposites(one, other):
        return ContradictionKind.POLARITY
    if one == other or any({one, other} <= same for same in _SAME):
        return None
    return next((kind for kind, words in _EXCLUSIVE if one in words and other in words), None)

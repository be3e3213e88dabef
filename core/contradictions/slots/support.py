"""What the other passages say for and against each passage's answer.

`support` counts the other passages that give the same answer, each by how likely that is; passages that repeat each
other or come from one source share one vote. `opposition` is the strongest passage that is likely about the same thing
and answers differently, counted with its own support; how likely they are about one thing is squared, so that possible
namesakes hardly oppose. `core.ordering` makes a score of them.

The voting is that of truth discovery with equal trust in all sources (Yin et al., TruthFinder, 2008) without iteration.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.contradictions.slots.reader import SlotTable
from core.similarity import NEAR_COPY


@dataclass(frozen=True, slots=True)
class Support:
    """What speaks for and against each passage of a list; arrays of one number a passage.

    Attributes:
        answered: how likely it answers the question.
        support: independent passages that give the same answer.
        opposition: weight of the strongest passage about the same thing that answers differently.
    """

    answered: NDArray[np.float64]
    support: NDArray[np.float64]
    opposition: NDArray[np.float64]


def weigh(table: SlotTable, sources: Sequence[str | None] | None = None) -> Support:
    """Weigh the passages of a list against each other.

    Args:
        table: what they answer.
        sources: where each comes from; passages of one source share one vote. `None` where nothing is known.
    """
    count = len(table.readings)
    answered = np.array([reading.answered for reading in table.readings], float)
    different = table.different.astype(float)
    others = ~np.eye(count, dtype=bool)
    same = (1 - different) * others
    repeats = table.similarity >= NEAR_COPY
    if sources is not None:
        repeats |= np.array([[one is not None and one == other for other in sources] for one in sources], bool)
    vote = answered / (1 + (same * (repeats & others)) @ answered)
    support = same @ vote
    against = different * others * table.same_subject**2 * (answered * (answered + support))
    opposition = against.max(axis=1, initial=0)
    return Support(answered, support, opposition)

"""Which passages lead: those whose answer others give as well, and that nobody better supported disputes.

A passage's score is

    relevance + 0.5 * logit(answered) + 2 * log((1 + support) / (1 + opposition))

`support` counts the other passages that give the same answer, each by how likely that is; passages that repeat each
other or come from one source share one vote. `opposition` is the strongest passage that is likely about the same thing
and answers differently, counted with its own support; how likely they are about one thing is squared, so that possible
namesakes hardly oppose. The coefficients are round numbers from a flat region: on RAMDocs (answers read by weights that
were trained on other questions) support weights from 2 to 3 and opposition weights from 1 to 3 change MAP by at most
0.004 and the share of questions with misinformation among the first n by at most 0.06.

The voting is that of truth discovery with equal trust in all sources (Yin et al., TruthFinder, 2008) without iteration.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.contradictions.slots.reader import SlotTable
from core.similarity import NEAR_COPY

_SUPPORT_WEIGHT = 2.0
_ANSWERED_WEIGHT = 0.5
_SMOOTHING = 0.02


@dataclass(frozen=True, slots=True)
class Support:
    """What speaks for and against each passage of a list; arrays of one number a passage.

    Attributes:
        answered: how likely it answers the question.
        support: independent passages that give the same answer.
        opposition: weight of the strongest passage about the same thing that answers differently.
        score: for ordering; higher is better.
    """

    answered: NDArray[np.float64]
    support: NDArray[np.float64]
    opposition: NDArray[np.float64]
    score: NDArray[np.float64]


def weigh(table: SlotTable, relevance: Sequence[float], sources: Sequence[str | None] | None = None) -> Support:
    """Weigh the passages of a list against each other.

    Args:
        table: what they answer.
        relevance: how relevant each is, 0 or more, on any one scale.
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
    best = max(relevance, default=0.0)
    scaled = np.asarray(relevance, float) / best if best > 0 else np.zeros(count)
    logit = np.log((answered + _SMOOTHING) / (1 - answered + _SMOOTHING))
    score = scaled + _ANSWERED_WEIGHT * logit + _SUPPORT_WEIGHT * np.log((1 + support) / (1 + opposition))
    return Support(answered, support, opposition, score)

"""The trainings whose weights are averaged into one model.

All begin with the same weights, so their ends lie near each other, and the mean of the weights can err less than each
of them in a network of one's size (Wortsman et al. 2022, arXiv 2203.05482; that a run may begin again where another
ended is from Izmailov et al. 2018, arXiv 1803.05407). training/README.md has what it is worth here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from training.nli.mixture import SEED
from training.nli.trainer import Schedule

Weights = Mapping[str, Tensor]


@dataclass(frozen=True, slots=True)
class Run:
    """One training.

    Args:
        name: names its folder.
        schedule: how it goes.
        share: its part of the mean.
        begins_with: name of the run whose last weights it begins with; `None` for the embedder's.
    """

    name: str
    schedule: Schedule
    share: float
    begins_with: str | None = None


RUNS: Final = (
    Run("words-fixed", Schedule(steps=3_600), share=0.25),
    Run("words-learn", Schedule(steps=4_800, words_learn=True, snli=1.6), share=0.25),
    Run(
        "again",
        Schedule(steps=1_400, falling=1.0, rate=8e-5, head_rate=1.5e-4, warm_up_steps=50, first_pass=4, seed=SEED + 10),
        share=0.5,
        begins_with="words-fixed",
    ),
)


def mean_of(weights: Sequence[Weights], shares: Sequence[float]) -> dict[str, Tensor]:
    """The weighted mean of networks of one shape, tensor by tensor.

    Args:
        weights: tensors by name, the same names in each.
        shares: how much each network counts; they need not add up to 1.
    """
    whole = sum(shares)
    return {
        name: sum((share / whole * one[name] for one, share in zip(weights, shares, strict=True)), torch.zeros(()))
        for name in weights[0]
    }

"""What is trained on, and how often: the data sets, turned contradictions, self-made pairs, over several passes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from training.nli.pairs import EVALUATION_SETS, TRAINING_SETS, Pair, read_pairs, sorted_out, without_known
from training.nli.swaps import made_pairs, opposed_claims

SEED = 20_261_125
MADE_OF_EACH_KIND = 1_500
_SOURCES_OF_SWAPS = {"mnli_devB_train", "conjnli_train", "scifact_train"}

SHARE_PER_PASS = {
    "mnli_devB_train": 0.55,
    "breaking_train": 0.2,
    "conjnli_train": 0.18,
    "neg_snli": 0.5,
    "neg_mnli": 0.5,
    "scifact_train": 1.0,
    "made_claim": 0.6,
    "turned": 0.2,
    "turned_breaking_train": 0.1,
    "made": 0.12,
}
"""Which part of an origin one pass reads. A pass goes on where the pass before ended, so four passes at 0.5 are two
full readings. SNLI, of which a run says how much it reads, and SciFact are read most: they are small and like the text
that the model is judged on; Breaking NLI and the self-made pairs are read least: they are easy."""


@dataclass(frozen=True, slots=True)
class Mixture:
    """The training pairs by origin, and the pairs held out of them."""

    by_origin: dict[str, tuple[Pair, ...]]
    held_out: tuple[Pair, ...]
    dropped: int
    """Pairs left out because an evaluation file holds the same two sentences."""


def mixture(folder: Path) -> Mixture:
    """Read the training files of `folder` and build everything from them, the same each time.

    The evaluation files are read for one purpose: a pair that stands in one of them is not trained on.
    """
    given = [pair for name in TRAINING_SETS for pair in read_pairs(folder, name)]
    train, held_out = sorted_out(dict.fromkeys(given))
    chance = Random(SEED)  # noqa: S311  (the same pairs each time are wanted)
    turned = [
        Pair(pair.hypothesis, pair.premise, "c", f"turned_{pair.origin}")
        for pair in train
        if pair.label == "c" and pair.origin != "scifact_train"
    ]
    swapped = made_pairs(
        [pair.premise for pair in train if pair.origin in _SOURCES_OF_SWAPS], of_each=MADE_OF_EACH_KIND, chance=chance
    )
    claims = opposed_claims([pair for pair in train if pair.origin == "scifact_train"], chance)
    known = [pair for name in EVALUATION_SETS for pair in read_pairs(folder, name)]
    everything = (*train, *turned, *swapped, *claims)
    kept = without_known(everything, (*known, *held_out))
    by_origin: dict[str, list[Pair]] = defaultdict(list)
    for pair in kept:
        by_origin[pair.origin].append(pair)
    return Mixture(
        by_origin={origin: tuple(pairs) for origin, pairs in by_origin.items()},
        held_out=without_known(held_out, known),
        dropped=len(everything) - len(kept),
    )


def passes(by_origin: dict[str, tuple[Pair, ...]], *, count: int, snli: float = 1.0) -> tuple[tuple[Pair, ...], ...]:
    """Lay out `count` passes over the mixture, shuffled; each reads the part `snli` of SNLI."""
    chance = Random(SEED + 1)  # noqa: S311  (as above)
    decks = {origin: chance.sample(pairs, len(pairs)) for origin, pairs in sorted(by_origin.items())}
    laid = []
    for number in range(count):
        one: list[Pair] = []
        for origin, deck in decks.items():
            share = snli if origin == "snli_dev" else _share(origin)
            first, end = round(number * share * len(deck)), round((number + 1) * share * len(deck))
            one.extend(deck[place % len(deck)] for place in range(first, end))
        chance.shuffle(one)
        laid.append(tuple(one))
    return tuple(laid)


def batches(one_pass: Sequence[Pair], lengths: Sequence[int], *, rows: int, chance: Random) -> list[list[int]]:
    """Cut a pass into batches of pairs of like length, in random order; returns places in the pass."""
    window = rows * 40
    cut: list[list[int]] = []
    for first in range(0, len(one_pass), window):
        places = sorted(range(first, min(first + window, len(one_pass))), key=lambda place: lengths[place])
        cut.extend(places[start : start + rows] for start in range(0, len(places), rows))
    chance.shuffle(cut)
    return cut


def _share(origin: str) -> float:
    if origin in SHARE_PER_PASS:
        return SHARE_PER_PASS[origin]
    return SHARE_PER_PASS[origin.partition("_")[0]]

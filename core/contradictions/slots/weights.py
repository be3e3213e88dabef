"""The trained numbers of the slot reader: one file, checked against the features that the code computes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.contradictions.slots.answers import AGREEMENT_FEATURES
from core.contradictions.slots.features import FEATURES
from core.contradictions.slots.question import SlotKind

FILE = "weights.json"
AGAIN = (*FEATURES, *AGREEMENT_FEATURES)
"""Names of the features of the second look."""
_UNTRAINED = frozenset({SlotKind.VERSION, SlotKind.YES_NO})
"""Kinds that no value answers, so that weights only say that nothing does."""


@dataclass(frozen=True, slots=True)
class Weights:
    """Linear models, each a weight a feature.

    Attributes:
        version: name and version; goes into traces.
        spans: for each kind, how much each feature says that a span is the answer, before others' answers are known.
        spans_again: the same with others' answers, `AGREEMENT_FEATURES` behind the others.
        pairs: how much each pair feature says that two answers differ; the last weight is the constant.
        subjects: how much each subject feature says that two passages are about one thing; the last is the constant.
    """

    version: str
    spans: Mapping[SlotKind, NDArray[np.float32]]
    spans_again: Mapping[SlotKind, NDArray[np.float32]]
    pairs: NDArray[np.float32]
    subjects: NDArray[np.float32]

    def for_kind(self, kind: SlotKind) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Weights of the first and the second look for questions of a kind."""
        trained = SlotKind.OTHER if kind in _UNTRAINED else kind
        return self.spans[trained], self.spans_again[trained]


def fingerprint(names: Sequence[str]) -> str:
    """Short digest of the features' names and their order."""
    return hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]


def weights_of(content: Mapping[str, Any], features: Mapping[str, Sequence[str]]) -> Weights:
    """Read weights, checked against the features in use.

    Args:
        content: what the file holds: `version`, `features` (fingerprints) and `weights`, with the parts of `Weights`.
        features: names of the features that the code computes, for each part.

    Raises:
        ValueError: the weights were trained for other features.
    """
    for part, names in features.items():
        trained = content["features"][part]
        if trained != fingerprint(names):
            raise ValueError(
                f"{FILE}: `features.{part}` is {trained}, expected {fingerprint(names)}: the weights are for other "
                "features than the code computes; train them anew, see training/slots/README.md"
            )
    numbers = content["weights"]
    spans, again = (
        {SlotKind(kind): np.array(row, np.float32) for kind, row in numbers[part].items()}
        for part in ("spans", "spans_again")
    )
    pairs, subjects = (np.array(numbers[part], np.float32) for part in ("pairs", "subjects"))
    return Weights(str(content["version"]), spans, again, pairs, subjects)


@lru_cache(maxsize=1)
def shipped_content() -> Mapping[str, Any]:
    """What the packaged file holds."""
    content: Mapping[str, Any] = json.loads(files(__package__).joinpath(FILE).read_text("utf-8"))
    return content

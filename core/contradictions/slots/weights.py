"""The trained numbers of the slot reader: one file, checked against the features that the code computes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.contradictions.slots.answers import AGREEMENT_FEATURES
from core.contradictions.slots.features import FEATURES
from core.contradictions.slots.question import SlotKind

FILE = "weights.json"
AGAIN = (*FEATURES, *AGREEMENT_FEATURES)
"""Names of the features of the second look."""
_VERSIONS = MappingProxyType(
    {"subject_before": 3.0, "trigger_before": 3.0, "attribute_before": 2.0, "first_of_kind": 1.0, "nothing": 1.5}
)
"""Weights for questions about versions, by hand: RAMDocs has none. A version stands behind what it is a version of, or
behind what asks for it (`Python 3.11`, `requires >= 2.1`)."""
_LOG_FIRST_SCALE = 5.0
"""By which `log_first` was divided: as a weight it makes the second look repeat the first."""


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
        if kind is SlotKind.VERSION:
            return _by_hand(FEATURES, _VERSIONS), _by_hand(AGAIN, {"log_first": _LOG_FIRST_SCALE})
        trained = SlotKind.OTHER if kind is SlotKind.YES_NO else kind
        return self.spans[trained], self.spans_again[trained]


def _by_hand(names: Sequence[str], weights: Mapping[str, float]) -> NDArray[np.float32]:
    return np.array([weights.get(name, 0.0) for name in names], np.float32)


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

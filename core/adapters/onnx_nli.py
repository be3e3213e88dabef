"""The embedded entailment model: does one sentence follow from another, contradict it, or neither.

A MiniLM-L6 cross-encoder with 8-bit weights, run by onnxruntime and tokenizers one pair at a time, for the reason that
`onnx_model` gives. `training/README.md` says how it was made and what it is good for.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.adapters.onnx_model import ModelFolder, softmax

EMBEDDED = Path(__file__).parent / "models" / "nli"
"""Folder of the model that comes with the package."""

OUTPUT = "logits"
"""Name of the network's output."""

LABELS = ("e", "n", "c")
"""The columns of a score: entailment, neutral, contradiction."""

CONTRADICTION = LABELS.index("c")
"""The column that says how likely the two sentences contradict each other."""

_REMEDY = "python -m training.nli makes the folder anew"


class OnnxNli:
    """Scores pairs of sentences with a model folder: `model.onnx`, `tokenizer.json`, `card.json`.

    The same pair gets the same score whatever stands beside it and however many threads there are. Loading reads and
    checks all files; onnxruntime and tokenizers are imported then, not before. One instance may be shared by threads.

    Args:
        folder: the model's folder; None means the embedded one.
        threads: pairs that are computed at the same time.

    Raises:
        ConfigError: a file is missing, or is not the one that the card was written for.
        ValueError: `threads` is less than 1.
    """

    def __init__(self, folder: Path | None = None, *, threads: int) -> None:
        model = ModelFolder(EMBEDDED if folder is None else folder, problem_of=_problem_of, remedy=_REMEDY)
        self._version = model.version
        self._temperature: float = model.card["temperature"]
        self._network = model.network(output=OUTPUT, width=len(LABELS), threads=threads)

    @property
    def version(self) -> str:
        """Name of the model with the start of its hash, for the trace. The same version gives the same scores."""
        return self._version

    def score(self, pairs: Sequence[tuple[str, str]]) -> NDArray[np.float32]:
        """Return calibrated probabilities of shape (n, 3), columns as in `LABELS`, rows in the order of the pairs.

        Each pair is (premise, hypothesis). Contradiction is symmetric in meaning; the model's answer nearly is. Of a
        pair longer than the card's `longest` tokens, the end of the longer sentence is not read.
        """
        return softmax(self._network.run(pairs), self._temperature)


def _problem_of(card: Mapping[str, Any]) -> str | None:
    if card.get("labels") != list(LABELS):
        return f"field labels is {card.get('labels')!r}, expected {list(LABELS)!r}"
    temperature = card.get("temperature")
    if not isinstance(temperature, float) or not 0 < temperature < math.inf:
        return f"field temperature is {temperature!r}, expected a number over 0"
    return None

"""The embedded entailment model: does one sentence follow from another, contradict it, or neither.

A MiniLM-L6 cross-encoder with 8-bit weights, run by onnxruntime and tokenizers. `training/README.md` says how it was
made and what it is good for.

Pairs are run one at a time, spread over the threads. The network quantises activations by the range of the whole
batch: in a batch, a pair's score would depend on its companions, and the same query could get another answer in another
chunk. One at a time it does not, nothing is padded, and a caller may stop after any pair.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from core.adapters.onnx_model import ModelFolder

if TYPE_CHECKING:
    from tokenizers import Encoding

EMBEDDED = Path(__file__).parent / "models" / "nli"
"""Folder of the model that comes with the package."""

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
        if threads < 1:
            raise ValueError(f"threads is {threads}, expected at least 1")
        model = ModelFolder(EMBEDDED if folder is None else folder, problem_of=_problem_of, remedy=_REMEDY)
        self._version = model.version
        self._temperature: float = model.card["temperature"]
        self._session = model.session()
        self._tokenizer = model.tokenizer()
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="nli") if threads > 1 else None

    @property
    def version(self) -> str:
        """Name of the model with the start of its hash, for the trace. The same version gives the same scores."""
        return self._version

    def score(self, pairs: Sequence[tuple[str, str]]) -> NDArray[np.float32]:
        """Return calibrated probabilities of shape (n, 3), columns as in `LABELS`, rows in the order of the pairs.

        Each pair is (premise, hypothesis). Contradiction is symmetric in meaning; the model's answer nearly is. Of a
        pair longer than the card's `longest` tokens, the end of the longer sentence is not read.
        """
        if not pairs:
            return np.zeros((0, len(LABELS)), dtype=np.float32)
        rows = self._tokenizer.encode_batch(list(pairs))
        logits = np.stack(list(map(self._logits, rows) if self._pool is None else self._pool.map(self._logits, rows)))
        powers = np.exp((logits - logits.max(axis=1, keepdims=True)) / self._temperature)
        return np.asarray(powers / powers.sum(axis=1, keepdims=True), dtype=np.float32)

    def _logits(self, row: Encoding) -> NDArray[np.float32]:
        given = {
            "input_ids": np.array([row.ids], dtype=np.int64),
            "attention_mask": np.ones((1, len(row.ids)), dtype=np.int64),
            "token_type_ids": np.array([row.type_ids], dtype=np.int64),
        }
        (logits,) = self._session.run(["logits"], given)
        return np.asarray(logits[0], dtype=np.float32)


def _problem_of(card: Mapping[str, Any]) -> str | None:
    if card.get("labels") != list(LABELS):
        return f"field labels is {card.get('labels')!r}, expected {list(LABELS)!r}"
    temperature = card.get("temperature")
    if not isinstance(temperature, float) or not 0 < temperature < math.inf:
        return f"field temperature is {temperature!r}, expected a number over 0"
    return None

"""The embedded sentence embedder: texts of like meaning have vectors of like direction.

all-MiniLM-L6-v2 with 8-bit weights, run by onnxruntime and tokenizers one text at a time, for the reason that
`onnx_model` gives. `training/README.md` says how the folder was made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from core.adapters.onnx_model import ModelFolder

EMBEDDED: Final = Path(__file__).parent / "models" / "minilm"
"""Folder of the model that comes with the package."""

OUTPUT: Final = "vector"
"""Name of the network's output."""

_REMEDY = "python -m training.embedder makes the folder anew"


class Embedder(Protocol):
    """Turns texts into vectors of one length, whose cosines say how near they are in meaning."""

    @property
    def version(self) -> str:
        """Name and version. The same version gives the same vectors."""
        ...

    @property
    def dimensions(self) -> int:
        """Numbers of a vector."""
        ...

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return vectors of shape (n, dimensions), rows in the order of the texts."""
        ...


class OnnxEmbedder:
    """Embeds texts with a model folder: `model.onnx`, `tokenizer.json`, `card.json`.

    The same text gets the same vector whatever stands beside it and however many threads there are. Loading reads and
    checks all files; onnxruntime and tokenizers are imported then, not before. One instance may be shared by threads.

    Args:
        folder: the model's folder; None means the embedded one.
        threads: texts that are computed at the same time.

    Raises:
        ConfigError: a file is missing, or is not the one that the card was written for.
        ValueError: `threads` is less than 1.
    """

    def __init__(self, folder: Path | None = None, *, threads: int) -> None:
        model = ModelFolder(EMBEDDED if folder is None else folder, problem_of=_problem_of, remedy=_REMEDY)
        self._version = model.version
        self._dimensions: int = model.card["dimensions"]
        self._network = model.network(output=OUTPUT, width=self._dimensions, threads=threads)

    @property
    def version(self) -> str:
        """Name of the model with the start of its hash and the tokens that it reads of a text."""
        return self._version

    @property
    def dimensions(self) -> int:
        """Numbers of a vector."""
        return self._dimensions

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return vectors of length one, of shape (n, dimensions), rows in the order of the texts.

        Of a text longer than the card's `longest` tokens the end is not read.
        """
        return self._network.run(texts)


def _problem_of(card: Mapping[str, Any]) -> str | None:
    dimensions = card.get("dimensions")
    if type(dimensions) is not int or dimensions < 1:
        return f"field dimensions is {dimensions!r}, expected a number of dimensions"
    return None

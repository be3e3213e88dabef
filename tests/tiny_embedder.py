"""An embedder's folder of a few hundred bytes: the vectors of a text's known words, summed up."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tests.tiny_folder import word_tokenizer, write_model_folder
from tests.tiny_onnx import FLOAT, INPUTS, INT64, network, node, tensor, value

LONGEST = 8
WORDS: Mapping[str, tuple[float, float, float]] = {
    "[UNK]": (0.0, 0.0, 0.0),
    "[CLS]": (0.0, 0.0, 0.0),
    "[SEP]": (0.0, 0.0, 0.0),
    "whale": (1.0, 0.0, 0.0),
    "fish": (0.75, 0.5, 0.0),
    "harbour": (0.0, 1.0, 0.25),
}
"""The vector that each word adds."""


def write_tiny_embedder(folder: Path, *, contents: Mapping[str, bytes] | None = None, **card_fields: object) -> Path:
    """Write a model folder and return it.

    Args:
        folder: created where missing.
        contents: what stands in for `model.onnx` or `tokenizer.json`; the card fits them.
        card_fields: fields of the card that replace the right ones.
    """
    made = {"model.onnx": _network(), "tokenizer.json": word_tokenizer(WORDS, longest=4)}
    card = {"version": "tiny-embedder-1", "dimensions": 3, "longest": LONGEST}
    return write_model_folder(folder, {**made, **(contents or {})}, {**card, **card_fields})


def _network() -> bytes:
    nodes = [
        node("Gather", ["words", "input_ids"], "by_token"),
        node("ReduceSum", ["by_token", "axis"], "vector", keepdims=0),
    ]
    tables = [
        tensor("words", np.array(list(WORDS.values()), dtype=np.float32), FLOAT),
        tensor("axis", np.array([1], dtype=np.int64), INT64),
    ]
    return network(nodes, tables, INPUTS, value("vector", FLOAT, ["rows", 3]))

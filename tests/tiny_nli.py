"""A model folder of a few hundred bytes, for tests of what loads one: a table of logits by word, summed up."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tests.tiny_folder import word_tokenizer, write_model_folder
from tests.tiny_onnx import FLOAT, INPUTS, INT64, network, node, tensor, value

TEMPERATURE = 2.0
LONGEST = 12
WORDS: Mapping[str, tuple[float, float, float]] = {
    "[UNK]": (0.0, 0.0, 0.0),
    "[CLS]": (0.1, 0.0, 0.0),
    "[SEP]": (0.0, 0.0, 0.0),
    "so": (4.0, 0.0, 0.0),
    "maybe": (0.0, 4.0, 0.0),
    "not": (0.0, 0.0, 4.0),
}
"""The logits (entailment, neutral, contradiction) that each word adds."""
SECOND_SIDE = (0.0, 0.0, 0.5)
"""What each token of the second sentence adds beside, its `[SEP]` included."""


def write_tiny_model(folder: Path, *, contents: Mapping[str, bytes] | None = None, **card_fields: object) -> Path:
    """Write a model folder and return it.

    Args:
        folder: created where missing.
        contents: what stands in for `model.onnx` or `tokenizer.json`; the card fits them.
        card_fields: fields of the card that replace the right ones.
    """
    made = {"model.onnx": _network(), "tokenizer.json": word_tokenizer(WORDS)}
    card = {"version": "tiny-1", "labels": ["e", "n", "c"], "longest": LONGEST, "temperature": TEMPERATURE}
    return write_model_folder(folder, {**made, **(contents or {})}, {**card, **card_fields})


def _network() -> bytes:
    nodes = [
        node("Gather", ["words", "input_ids"], "by_word"),
        node("Gather", ["sides", "token_type_ids"], "by_side"),
        node("Add", ["by_word", "by_side"], "by_token"),
        node("ReduceSum", ["by_token", "axis"], "logits", keepdims=0),
    ]
    tables = [
        tensor("words", np.array(list(WORDS.values()), dtype=np.float32), FLOAT),
        tensor("sides", np.array([(0.0, 0.0, 0.0), SECOND_SIDE], dtype=np.float32), FLOAT),
        tensor("axis", np.array([1], dtype=np.int64), INT64),
    ]
    return network(nodes, tables, INPUTS, value("logits", FLOAT, ["rows", 3]))

"""An embedder's folder of a few hundred bytes: the vectors of a text's known words, summed up."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing

from tests.tiny_onnx import FLOAT, INT64, network, node, tensor, value

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
    folder.mkdir(parents=True, exist_ok=True)
    written = {"model.onnx": _network(), "tokenizer.json": _tokenizer(), **(contents or {})}
    for name, content in written.items():
        (folder / name).write_bytes(content)
    card: dict[str, object] = {
        "version": "tiny-embedder-1",
        "dimensions": 3,
        "longest": LONGEST,
        "files": {name: hashlib.sha256(content).hexdigest() for name, content in written.items()},
    }
    (folder / "card.json").write_text(json.dumps({**card, **card_fields}), encoding="utf-8")
    return folder


def _tokenizer() -> bytes:
    made = Tokenizer(WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="[UNK]"))  # noqa: S106
    made.pre_tokenizer = Whitespace()
    places = [("[CLS]", list(WORDS).index("[CLS]")), ("[SEP]", list(WORDS).index("[SEP]"))]
    made.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", pair=None, special_tokens=places)
    made.enable_padding(length=64)  # what is stored in real files: the adapter must switch it off
    made.enable_truncation(4)  # the card's length counts
    return made.to_str().encode()


def _network() -> bytes:
    nodes = [
        node("Gather", ["words", "input_ids"], "by_token"),
        node("ReduceSum", ["by_token", "axis"], "vector", keepdims=0),
    ]
    tables = [
        tensor("words", np.array(list(WORDS.values()), dtype=np.float32), FLOAT),
        tensor("axis", np.array([1], dtype=np.int64), INT64),
    ]
    inputs = dict.fromkeys(("input_ids", "attention_mask", "token_type_ids"), ("rows", "length"))
    return network(nodes, tables, inputs, value("vector", FLOAT, ["rows", 3]))

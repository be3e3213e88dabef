"""A model folder of a few hundred bytes, for tests of what loads one: a table of logits by word, summed up.

ONNX files are protobuf messages. The few fields that are needed are written by hand, so that tests need no other
package than the one that runs the model. Field numbers: onnx/onnx.proto, version 3 of the format, operator set 17.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing

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

_FLOAT, _INT64 = 1, 7


def write_tiny_model(folder: Path, *, contents: Mapping[str, bytes] | None = None, **card_fields: object) -> Path:
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
        "version": "tiny-1",
        "labels": ["e", "n", "c"],
        "longest": LONGEST,
        "temperature": TEMPERATURE,
        "files": {name: hashlib.sha256(content).hexdigest() for name, content in written.items()},
    }
    (folder / "card.json").write_text(json.dumps({**card, **card_fields}), encoding="utf-8")
    return folder


def _tokenizer() -> bytes:
    made = Tokenizer(WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="[UNK]"))  # noqa: S106
    made.pre_tokenizer = Whitespace()
    places = [("[CLS]", list(WORDS).index("[CLS]")), ("[SEP]", list(WORDS).index("[SEP]"))]
    template = TemplateProcessing(single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=places)
    made.post_processor = template
    made.enable_padding(length=64)  # what is stored in real files: the adapter must switch it off
    return made.to_str().encode()


def _network() -> bytes:
    nodes = [
        _node("Gather", ["words", "input_ids"], "by_word"),
        _node("Gather", ["sides", "token_type_ids"], "by_side"),
        _node("Add", ["by_word", "by_side"], "by_token"),
        _node("ReduceSum", ["by_token", "axis"], "logits", keepdims=0),
    ]
    tables = [
        _tensor("words", np.array(list(WORDS.values()), dtype=np.float32), _FLOAT),
        _tensor("sides", np.array([(0.0, 0.0, 0.0), SECOND_SIDE], dtype=np.float32), _FLOAT),
        _tensor("axis", np.array([1], dtype=np.int64), _INT64),
    ]
    inputs = [_value(name, _INT64, ["rows", "length"]) for name in ("input_ids", "attention_mask", "token_type_ids")]
    graph = b"".join(
        [
            *(_part(1, node) for node in nodes),
            _part(2, b"tiny"),
            *(_part(5, table) for table in tables),
            *(_part(11, one) for one in inputs),
            _part(12, _value("logits", _FLOAT, ["rows", 3])),
        ]
    )
    return _number(1, 8) + _part(7, graph) + _part(8, _part(1, b"") + _number(2, 17))


def _node(kind: str, inputs: Sequence[str], output: str, **attributes: int) -> bytes:
    parts = [*(_part(1, name.encode()) for name in inputs), _part(2, output.encode()), _part(4, kind.encode())]
    for name, value in attributes.items():
        parts.append(_part(5, _part(1, name.encode()) + _number(3, value) + _number(20, 2)))
    return b"".join(parts)


def _tensor(name: str, values: np.ndarray[Any, Any], kind: int) -> bytes:
    sizes = b"".join(_number(1, size) for size in values.shape)
    return sizes + _number(2, kind) + _part(8, name.encode()) + _part(9, values.tobytes())


def _value(name: str, kind: int, sizes: Sequence[str | int]) -> bytes:
    places = (_number(1, size) if isinstance(size, int) else _part(2, size.encode()) for size in sizes)
    shape = b"".join(_part(1, place) for place in places)
    return _part(1, name.encode()) + _part(2, _part(1, _number(1, kind) + _part(2, shape)))


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _part(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)

"""ONNX files of a few hundred bytes, for tests of what loads and runs one.

ONNX files are protobuf messages. The few fields that are needed are written by hand, so that tests need no other
package than the one that runs the model. Field numbers: onnx/onnx.proto, version 3 of the format, operator set 17.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

FLOAT, INT64 = 1, 7
"""Kinds of tensors."""
INPUTS = dict.fromkeys(("input_ids", "attention_mask", "token_type_ids"), ("rows", "length"))
"""The inputs of a network that reads texts, with their shapes."""


def network(
    nodes: Sequence[bytes], tables: Sequence[bytes], inputs: Mapping[str, Sequence[str | int]], output: bytes
) -> bytes:
    """A model of whole-number inputs, each with its shape, and one output."""
    graph = b"".join(
        [
            *(_part(1, one) for one in nodes),
            _part(2, b"tiny"),
            *(_part(5, one) for one in tables),
            *(_part(11, value(name, INT64, sizes)) for name, sizes in inputs.items()),
            _part(12, output),
        ]
    )
    return _number(1, 8) + _part(7, graph) + _part(8, _part(1, b"") + _number(2, 17))


def node(kind: str, inputs: Sequence[str], output: str, **attributes: int) -> bytes:
    """One operator with its whole-number attributes."""
    parts = [*(_part(1, name.encode()) for name in inputs), _part(2, output.encode()), _part(4, kind.encode())]
    for name, value in attributes.items():
        parts.append(_part(5, _part(1, name.encode()) + _number(3, value) + _number(20, 2)))
    return b"".join(parts)


def tensor(name: str, values: np.ndarray[Any, Any], kind: int) -> bytes:
    """A table of constants."""
    sizes = b"".join(_number(1, size) for size in values.shape)
    return sizes + _number(2, kind) + _part(8, name.encode()) + _part(9, values.tobytes())


def value(name: str, kind: int, sizes: Sequence[str | int]) -> bytes:
    """An input or output: its kind and shape; a size that varies has a name."""
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

"""Rows as Arrow columns: values are gathered field by field as the rows come, so that no row is kept.

A column of which nobody gave a value is null. One that the rows share is repeated, unless a row has another value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from ledger.rows import SIZES, TABLES, Row, Shared, Table, length_of
from ledger.schema import FILE_SCHEMA


def columns_of(rows: Iterable[Row], shared: Shared) -> list[pa.Array]:
    """The columns of a file, in the order of the schema.

    Args:
        rows: the rows, each with its sizes.
        shared: what most of them share.
    """
    plain = _Plain(shared)
    tables = {name: _Elements() for name in TABLES}
    for row in rows:
        plain.add(row)
        for name, elements in tables.items():
            elements.add(row.tables.get(name))
    return [
        tables[column.name].array(column.type) if column.name in TABLES else plain.array(column.name, column.type)
        for column in FILE_SCHEMA
    ]


class _Plain:
    """The columns that are no lists of structs.

    Nearly all rows of a chunk have values of the same columns. Such rows, one after the other, are a block of tuples,
    and are turned into columns together.
    """

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._blocks: list[tuple[tuple[str, ...], list[tuple[Any, ...]]]] = []
        self._names: tuple[str, ...] = ()
        self._columns: list[dict[str, tuple[Any, ...]]] | None = None
        self._rows = 0

    def add(self, row: Row) -> None:
        own = row.columns
        if row.shared is not self._shared:  # null is said, or it would be taken for what is usual
            own = {**dict.fromkeys(self._shared.columns), **row.shared.columns, **own}
        names = tuple(own)
        if names != self._names or not self._blocks:
            self._names = names
            self._blocks.append((names, []))
        self._blocks[-1][1].append((*own.values(), row.payload_bytes, row.original_bytes))
        self._rows += 1

    def array(self, name: str, kind: pa.DataType) -> pa.Array:
        if self._columns is None:
            self._columns = [
                dict(zip((*names, *SIZES), zip(*values, strict=True), strict=True)) for names, values in self._blocks
            ]
        usual = self._shared.columns.get(name)
        if any(name in block for block in self._columns):
            values: list[Any] = []
            for block, (_, rows) in zip(self._columns, self._blocks, strict=True):
                values.extend(block.get(name) or [usual] * len(rows))
            return pa.array(map(_entries, values) if pa.types.is_map(kind) else values, type=kind)
        if usual is None or not self._rows:
            return pa.nulls(self._rows, kind)
        return pa.repeat(pa.scalar(_entries(usual), type=kind), self._rows)


def _entries(value: object) -> object:
    """A map as Arrow takes it."""
    return list(value.items()) if isinstance(value, Mapping) else value


@dataclass(slots=True)
class _Elements:
    """The elements of a list of structs, of all rows one after the other, and where each row's begin."""

    offsets: list[int | None] = field(default_factory=list)
    length: int = 0
    fields: dict[str, list[Any]] = field(default_factory=dict)
    names: tuple[str, ...] = ()
    extends: tuple[Callable[[Sequence[Any]], None], ...] = ()

    def add(self, table: Table | None) -> None:
        if table is None:
            self.offsets.append(None)
            return
        self.offsets.append(self.length)
        length = length_of(table)
        if not length:
            return
        names = tuple(table)
        if names != self.names:
            self._begin(names)
        for extend, values in zip(self.extends, table.values(), strict=True):
            extend(values)
        self.length += length

    def _begin(self, names: tuple[str, ...]) -> None:
        """From here on rows have these fields, which are null in the rows before where those had them not."""
        known = [self.fields.setdefault(name, []) for name in names]
        for values in known:
            values.extend([None] * (self.length - len(values)))
        self.names, self.extends = names, tuple(values.extend for values in known)

    def array(self, kind: pa.ListType) -> pa.Array:
        fields = list(kind.value_type)
        structs = pa.StructArray.from_arrays([self._child(child.name, child.type) for child in fields], fields=fields)
        # A null offset makes a null list; the end of the last one is no offset of a list.
        offsets = pa.array([*self.offsets, self.length], type=pa.int32())
        return pa.ListArray.from_arrays(offsets, structs, type=kind)

    def _child(self, name: str, kind: pa.DataType) -> pa.Array:
        values = self.fields.get(name)
        if values is None:
            return pa.nulls(self.length, kind)
        values.extend([None] * (self.length - len(values)))
        return pa.array(values, type=kind)

"""Rows as Arrow columns: values are gathered field by field as the rows come, so that no row is kept.

A column of which nobody gave a value is null. One that the rows share is repeated, unless a row has another value.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import pyarrow as pa

from ledger.rows import SIZES, TABLES, Row, Shared, Table, length_of
from ledger.schema import FILE_SCHEMA


def columns_of(rows: Iterable[Row], shared: Shared) -> list[pa.Array]:
    """The columns of a file, in the order of the schema.

    Args:
        rows: the rows, each with its sizes.
        shared: what most of them share.
    """
    columns = _Columns(shared)
    for row in rows:
        columns.add(row)
    return [columns.array(column.name, column.type) for column in FILE_SCHEMA]


class _Values:
    """Lists of values by name, of one length. What a name was not given is filled in when that is needed."""

    def __init__(self, usual: Mapping[str, Any]) -> None:
        self._usual = usual
        self._lists: defaultdict[str, list[Any]] = defaultdict(list)

    def add(self, name: str, values: Iterable[Any], *, at: int) -> None:
        """Add values, the first of them in the place `at`."""
        known = self._lists[name]
        if len(known) < at:
            known.extend([self._usual.get(name)] * (at - len(known)))
        known.extend(values)

    def array(self, name: str, kind: pa.DataType, length: int) -> pa.Array:
        """The values, as many as there are in all."""
        if name in self._lists:
            self.add(name, (), at=length)
            values = self._lists[name]
            return pa.array(map(_entries, values) if pa.types.is_map(kind) else values, type=kind)
        usual = self._usual.get(name)
        if usual is None or not length:
            return pa.nulls(length, kind)
        return pa.array([_entries(usual)], type=kind).take(pa.array([0] * length, type=pa.int32()))


def _entries(value: object) -> object:
    """A map as Arrow takes it."""
    return list(value.items()) if isinstance(value, Mapping) else value


_NONE: Final[Mapping[str, Any]] = {}


@dataclass(slots=True)
class _Elements:
    """The elements of a list of structs, of all rows one after the other, and where each row's begin."""

    offsets: list[int | None] = field(default_factory=list)
    length: int = 0
    values: _Values = field(default_factory=lambda: _Values(_NONE))

    def add(self, table: Table | None) -> None:
        if table is None:
            self.offsets.append(None)
            return
        self.offsets.append(self.length)
        for name, values in table.items():
            self.values.add(name, values, at=self.length)
        self.length += length_of(table)

    def array(self, kind: pa.ListType) -> pa.Array:
        fields = list(kind.value_type)
        children = [self.values.array(child.name, child.type, self.length) for child in fields]
        structs = pa.StructArray.from_arrays(children, fields=fields)
        # A null offset makes a null list; the end of the last one is no offset of a list.
        offsets = pa.array([*self.offsets, self.length], type=pa.int32())
        return pa.ListArray.from_arrays(offsets, structs, type=kind)


class _Columns:
    """All columns of the rows so far."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._plain = _Values(shared.columns)
        self._tables = {name: _Elements() for name in TABLES}
        self._rows = 0

    def add(self, row: Row) -> None:
        own = row.columns
        if row.shared is not self._shared:
            own = {**dict.fromkeys(self._shared.columns), **row.shared.columns, **own}
        for name, value in own.items():
            self._plain.add(name, (value,), at=self._rows)
        for name in SIZES:
            self._plain.add(name, (row.get(name),), at=self._rows)
        for name, elements in self._tables.items():
            elements.add(row.tables.get(name))
        self._rows += 1

    def array(self, name: str, kind: pa.DataType) -> pa.Array:
        if name in self._tables:
            return self._tables[name].array(kind)
        return self._plain.array(name, kind, self._rows)

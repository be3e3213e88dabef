"""The rows of one person without their content: what was asked, read and said goes; ids, scores and decisions stay.

What goes: `query_text`, `error`, `evaluations.explanation`, `documents.content`, the sentences, values and names of
`conflicts`, and `extra_json` but for its `pipeline`. What stays is the audit: which passages by id and digest, with
what scores, in what order, who contradicted whom and where, what was decided and why. `forgotten_at` marks the row.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from ledger.conform import nulls_of, relist

PERSON_COLUMNS: Final = ("user_hash", "session_hash")
"""The columns that say whose a row is."""

SCAN_COLUMNS: Final = (*PERSON_COLUMNS, "recorded_at", "forgotten_at")
"""What must be read of a row to know whether it is to be forgotten."""

_MARK: Final = "forgotten_at"
_PLAIN: Final = ("query_text", "error")
_NESTED: Final = {
    "documents": ("content",),
    "conflicts": (
        "name",
        "left_sentence",
        "left_value",
        "right_sentence",
        "right_value",
    ),
    "evaluations": ("explanation",),
}
_KEPT_EXTRAS: Final = frozenset({"pipeline"})


def to_forget(table: pa.Table, forgotten: Mapping[str, str]) -> pa.ChunkedArray:
    """Which rows are to lose their content: one flag a row.

    A row is where its user or its session is one of the forgotten, it was recorded by the time of that, and it is not
    marked yet. Someone who comes back later is recorded as anybody.

    Args:
        table: rows with `SCAN_COLUMNS`; files older than the mark have no column of it.
        forgotten: by keyed hash, the time, as a checkpoint has it.
    """
    return pc.fill_null(pc.and_(_due(table, forgotten), _unmarked(table)), False)  # noqa: FBT003 - as PyArrow has it


def scrub(table: pa.Table, forgotten: Mapping[str, str]) -> tuple[pa.Table, int]:
    """Take the content out of the rows that are to be forgotten.

    Args:
        table: rows of the current schema.
        forgotten: by keyed hash, the time, as a checkpoint has it.

    Returns:
        The table, and how many rows were changed. The same rows a second time change nothing.
    """
    if not forgotten or not len(table):
        return table, 0
    found = to_forget(table, forgotten)
    count = int(pc.sum(found).as_py() or 0)
    if count == 0:
        return table, 0
    mask = _whole(found)
    changed: dict[str, pa.Array] = {name: _emptied(_whole(table.column(name)), mask) for name in _PLAIN}
    for name, fields in _NESTED.items():
        changed[name] = _emptied_inside(_whole(table.column(name)), mask, fields)
    changed["extra_json"] = _kept_extras(_whole(table.column("extra_json")), mask)
    changed[_MARK] = pc.if_else(mask, _whole(_times(table, forgotten)), _whole(table.column(_MARK)))
    arrays = [changed.get(name, table.column(name)) for name in table.column_names]
    return pa.Table.from_arrays(arrays, schema=table.schema), count


def _due(table: pa.Table, forgotten: Mapping[str, str]) -> pa.ChunkedArray:
    return pc.less_equal(table.column("recorded_at"), _times(table, forgotten))


def _times(table: pa.Table, forgotten: Mapping[str, str]) -> pa.ChunkedArray:
    """When each row's person was forgotten; null for all others."""
    kind = table.schema.field("recorded_at").type
    hashes = pa.array(list(forgotten), type=pa.string())
    moments = [datetime.fromisoformat(moment).astimezone(UTC) for moment in forgotten.values()]
    times = pa.array(moments, type=kind).cast(pa.int64())  # PyArrow has no maximum of times with a zone
    of_column = [times.take(_whole(pc.index_in(table.column(name), value_set=hashes))) for name in PERSON_COLUMNS]
    return pa.chunked_array([pc.max_element_wise(*of_column).cast(kind)])


def _unmarked(table: pa.Table) -> pa.ChunkedArray:
    if _MARK in table.column_names:
        return table.column(_MARK).is_null()
    return pa.chunked_array([pa.repeat(True, len(table))])  # noqa: FBT003 - as PyArrow has it


def _whole(column: pa.ChunkedArray) -> pa.Array:
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], type=column.type)


def _emptied(array: pa.Array, mask: pa.Array, *, nullable: bool = True) -> pa.Array:
    return pc.if_else(mask, pa.scalar(None if nullable else "", type=array.type), array)


def _emptied_inside(array: pa.ListArray, mask: pa.Array, names: tuple[str, ...]) -> pa.ListArray:
    structs, kind = array.flatten(), array.type
    of_row = mask.take(pc.list_parent_indices(array))
    fields = list(kind.value_type)
    children = [
        _emptied(structs.field(field.name), of_row, nullable=field.nullable)
        if field.name in names
        else structs.field(field.name)
        for field in fields
    ]
    return relist(array, pa.StructArray.from_arrays(children, fields=fields, mask=nulls_of(structs)), kind)


def _kept_extras(array: pa.Array, mask: pa.Array) -> pa.Array:
    def kept(text: str | None) -> str | None:
        extras = {name: value for name, value in _extras(text).items() if name in _KEPT_EXTRAS}
        return orjson.dumps(extras, option=orjson.OPT_SORT_KEYS).decode() if extras else None

    rows = zip(array.to_pylist(), mask.to_pylist(), strict=True)
    return pa.array([kept(text) if masked else text for text, masked in rows], type=array.type)


def _extras(text: str | None) -> dict[str, object]:
    try:
        found = orjson.loads(text or "{}")
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}

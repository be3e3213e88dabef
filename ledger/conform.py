"""Rows of an older version of the schema as rows of the current one: what was added since is null."""

from __future__ import annotations

import pyarrow as pa

from core.errors import StoreError
from ledger.schema import FILE_SCHEMA


def conform(table: pa.Table, *, schema: pa.Schema = FILE_SCHEMA) -> pa.Table:
    """Give a table the columns of a schema, nested fields included, in its order.

    Columns that the schema does not know are left out: check the object's version before.

    Args:
        table: rows as they were read.
        schema: what they shall look like.

    Raises:
        StoreError: a column that every row fills is missing, or holds something else.
    """
    try:
        columns = [_column(table, field) for field in schema]
        return pa.Table.from_arrays(columns, schema=schema)
    except pa.ArrowException as error:
        raise StoreError(f"rows do not fit the schema: {error}") from None


def _column(table: pa.Table, field: pa.Field) -> pa.ChunkedArray:
    if field.name not in table.column_names:
        return pa.chunked_array([_nothing(field, len(table))])
    chunks = table.column(field.name).chunks
    return pa.chunked_array([_conformed(chunk, field.type) for chunk in chunks], type=field.type)


def _nothing(field: pa.Field, length: int) -> pa.Array:
    if not field.nullable and length:
        raise StoreError(f"rows do not fit the schema: column {field.name!r} is missing, and every row fills it")
    return pa.nulls(length, field.type)


def _conformed(array: pa.Array, kind: pa.DataType) -> pa.Array:
    if array.type.equals(kind):
        return array
    if pa.types.is_struct(kind) and pa.types.is_struct(array.type):
        known = {array.type.field(place).name for place in range(array.type.num_fields)}
        children = [
            _conformed(array.field(field.name), field.type) if field.name in known else _nothing(field, len(array))
            for field in kind
        ]
        return pa.StructArray.from_arrays(children, fields=list(kind), mask=nulls_of(array))
    if pa.types.is_list(kind) and pa.types.is_list(array.type):
        return relist(array, _conformed(array.flatten(), kind.value_type), kind)
    return array.cast(kind)


def nulls_of(array: pa.Array) -> pa.Array | None:
    """Which values are null; `None` where none is."""
    return array.is_null() if array.null_count else None


def relist(array: pa.ListArray, values: pa.Array, kind: pa.DataType) -> pa.ListArray:
    """Lists of the same lengths as those of `array`, with other values, flat as `array.flatten()` gives them."""
    lengths = array.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
    offsets = pa.array([0, *lengths.cumsum().tolist()], type=pa.int32())
    return pa.ListArray.from_arrays(offsets, values, type=kind, mask=nulls_of(array))

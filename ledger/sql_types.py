"""Arrow's types as DuckDB names them.

DuckDB knows them too, from an Arrow table; but to look at one it imports `pyarrow.dataset`, and with it pandas, which
takes as long as a summary of a million traces.
"""

from __future__ import annotations

from typing import Final

import pyarrow as pa

_PLAIN: Final = {
    pa.string(): "varchar",
    pa.int32(): "integer",
    pa.int64(): "bigint",
    pa.float64(): "double",
    pa.bool_(): "boolean",
    pa.date32(): "date",
    pa.timestamp("us", tz="UTC"): "timestamptz",
}


def sql_columns(schema: pa.Schema) -> str:
    """The columns of a table with this schema, as CREATE TABLE takes them."""
    return ", ".join(f"{field.name} {sql_type(field.type)}" for field in schema)


def sql_type(kind: pa.DataType) -> str:
    """The type's name. Raises KeyError for one that the ledger's schema does not use."""
    if pa.types.is_map(kind):
        return f"map({sql_type(kind.key_type)}, {sql_type(kind.item_type)})"
    if pa.types.is_list(kind):
        return f"{sql_type(kind.value_type)}[]"
    if pa.types.is_struct(kind):
        return f"struct({', '.join(f'{child.name} {sql_type(child.type)}' for child in kind)})"
    return _PLAIN[kind]

"""The columns of the ledger as a Markdown table, for docs/ledger.md: `python -m ledger.column_table` prints it."""

from __future__ import annotations

import sys

import pyarrow as pa

from ledger.schema import all_fields, is_table


def columns_table() -> str:
    """One row a column or a field of a struct: its type, whether a row of level min has it, and what it holds."""
    lines = ["| column | type | kept at min | what it holds |", "|---|---|---|---|"]
    for name, field in all_fields():
        kind = _words(field.type) + (", or null" if field.nullable else "")
        kept = "" if b"kept" in field.metadata else "yes"
        lines.append(f"| `{name}` | {kind} | {kept} | {field.metadata[b'description'].decode()} |")
    return "\n".join(lines) + "\n"


def _words(kind: pa.DataType) -> str:
    if is_table(kind):
        return "list of structs"
    if pa.types.is_list(kind):
        return f"list of {kind.value_type}"
    if pa.types.is_map(kind):
        return f"map of {kind.key_type} to {kind.item_type}"
    return "timestamp, UTC" if pa.types.is_timestamp(kind) else str(kind)


if __name__ == "__main__":
    sys.stdout.write(columns_table())

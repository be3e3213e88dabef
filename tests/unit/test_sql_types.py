"""The types of the ledger's columns, as DuckDB itself reads them from Arrow."""

from __future__ import annotations

from contextlib import closing

import duckdb

from ledger.schema import FILE_SCHEMA
from ledger.sql_types import sql_columns


def test_columns_are_what_duckdb_makes_of_the_schema() -> None:
    """A table made by name of types has the columns of one made of an Arrow table."""
    with closing(duckdb.connect()) as connection:
        connection.register("given", FILE_SCHEMA.empty_table())
        connection.execute("create table expected as from given")
        connection.execute(f"create table ours ({sql_columns(FILE_SCHEMA)})")
        expected, ours = (connection.execute(f"describe {name}").fetchall() for name in ("expected", "ours"))
    assert [column[:2] for column in ours] == [column[:2] for column in expected]

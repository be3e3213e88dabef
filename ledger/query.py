"""Questions to the ledger: a user's SQL, and one trace by its id."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import date, time
from decimal import Decimal

import duckdb

from core.errors import InputError
from ledger.sandbox import check_statement, explained, interrupted_after, shut_off
from ledger.views import connect, connect_to, narrowed, read_catalog

_SHOWN_CANDIDATES = 5

_MATCHES = """
select case when trace_id = $1 then 0 when query_id = $1 then 1 else 2 end as match, trace_id, query_id, batch_id
from traces
where trace_id = $1 or query_id = $1 or (starts_with(trace_id, $1) and $1 <> '')
order by match, batch_id, query_id, trace_id
limit $2
"""
_NEAREST = """
select 0, trace_id, query_id, batch_id
from traces
order by jaro_winkler_similarity(query_id, $1) desc, batch_id, query_id
limit $2
"""


@dataclass(frozen=True, slots=True)
class QueryTable:
    """What a query returned, in values that JSON holds: times as ISO 8601, structs as dicts, decimals as numbers.

    Attributes:
        columns: names of the columns, each once: a second `n` is `n_1`.
        rows: the rows, as many values each as there are columns.
        truncated: whether there were more rows than were asked for.
        missing: keys of committed objects that are not there, whose rows are missing in the answer.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[object, ...], ...]
    truncated: bool = False
    missing: tuple[str, ...] = ()

    def records(self) -> list[dict[str, object]]:
        """The rows as dicts."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]


def run_query(
    uri: str,
    sql: str,
    *,
    timeout_s: float = 30.0,
    memory_limit: str = "2GB",
    max_rows: int = 100_000,
    uncommitted: bool = False,
    since: date | None = None,
) -> QueryTable:
    """Run a user's SQL over the views and macros of the ledger.

    Args:
        uri: where the ledger is: `s3://bucket/prefix`, or a local folder.
        sql: one SELECT statement; also WITH, VALUES, DESCRIBE, SUMMARIZE, SHOW TABLES.
        timeout_s: seconds that it may run.
        memory_limit: memory that it may take, as `2GB`.
        max_rows: rows to return at most.
        uncommitted: whether rows without a manifest are shown too.
        since: the first day to look at; objects of earlier days are not opened.

    Raises:
        InputError: the SQL is wrong, is no SELECT, reaches for something else, or needs too much.
        StoreError: the ledger cannot be read.
    """
    catalog = narrowed(read_catalog(uri), uncommitted=uncommitted, since=since)
    with closing(connect_to(uri, catalog, memory_limit=memory_limit)) as connection:
        check_statement(connection, sql)
        shut_off(connection, uri)
        with explained(uri), interrupted_after(connection, timeout_s):
            connection.execute(sql)
            names = [column[0] for column in connection.description]
            rows = connection.fetchmany(max_rows + 1)
    return QueryTable(
        _distinct(names),
        tuple(tuple(plain(value) for value in row) for row in rows[:max_rows]),
        truncated=len(rows) > max_rows,
        missing=catalog.missing,
    )


def find_trace(uri: str, wanted: str) -> dict[str, object]:
    """Return one trace with all its columns, in values that JSON holds.

    Args:
        uri: where the ledger is.
        wanted: a trace id, the beginning of one, or a query id. A whole id of either kind goes before a beginning.

    Raises:
        InputError: there is no such trace, or more than one; the message lists up to five.
        StoreError: the ledger cannot be read.
    """
    with closing(connect(uri)) as connection, explained(uri):
        matches = connection.execute(_MATCHES, [wanted, _SHOWN_CANDIDATES + 1]).fetchall()
        best = [match for match in matches if match[0] == matches[0][0]]
        if len(best) != 1:
            raise InputError(_none_or_many(connection, wanted, best))
        connection.execute("select * from traces where trace_id = ?", [best[0][1]])
        names = [column[0] for column in connection.description]
        row = connection.fetchall()[0]
    return {name: plain(value) for name, value in zip(names, row, strict=True)}


def _none_or_many(connection: duckdb.DuckDBPyConnection, wanted: str, matches: Sequence[tuple[object, ...]]) -> str:
    shown = matches[:_SHOWN_CANDIDATES] or connection.execute(_NEAREST, [wanted, _SHOWN_CANDIDATES]).fetchall()
    listed = "; ".join(f"{trace} (query {query}, batch {batch})" for _, trace, query, batch in shown)
    if matches:
        return f"{wanted!r} is the beginning of, or the query of, more than one trace: {listed}"
    return f"no trace or query {wanted!r} in the ledger" + (
        f"; the nearest: {listed}" if listed else ", which is empty"
    )


def _distinct(names: Sequence[str]) -> tuple[str, ...]:
    taken: set[str] = set()
    distinct = []
    for name in names:
        number, free = 0, name
        while free in taken:
            number += 1
            free = f"{name}_{number}"
        taken.add(free)
        distinct.append(free)
    return tuple(distinct)


def plain(value: object) -> object:
    """The value as JSON holds it: times as ISO 8601, structs as dicts, decimals as numbers."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else None
        case Decimal():
            return int(value) if value == value.to_integral_value() else float(value)
        case date() | time():
            return value.isoformat()
        case bytes():
            return value.hex()
        case list() | tuple():
            return [plain(item) for item in value]
        case dict():
            return {str(key): plain(item) for key, item in value.items()}
        case _:
            return str(value)

"""The rows that a replay reads."""

from __future__ import annotations

from contextlib import closing
from typing import Any

from core.errors import InputError
from ledger.sandbox import explained
from ledger.views import connect

_NEWEST = """
select trace_id from traces
where $1 is null or batch_id = $1
order by recorded_at desc, trace_id
limit $2
"""
_ROWS = "select * from traces where trace_id in (select unnest($1)) order by batch_id, query_id, trace_id"


def newest_rows(uri: str, *, batch_id: str | None, limit: int) -> list[dict[str, Any]]:
    """The newest traces, with all their columns, by batch and query.

    Ids are found first: a sort over whole rows would hold every passage text in memory.

    Args:
        uri: the ledger.
        batch_id: of this batch only.
        limit: the most rows to return.

    Raises:
        InputError: there is no trace of that batch.
        StoreError: the ledger cannot be read.
    """
    with closing(connect(uri)) as connection, explained(uri):
        ids = [trace_id for (trace_id,) in connection.execute(_NEWEST, [batch_id, limit]).fetchall()]
        connection.execute(_ROWS, [ids])
        names = [column[0] for column in connection.description]
        rows = connection.fetchall()
    if not rows and batch_id is not None:
        raise InputError(f"no trace of batch {batch_id!r} in the ledger {uri}")
    return [dict(zip(names, row, strict=True)) for row in rows]

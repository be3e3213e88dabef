"""What the ledger has of the runs' queries: one row a batch, for the suite `ledger_integrity`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from ledger.catalog import load_catalog
from ledger.objects import open_store
from ledger.schema import FILE_SCHEMA, SCHEMA_VERSION
from ledger.views import connect

_NULLS: Final = " or ".join(f"{field.name} is null" for field in FILE_SCHEMA if not field.nullable)

_HELD: Final = f"""
select batch_id, count(*) as rows, count(*) filter (not known) as unexpected,
    count(*) filter ({_NULLS}) as null_values, count(*) filter (schema_version <> {SCHEMA_VERSION}) as other_schema,
    count(*) filter (payload_bytes > $most) as too_long
from (
    select *, trace_id in (select trace_id from expected) as known from traces
    where batch_id in (select batch_id from expected)
) group by batch_id
"""  # noqa: S608 - our own column names


class LedgerReader(Protocol):
    """Compares a ledger with the queries that runs answered: `ledger_columns`; a simulation has its own."""

    def __call__(
        self,
        uri: str,
        decisions: Sequence[Path],
        finished_at: Mapping[str, datetime],
        *,
        now: datetime,
        grace_s: float,
        max_trace_bytes: int,
    ) -> dict[str, Sequence[object]]:
        """See `ledger_columns`."""
        ...


def ledger_columns(
    uri: str,
    decisions: Sequence[Path],
    finished_at: Mapping[str, datetime],
    *,
    now: datetime,
    grace_s: float,
    max_trace_bytes: int,
) -> dict[str, Sequence[object]]:
    """Compare the ledger with the queries that the runs answered.

    Args:
        uri: where the ledger is.
        decisions: the runs' `decisions.parquet`.
        finished_at: when each batch ended.
        now: the time now.
        grace_s: how long after its end a batch's rows may be missing, in seconds.
        max_trace_bytes: the most bytes that a trace may have.

    Raises:
        StoreError: the ledger cannot be read.
    """
    tables = [pq.read_table(path, columns=["batch_id", "trace_id"], partitioning=None) for path in decisions]
    lost = len(load_catalog(open_store(uri)).missing)
    with connect(uri) as connection:
        connection.register("expected_rows", pa.concat_tables(tables))
        connection.execute("create temp table expected as from expected_rows")
        wanted = dict(connection.execute("select batch_id, count(*) from expected group by 1 order by 1").fetchall())
        held = {row[0]: row[1:] for row in connection.execute(_HELD, {"most": max_trace_bytes}).fetchall()}
    columns: dict[str, list[object]] = {"batch_id": [], "missing": [], "overdue": []}
    names = ("unexpected", "null_values", "other_schema", "too_long")
    columns |= {name: [] for name in (*names, "lost_objects")}
    for batch_id, queries in wanted.items():
        rows, *counts = held.get(batch_id, (0, 0, 0, 0, 0))
        missing = queries - (rows - counts[0])
        late = now - finished_at[batch_id] > timedelta(seconds=grace_s)
        for name, value in zip(columns, (batch_id, missing, missing if late else 0, *counts, lost), strict=True):
            columns[name].append(value)
    return dict(columns)

"""`decisions.parquet` of a finished run: one short row a query, for the gates of the rollout.

It says who answered and why, how long it took, and where labels are given how good each arm's selection was. It holds
no text and no plain id of a person. The ledger may be off; this is always written.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from core.evaluation import Outcome, QueryLabels, query_quality
from core.trace import Arm
from tasks.run_folder import ChunkFolder, read_rows
from tasks.run_spec import RunSpec

DECISION_SCHEMA: Final = pa.schema(
    [
        ("batch_id", pa.string()),
        ("phase", pa.string()),  # of the rollout when the run began; null without one, as the next three
        ("attempt", pa.int32()),
        ("step", pa.int32()),
        ("percentage", pa.float64()),
        ("started_at", pa.timestamp("us", tz="UTC")),
        ("finished_at", pa.timestamp("us", tz="UTC")),
        ("query_id", pa.string()),
        ("trace_id", pa.string()),
        ("decision", pa.string()),
        ("reason", pa.string()),
        ("guard_decision", pa.string()),
        ("guard_reason", pa.string()),
        ("shadow", pa.bool_()),
        ("bucket", pa.int16()),
        ("key_hash", pa.string()),
        ("latency_ms", pa.float64()),
        ("budget_ms", pa.float64()),
        ("deadline_hit", pa.bool_()),
        ("error", pa.string()),
        ("evidence", pa.int32()),
        ("redo_selected", pa.bool_()),  # whether REDO made a selection, served or not
        ("query_chars", pa.int32()),
        ("legacy_recall", pa.float64()),  # of correct passages; null without labels, as the next three
        ("redo_recall", pa.float64()),
        ("legacy_misinfo", pa.float64()),  # share of the selection that is misinformation
        ("redo_misinfo", pa.float64()),
    ]
)
"""The columns: a reader of many runs may rely on all of them, whatever a run had to say."""

_ROW_GROUP: Final = 50_000


def write_decision_table(
    path: Path,
    chunks: Iterable[ChunkFolder],
    spec: RunSpec,
    *,
    labels: Mapping[str, QueryLabels],
    finished_at: datetime,
) -> None:
    """Write the table. It appears whole or not at all, and memory holds 50,000 rows at a time.

    Args:
        path: where it goes.
        chunks: the chunks of the run, all done.
        spec: what the run is.
        labels: of each query, where given.
        finished_at: when the run ended.
    """
    rollout = spec.rollout or {}
    run = {
        "batch_id": spec.batch_id,
        **{name: rollout.get(name) for name in ("phase", "attempt", "step", "percentage")},
        "started_at": spec.started,
        "finished_at": finished_at,
        "budget_ms": spec.pipeline_config.budget_s * 1e3,
    }
    rows = _rows(chunks, labels)
    making = path.with_name(f".{path.name}-making")
    try:
        with pq.ParquetWriter(making, DECISION_SCHEMA, compression="zstd") as writer:
            while part := list(islice(rows, _ROW_GROUP)):
                writer.write_table(_table(part, run))
        making.replace(path)
    finally:
        making.unlink(missing_ok=True)


def _table(rows: list[dict[str, Any]], run: Mapping[str, object]) -> pa.Table:
    columns = [
        pa.array([run[field.name]] * len(rows) if field.name in run else [row[field.name] for row in rows], field.type)
        for field in DECISION_SCHEMA
    ]
    return pa.Table.from_arrays(columns, schema=DECISION_SCHEMA)


_KEPT: Final = (
    "query_id",
    "trace_id",
    "decision",
    "reason",
    "guard_decision",
    "guard_reason",
    "shadow",
    "bucket",
    "key_hash",
    "latency_ms",
    "deadline_hit",
    "error",
    "evidence",
)


def _rows(chunks: Iterable[ChunkFolder], labels: Mapping[str, QueryLabels]) -> Iterator[dict[str, Any]]:
    for chunk in chunks:
        for query, row in zip(read_rows(chunk.queries), read_rows(chunk.decisions), strict=True):
            known = labels.get(row["query_id"])
            yield {
                **{name: row[name] for name in _KEPT},
                "redo_selected": row["redo"] is not None,
                "query_chars": len(query["text"]),
                **_quality(row, Arm.LEGACY, known),
                **_quality(row, Arm.REDO, known),
            }


def _quality(row: Mapping[str, Any], arm: Arm, labels: QueryLabels | None) -> dict[str, float | None]:
    selected = row[arm.value]
    recall = misinfo = None
    if labels is not None and selected is not None:
        recall, misinfo = query_quality(Outcome(row["query_id"], tuple(selected)), labels)
    return {f"{arm.value}_recall": recall, f"{arm.value}_misinfo": misinfo}

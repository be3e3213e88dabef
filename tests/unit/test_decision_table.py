"""`decisions.parquet`: what the gates read of a finished run."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from core.evaluation import QueryLabels
from core.pipeline import PipelineConfig
from core.records import LabelKind
from tasks.decision_table import DECISION_SCHEMA, write_decision_table
from tasks.run_folder import RunFolder, write_rows
from tasks.run_spec import RunSpec

FINISHED_AT = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)
LABELS: dict[str, QueryLabels] = {
    "q-1": {"right": LabelKind.CORRECT, "wrong": LabelKind.MISINFO},
    "q-2": {"right": LabelKind.CORRECT},
}


def a_row(query_id: str, **change: Any) -> dict[str, Any]:
    """A row of `decisions.jsonl`: REDO answered with both passages, legacy with one."""
    return {
        "query_id": query_id,
        "trace_id": f"trace-of-{query_id}",
        "decision": "redo",
        "reason": "ENABLED",
        "guard_decision": "redo",
        "guard_reason": "ENABLED",
        "shadow": False,
        "bucket": 7,
        "key_hash": "hash",
        "latency_ms": 2.0,
        "deadline_hit": False,
        "error": None,
        "evidence": 2,
        "legacy": ["right"],
        "redo": ["right", "wrong"],
        "contradictions": [],
        "ambiguities": 0,
    } | change


def a_spec(rollout: dict[str, Any] | None) -> RunSpec:
    """A run with a budget of 250 ms."""
    return RunSpec(
        batch_id="batch-1",
        inputs={"queries": "1" * 64},
        index=None,
        config=asdict(PipelineConfig(budget_s=0.25)),
        versions={},
        flags={},
        shadow=False,
        ledger=None,
        chunk_size=2,
        chunks=1,
        queries=2,
        quarantined={},
        started_at="2026-03-01T08:00:00+00:00",
        code_version="0.1.0",
        rollout=rollout,
    )


def written(
    folder: RunFolder, rows: list[dict[str, Any]], *, rollout: dict[str, Any] | None = None
) -> list[dict[str, Any]]:
    """The rows of the table of a run of one chunk."""
    chunk = folder.chunk(0)
    write_rows(chunk.queries, ({"query_id": row["query_id"], "text": "How long?"} for row in rows))
    write_rows(chunk.decisions, rows)
    write_decision_table(folder.decisions, [chunk], a_spec(rollout), labels=LABELS, finished_at=FINISHED_AT)
    table = pq.read_table(folder.decisions)
    assert table.schema.equals(DECISION_SCHEMA)
    found: list[dict[str, Any]] = table.to_pylist()
    return found


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """An empty run folder."""
    return RunFolder(tmp_path)


def test_a_row_says_who_answered_when_and_how_well(folder: RunFolder) -> None:
    """With the run's place in the rollout, its budget and its times."""
    rollout = {"phase": "gradual", "attempt": 2, "step": 1, "percentage": 12.5}
    (row,) = written(folder, [a_row("q-1")], rollout=rollout)
    expected = rollout | {"batch_id": "batch-1", "budget_ms": 250.0, "finished_at": FINISHED_AT, "query_chars": 9}
    assert expected.items() <= row.items()
    assert row["started_at"] == datetime(2026, 3, 1, 8, 0, tzinfo=UTC)
    assert (row["legacy_recall"], row["redo_recall"]) == (1.0, 1.0)
    assert (row["legacy_misinfo"], row["redo_misinfo"]) == (0.0, 0.5)


def test_what_is_not_known_is_null(folder: RunFolder) -> None:
    """No rollout, no labels, no selection of an arm, no label that a measure needs."""
    none, alone, other = written(
        folder, [a_row("q-9"), a_row("q-1", redo=None), a_row("q-2", redo=["other"], legacy=None)]
    )
    assert [none[name] for name in ("phase", "attempt", "step", "percentage")] == [None] * 4
    assert [none[name] for name in ("legacy_recall", "redo_recall", "legacy_misinfo", "redo_misinfo")] == [None] * 4
    assert (alone["redo_selected"], alone["redo_recall"], alone["legacy_recall"]) == (False, None, 1.0)
    assert (other["redo_recall"], other["legacy_recall"], other["redo_misinfo"]) == (0.0, None, None)


def test_the_table_appears_whole_or_not_at_all(folder: RunFolder) -> None:
    """A chunk whose files do not fit together leaves none, and nothing half made."""
    chunk = folder.chunk(0)
    write_rows(chunk.queries, [{"query_id": "q-1", "text": "How long?"}])
    write_rows(chunk.decisions, [a_row("q-1"), a_row("q-2")])
    with pytest.raises(ValueError, match="argument"):
        write_decision_table(folder.decisions, [chunk], a_spec(None), labels={}, finished_at=FINISHED_AT)
    assert [path.name for path in folder.path.iterdir()] == ["chunks"]


def test_a_run_without_queries_has_a_table(folder: RunFolder) -> None:
    """It is empty, and has its columns."""
    assert written(folder, []) == []

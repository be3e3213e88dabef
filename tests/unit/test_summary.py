"""The end of a run: every query counted once, the quality measured only where labels are given."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from core.errors import BatchError
from core.pipeline import PipelineConfig
from ledger.objects import upload
from tasks.run_folder import RunFolder, read_json, write_json, write_rows
from tasks.run_spec import RunRequest, RunSpec
from tasks.summary import Summary, finish_run, percentiles
from tests.batch_samples import write_jsonl


def decision(query_id: str, **change: Any) -> dict[str, Any]:
    """A row of `decisions.jsonl`: REDO answered in 2 ms with two passages, one of them legacy's."""
    row = {
        "query_id": query_id,
        "trace_id": f"trace-of-{query_id}",
        "decision": "redo",
        "reason": "ENABLED",
        "guard_decision": "redo",
        "guard_reason": "ENABLED",
        "bucket": 7,
        "shadow": False,
        "key_hash": "hash-of-a-session",
        "latency_ms": 2.0,
        "deadline_hit": False,
        "error": None,
        "evidence": 2,
        "legacy": ["right"],
        "redo": ["right", "wrong"],
        "contradictions": [],
        "ambiguities": 0,
    }
    return row | change


CHUNKS = [
    [
        decision("q-1", contradictions=[("right", "wrong", "numeric"), ("right", "other", "date")], ambiguities=1),
        decision("q-2", redo=["other"], latency_ms=4.0),
    ],
    [
        decision(
            "q-3",
            decision="fallback",
            reason="ORCHESTRATOR_ERROR",
            error="ValueError: no",
            redo=None,
            deadline_hit=True,
            latency_ms=401.0,
        ),
        decision("q-4", decision="legacy", reason="NOT_IN_ROLLOUT", evidence=0, legacy=[], redo=None),
    ],
]


@pytest.fixture
def folder(redo_home: Path) -> RunFolder:
    """A batch of four queries in two chunks, all done; the ledger has the first chunk's."""
    folder = RunFolder.of(redo_home, "batch-1")
    RunSpec(
        batch_id="batch-1",
        inputs={"queries": "1" * 64},
        index=None,
        config=asdict(PipelineConfig(budget_s=0.25)),
        versions={},
        flags={},
        shadow=False,
        ledger="s3://bucket/ledger",
        chunk_size=2,
        chunks=2,
        queries=4,
        quarantined={"passage": 1, "query": 2},
        started_at="2026-03-01T08:00:00+00:00",
        code_version="0.1.0",
        rollout={"phase": "gradual", "attempt": 2, "step": 1, "percentage": 10},
    ).save(folder.spec)
    for number, rows in enumerate(CHUNKS):
        chunk = folder.chunk(number)
        write_rows(chunk.queries, ({"query_id": row["query_id"], "text": "How long is it?"} for row in rows))
        write_rows(chunk.decisions, rows)
        write_rows(chunk.output, ({"query_id": row["query_id"]} for row in rows))
    write_json(folder.chunk(0).stored, {"key": "k", "rows": 2, "created": True})
    return folder


NONE = {"refused": 0, "quarantined": 0}


def finish(folder: RunFolder, **asked: Any) -> Summary:
    """The end of a run that was asked for so."""
    return finish_run(folder, RunRequest(batch_id="batch-1", queries="queries.jsonl", **asked), resumed=1)


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    """`right` is right and `wrong` wrong about each of the first three questions."""
    rows = [
        {"query_id": query_id, "passage_id": passage_id, "label": label}
        for query_id in ("q-1", "q-2", "q-3")
        for passage_id, label in (("right", "correct"), ("wrong", "misinfo"))
    ]
    return write_jsonl(tmp_path / "labels.jsonl", rows)


def test_every_query_is_counted_once(folder: RunFolder) -> None:
    """By decision, by reason, by what was found and what went wrong."""
    summary = finish(folder)
    assert (summary.queries, summary.answered, summary.without_evidence, summary.deadline_hits) == (4, 4, 1, 1)
    assert summary.decisions == {"redo": 2, "legacy": 1, "fallback": 1}
    assert summary.reasons == {"ENABLED": 2, "ORCHESTRATOR_ERROR": 1, "NOT_IN_ROLLOUT": 1}
    assert summary.contradictions == {"date": 1, "numeric": 1}
    assert (summary.ambiguities, summary.disputed) == (1, ["trace-of-q-1"])
    assert summary.errors == {"ValueError: no": 1}
    assert summary.latency_ms == {"p50": 2.0, "p95": 401.0, "p99": 401.0}
    assert (summary.budget_ms, summary.resumed, summary.chunks) == (250.0, 1, 2)


def test_every_decision_is_named(folder: RunFolder) -> None:
    """Also one that nobody got: a reader need not know what is missing."""
    write_rows(folder.chunk(1).decisions, [decision("q-3"), decision("q-4")])
    assert finish(folder).decisions == {"redo": 4, "legacy": 0, "fallback": 0}


def test_the_output_is_put_together(folder: RunFolder, tmp_path: Path) -> None:
    """In the run's folder, or where it was asked for."""
    assert finish(folder).output == str(folder.output)
    assert folder.output.read_bytes() == b"".join(b'{"query_id":"q-%d"}\n' % number for number in range(1, 5))
    elsewhere = tmp_path / "elsewhere.jsonl"
    assert finish(folder, output=str(elsewhere)).output == str(elsewhere)
    assert elsewhere.read_bytes() == folder.output.read_bytes()


def test_the_ledger_says_what_is_lost(folder: RunFolder) -> None:
    """Traces that found no room are counted as refused, those that the ledger will never take as quarantined."""
    write_json(folder.chunk(1).done, {"queries": 2, "ledger_key": "k-1", "refused": "no room"})
    assert finish(folder).ledger == {"uri": "s3://bucket/ledger", "rows": 2, "pending": 0, **NONE, "error": None} | {
        "refused": 2
    }
    write_json(folder.chunk(1).done, {"queries": 2, "ledger_key": "k-1", "refused": None})
    for kind, quarantined in (("another_attempt", 0), ("other_content", 2)):
        note = {"name": kind, "kind": kind, "reason": "why", "rows": 2, "at": "2026-03-01T08:00:00+00:00"}
        where = {"ledger": "s3://bucket/ledger", "key": "k-1"}
        write_json(folder.path.parents[1] / "spool" / "quarantine" / f"{kind}.json", note | where)
        found = finish(folder).ledger
        assert found is not None
        assert (found["quarantined"], found["pending"]) == (quarantined, 2 - quarantined)


def test_the_ledger_says_what_is_pending(folder: RunFolder) -> None:
    """Rows that it acknowledged, rows that wait here, and why they do."""
    request = RunRequest(batch_id="batch-1", queries="queries.jsonl")
    summary = finish_run(folder, request, resumed=0, ledger_error="no bucket")
    assert summary.ledger == {"uri": "s3://bucket/ledger", "rows": 2, "pending": 2, **NONE, "error": "no bucket"}


def test_the_printed_object(folder: RunFolder) -> None:
    """What `--json` prints is what is kept; quarantined records are one number, and its parts beside it."""
    printed = finish(folder).as_dict()
    assert printed == read_json(folder.summary)
    assert printed["quarantined"] == 3
    assert printed["quarantined_by_kind"] == {"passage": 1, "query": 2}
    promised = {
        "batch_id",
        "queries",
        "answered",
        "quarantined",
        "decisions",
        "reasons",
        "latency_ms",
        "contradictions",
        "output",
        "ledger",
        "quality",
    }
    assert promised <= printed.keys()
    assert printed["quality"] is None


def values(arm: Any) -> dict[str, tuple[float | None, int]]:
    """Value and count of each measure."""
    return {name: (estimate["value"], estimate["n"]) for name, estimate in arm.items()}


def test_quality_of_both_arms(folder: RunFolder, labels: Path) -> None:
    """Each arm over the queries for which it made a selection and there are labels."""
    summary = finish(folder, labels=str(labels))
    assert summary.quality is not None
    assert set(summary.quality) == {"legacy", "redo"}
    assert values(summary.quality["legacy"]) == {
        "recall_correct": (1.0, 3),
        "misinfo_share": (0.0, 3),
        "conflict_precision": (None, 0),
        "conflict_recall": (0.0, 3),
    }
    assert values(summary.quality["redo"]) == {
        "recall_correct": (0.5, 2),
        "misinfo_share": (0.25, 2),
        "conflict_precision": (0.5, 2),
        "conflict_recall": (0.5, 2),
    }
    assert summary.as_dict() == read_json(folder.summary)


def test_an_arm_that_did_not_run_is_not_measured(folder: RunFolder, labels: Path) -> None:
    """Without a selection of REDO there is no quality of REDO."""
    for number in (0, 1):
        rows = [decision(f"q-{2 * number + place}", redo=None) for place in (1, 2)]
        write_rows(folder.chunk(number).decisions, rows)
    quality = finish(folder, labels=str(labels)).quality
    assert quality is not None
    assert set(quality) == {"legacy"}


def test_labels_that_cannot_be_used_are_counted(folder: RunFolder, labels: Path) -> None:
    """They go to a quarantine of their own; labels of other queries are no mistake."""
    more = b'{"query_id": "q-1", "passage_id": "x", "label": "maybe"}\n'
    more += b'{"query_id": "q-99", "passage_id": "x", "label": "noise"}\n'
    labels.write_bytes(labels.read_bytes() + more)
    summary = finish(folder, labels=str(labels))
    assert summary.quarantined == {"passage": 1, "query": 2, "label": 1}
    assert (folder.path / "quarantine-labels.jsonl").read_bytes().count(b"\n") == 1


def test_labels_without_one_that_can_be_used_cost_no_answer(folder: RunFolder, labels: Path) -> None:
    """The run says so in one error, and the output is there."""
    labels.write_bytes(b"no json\n")
    with pytest.raises(BatchError, match=r"no usable label in labels\.jsonl"):
        finish(folder, labels=str(labels))
    assert folder.output.exists()


def test_labels_in_s3(folder: RunFolder, labels: Path, s3_bucket: str) -> None:
    """They are read from there."""
    place = f"s3://{s3_bucket}/labels.jsonl"
    upload(labels, place)
    assert finish(folder, labels=place).quality == finish(folder, labels=str(labels)).quality


@pytest.mark.parametrize(
    ("sample", "expected"),
    [
        ([7.0], (7.0, 7.0, 7.0)),
        ([float(number) for number in range(1, 101)], (50.0, 95.0, 99.0)),
        ([3.0, 1.0, 2.0], (2.0, 3.0, 3.0)),
        ([0.123456], (0.123, 0.123, 0.123)),
    ],
)
def test_percentiles_are_values_that_occurred(sample: list[float], expected: tuple[float, ...]) -> None:
    """By the nearest rank, in any order, to a microsecond."""
    assert percentiles(sample) == dict(zip(("p50", "p95", "p99"), expected, strict=True))


def test_percentiles_of_nothing() -> None:
    """There are none."""
    assert percentiles([]) == {}

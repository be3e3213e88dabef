"""The end of a run: one output file, the numbers of the run, and the quality of both arms where labels are given."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from core.adapters.intake import read_labels
from core.adapters.quarantine import QuarantineFile
from core.clock import Clock
from core.evaluation import Outcome, QueryLabels, evaluate, labels_by_query
from core.model import Decision
from core.trace import Arm
from ledger.location import parse_location
from ledger.objects import download
from ledger.spool import SetAside
from tasks.decision_table import write_decision_table
from tasks.output_files import write_output
from tasks.run_folder import ChunkFolder, RunFolder, read_json, read_rows, write_json
from tasks.run_spec import RunRequest, RunSpec
from tasks.settings import load_settings
from tasks.wiring import CLOCK, trace_spool

_DISPUTED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What a run did, in numbers. `as_dict` is the object that `redo run --json` prints.

    Attributes:
        batch_id: names the batch.
        queries: how many queries the batch has.
        answered: how many of them have a record in the output.
        without_evidence: how many of those found nothing to select.
        quarantined: records that could not be used, by kind.
        decisions, reasons: how many queries each decision and each reason had.
        latency_ms: percentiles of the time that one query's work took, both arms together.
        budget_ms: the time that a query was given.
        deadline_hits: how many queries ran out of it.
        contradictions: how many were found, by kind.
        ambiguities: how many were found.
        disputed: ids of the first traces with a contradiction, to look at; a query id may be in many batches.
        errors: the most common errors that REDO fell back on, with their counts.
        output: where the output is.
        ledger: where the ledger is and how many rows it has of this batch. `pending` rows wait in the spool, and
            `error` says why; `refused` ones were lost, for want of room, and `quarantined` ones were set aside.
        quality: the measures of each arm that ran, where labels were given.
        resumed: how many chunks an earlier run had done.
        chunks: how many chunks there are.
        run_folder: where the run's files are.
        notes: what else the one who started the run should know, a sentence each.
    """

    batch_id: str
    queries: int
    answered: int
    without_evidence: int
    quarantined: Mapping[str, int]
    decisions: Mapping[str, int]
    reasons: Mapping[str, int]
    latency_ms: Mapping[str, float]
    budget_ms: float
    deadline_hits: int
    contradictions: Mapping[str, int]
    ambiguities: int
    disputed: Sequence[str]
    errors: Mapping[str, int]
    output: str
    ledger: Mapping[str, object] | None
    quality: Mapping[str, object] | None
    resumed: int
    chunks: int
    run_folder: str
    notes: Sequence[str] = ()

    def as_dict(self) -> dict[str, Any]:
        """The summary as JSON values; `quarantined` is the total, `quarantined_by_kind` its parts."""
        record = asdict(self)
        record["notes"] = list(self.notes)
        record["quarantined_by_kind"] = dict(self.quarantined)
        record["quarantined"] = sum(self.quarantined.values())
        return record


def finish_run(
    folder: RunFolder, request: RunRequest, *, resumed: int, ledger_error: str | None = None, clock: Clock = CLOCK
) -> Summary:
    """Put the output together, count, and write the rows that the gates read. Labels are read here and nowhere else.

    Args:
        folder: the batch's folder.
        request: says where the output goes, and where the labels are.
        resumed: how many chunks an earlier run had done.
        ledger_error: why the ledger did not take all traces of this run.
        clock: says when the run ended.

    Raises:
        BatchError: the labels file cannot be used.
        StoreError: the output's place did not take it.
    """
    spec = RunSpec.load(folder.spec)
    chunks = [folder.chunk(number) for number in range(spec.chunks)]
    output = write_output((chunk.output for chunk in chunks), request.output or str(folder.output))
    count = _Count()
    for chunk in chunks:
        for row in read_rows(chunk.decisions):
            count.add(row)
    quarantined = dict(spec.quarantined)
    quality, labels = None, dict[str, QueryLabels]()
    if request.labels is not None:
        labels, quarantined["label"] = _labels(request.labels, folder)
        quality = _quality(labels, chunks)
    write_decision_table(folder.decisions, chunks, spec, labels=labels, finished_at=clock.utc_now())
    summary = Summary(
        batch_id=spec.batch_id,
        queries=spec.queries,
        answered=count.answered,
        without_evidence=count.without_evidence,
        quarantined=quarantined,
        decisions={decision.value: count.decisions[decision.value] for decision in Decision},
        reasons=dict(count.reasons.most_common()),
        latency_ms=percentiles(count.latencies_ms),
        budget_ms=spec.pipeline_config.budget_s * 1e3,
        deadline_hits=count.deadline_hits,
        contradictions=dict(sorted(count.contradictions.items())),
        ambiguities=count.ambiguities,
        disputed=count.disputed,
        errors=dict(count.errors.most_common(5)),
        output=output,
        ledger=None if spec.ledger is None else _ledger(spec, folder, ledger_error),
        quality=quality,
        resumed=resumed,
        chunks=spec.chunks,
        run_folder=str(folder.path),
        notes=notes_of(spec, request),
    )
    write_json(folder.summary, summary.as_dict())
    return summary


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """The 50th, 95th and 99th percentile by the nearest rank: each is a value that occurred."""
    if not values:
        return {}
    found = np.quantile(values, (0.5, 0.95, 0.99), method="inverted_cdf")
    return {name: round(float(value), 3) for name, value in zip(("p50", "p95", "p99"), found, strict=True)}


def notes_of(spec: RunSpec, request: RunRequest) -> tuple[str, ...]:
    """What the one who started the run should know before it is over, a sentence each."""
    if request.ledger is None or spec.ledger is not None:
        return ()
    how = "--shadow or --flag ledger.enabled=true turns it on, unless LEDGER_LEVEL is off"
    return (f"--ledger {request.ledger} is not used: the ledger is off for this run; {how}",)


def _ledger(spec: RunSpec, folder: RunFolder, error: str | None) -> dict[str, object]:
    rows, refused, quarantined = 0, 0, 0
    aside = {
        (item.ledger, item.key)
        for item in trace_spool(load_settings()).quarantined()
        if item.kind is not SetAside.ANOTHER_ATTEMPT
    }
    for chunk in (folder.chunk(number) for number in range(spec.chunks)):
        if chunk.stored.exists():
            rows += read_json(chunk.stored)["rows"]
        elif chunk.done.exists():
            report = read_json(chunk.done)
            refused += report["queries"] if report["refused"] is not None else 0
            quarantined += report["queries"] if (spec.ledger, report["ledger_key"]) in aside else 0
    return {
        "uri": spec.ledger,
        "rows": rows,
        "pending": spec.queries - rows - refused - quarantined,
        "refused": refused,
        "quarantined": quarantined,
        "error": error,
    }


class _Count:
    """The decisions of all chunks, added up; what it keeps of a query is its latency."""

    def __init__(self) -> None:
        self.answered = self.without_evidence = self.deadline_hits = self.ambiguities = 0
        self.decisions: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()
        self.contradictions: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self.latencies_ms: list[float] = []
        self.disputed: list[str] = []

    def add(self, row: Mapping[str, Any]) -> None:
        """Count one query."""
        self.answered += 1
        self.without_evidence += row["evidence"] == 0
        self.deadline_hits += row["deadline_hit"]
        self.ambiguities += row["ambiguities"]
        self.decisions[row["decision"]] += 1
        self.reasons[row["reason"]] += 1
        self.contradictions.update(kind for _, _, kind in row["contradictions"])
        self.latencies_ms.append(row["latency_ms"])
        if row["contradictions"] and len(self.disputed) < _DISPUTED:
            self.disputed.append(row["trace_id"])
        if row["error"] is not None:
            self.errors[row["error"]] += 1


def _labels(place: str, folder: RunFolder) -> tuple[dict[str, QueryLabels], int]:
    """The labels by query, and how many could not be used."""
    path = parse_location(place)
    if not isinstance(path, Path):
        path = folder.input("labels", place)
        download(place, path)
    with QuarantineFile(folder.path / "quarantine-labels.jsonl") as quarantine:
        labels = labels_by_query(read_labels(path, quarantine=quarantine, name=Path(place).name))
    return dict(labels), quarantine.count


def _quality(labels: Mapping[str, QueryLabels], chunks: Sequence[ChunkFolder]) -> dict[str, object]:
    """The measures of each arm that ran."""
    quality: dict[str, object] = {}
    for arm in (Arm.LEGACY, Arm.REDO):
        outcomes = list(_outcomes(chunks, arm, labels))
        if outcomes:
            quality[arm.value] = asdict(evaluate(outcomes, labels))
    return quality


def _outcomes(chunks: Sequence[ChunkFolder], arm: Arm, labels: Mapping[str, object]) -> Iterator[Outcome]:
    for chunk in chunks:
        for row in read_rows(chunk.decisions):
            if row["query_id"] in labels and row[arm.value] is not None:
                flagged = [(left, right) for left, right, _ in row["contradictions"]] if arm is Arm.REDO else []
                yield Outcome(row["query_id"], tuple(row[arm.value]), tuple(flagged))

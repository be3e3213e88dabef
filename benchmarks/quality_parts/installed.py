"""Part F: what `redo demo` measures: questions about the installed packages, from their own documentation."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.quality_parts import metrics
from benchmarks.quality_parts.arms import FULL, READING
from benchmarks.quality_parts.tables import Cell, Table
from core.adapters.bm25 import Bm25Retriever, ensure_index, index_key
from core.clock import SystemClock
from core.contradictions.entailment_stage import EntailmentModel
from core.contradictions.slots.reader import shipped_reader
from core.evaluation import ArmQuality, Estimate, Outcome, evaluate, labels_by_query
from core.model import Contradiction, Decision, FallbackDecision, Query, Reason
from core.ordering import SupportOrderer
from core.pipeline import Pipeline, PipelineConfig
from core.records import Label, LabelKind, parse_label, parse_passage, parse_query
from core.trace import QueryResult
from examples.installed_docs import main as build

_SHADOW = FallbackDecision(Decision.LEGACY, Reason.SHADOW, shadow=True)
_COLUMNS = (
    "correct passage first",
    "correct passages selected",
    "misinformation in the selection",
    "flagged",
    "of these true",
    "found of the true",
)
_CHUNK = 50


@dataclass(frozen=True)
class Answered:
    """A query with both selections' ids and what was flagged."""

    query: Query
    legacy: tuple[str, ...]
    redo: tuple[str, ...]
    contradictions: tuple[Contradiction, ...]
    latency_ms: float
    complete: bool

    def outcome(self, ids: Sequence[str], stages: Sequence[str]) -> Outcome:
        """The outcome with the contradictions of these stages."""
        found = (one for one in self.contradictions if one.stage in stages)
        return Outcome(
            self.query.query_id, tuple(ids), tuple((one.left.passage_id, one.right.passage_id) for one in found)
        )


@dataclass(frozen=True)
class Demo:
    """The batch and its answers."""

    labels: tuple[Label, ...]
    answered: tuple[Answered, ...]
    passages: int
    texts: dict[str, str]


def run_demo(kept: Path, model: EntailmentModel | str, *, every: int) -> Demo:
    """Build the batch and run it in shadow, with the budgets that `redo demo` has.

    Args:
        kept: folder for the batch and its index.
        model: the entailment model; without one the entailment stage is left out.
        every: with 5, every fifth query is asked.
    """
    folder = kept / "installed-docs"
    with contextlib.redirect_stdout(io.StringIO()):
        if build([str(folder)]):
            raise SystemExit(f"the documentation of the installed packages could not be read into {folder}")
    queries = [parse_query(row) for row in _rows(folder / "queries.jsonl")][::every]
    passages = [parse_passage(row) for row in _rows(folder / "passages.jsonl")]
    index = ensure_index(kept, index_key(folder / "passages.jsonl"), lambda _: passages)
    known = None if isinstance(model, str) else model
    arm = READING if known is None else FULL
    pipeline = Pipeline(
        retriever=Bm25Retriever(index),
        detector=arm.detector(shipped_reader(), known),
        orderer=SupportOrderer(),
        config=PipelineConfig(),
        clock=SystemClock(),
    )
    answered: list[Answered] = []
    for start in range(0, len(queries), _CHUNK):
        chunk = queries[start : start + _CHUNK]
        answered += map(_answered, pipeline.run(chunk, [_SHADOW] * len(chunk)))
    labels = tuple(parse_label(row) for row in _rows(folder / "labels.jsonl"))
    return Demo(labels, tuple(answered), len(passages), {one.passage_id: one.text for one in passages})


def _rows(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _answered(result: QueryResult) -> Answered:
    trace = result.trace
    redo = trace.redo
    return Answered(
        query=result.query,
        legacy=result.selection.passage_ids if trace.legacy is None else trace.legacy.passage_ids,
        redo=() if redo is None else redo.passage_ids,
        contradictions=() if redo is None else redo.contradictions,
        latency_ms=trace.latency_ms,
        complete=redo is not None and all(stage.complete for stage in trace.stages),
    )


def installed_table(demo: Demo, model: EntailmentModel | str) -> Table:
    """The table of both arms; the detector's stages are told apart by who found what."""
    labels = labels_by_query(demo.labels)
    answered = demo.answered
    stages = {"rules": ("lexical",), "slots": ("slots",), "entailment": ("entailment",)}
    rows: list[tuple[str, tuple[Cell, ...]]] = [
        (
            "legacy",
            (
                _first([(one.query.query_id, one.legacy) for one in answered], labels),
                *_cells(evaluate([one.outcome(one.legacy, ()) for one in answered], labels), flags=False),
            ),
        ),
        (
            "REDO",
            (
                _first([(one.query.query_id, one.redo) for one in answered], labels),
                *_cells(
                    evaluate([one.outcome(one.redo, sum(stages.values(), ())) for one in answered], labels), flags=True
                ),
            ),
        ),
    ]
    for name, found_by in stages.items():
        quality = evaluate([one.outcome(one.redo, found_by) for one in answered], labels)
        rows.append((f"REDO, what the {name} flagged", ("", "", "", *_cells(quality, flags=True)[2:])))
    took = [one.latency_ms for one in answered]
    p50, p95, p99 = np.percentile(took, [50, 95, 99])
    notes = [
        (
            f"{len(answered):,} queries over {demo.passages:,} passages, as `redo demo` asks them: 20 retrieved, 1,024 "
            "tokens, 400 ms; labels by the rules of examples/installed_docs.py"
        ),
        (
            f"milliseconds a query, both arms: p50 {p50:.0f}, p95 {p95:.0f}, p99 {p99:.0f}; all stages in time for "
            f"{np.mean([one.complete for one in answered]):.1%}"
        ),
    ]
    if isinstance(model, str):
        notes.append(f"without the entailment stage: {model}")
    return Table("Installed docs (`redo demo`)", _COLUMNS, tuple(rows), tuple(notes))


def _first(selected: Sequence[tuple[str, Sequence[str]]], labels: Mapping[str, Mapping[str, LabelKind]]) -> Cell:
    """Share of the queries with a correct passage in whose selection a correct one comes first."""
    given = [(ids, labels.get(query_id, {})) for query_id, ids in selected]
    known = [(ids, of) for ids, of in given if LabelKind.CORRECT in of.values()]
    return metrics.mean_estimate([float(bool(ids) and of.get(ids[0]) is LabelKind.CORRECT) for ids, of in known])


def _cells(quality: ArmQuality, *, flags: bool) -> tuple[Cell, ...]:
    cells = [_cell(quality.recall_correct), _cell(quality.misinfo_share)]
    if flags:
        cells += [quality.conflict_precision.n, _cell(quality.conflict_precision), _cell(quality.conflict_recall)]
    return tuple(cells)


def _cell(value: Estimate) -> Cell:
    if value.value is None or value.low is None or value.high is None:
        return "none"
    return metrics.Estimate(value.value, value.low, value.high)

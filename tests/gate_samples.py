"""Finished runs of a rollout for the tests of the gates: as the pipeline leaves them, at the rates a test asks for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from core.flags import rollout_bucket
from core.pipeline import PipelineConfig
from core.rollout.gates import GateReport, GateResult
from core.rollout.plan import Phase, Step
from tasks.decision_table import DECISION_SCHEMA
from tasks.gates.frames import Scope
from tasks.gates.suites import Rule
from tasks.gates.validation import Outcome
from tasks.run_folder import RunFolder
from tasks.run_spec import RunSpec

ENTERED_AT = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)
NOW = ENTERED_AT + timedelta(hours=2)

SHADOW = Step(phase=Phase.INFRASTRUCTURE, percentage=0, shadow=True)
TEN = Step(phase=Phase.GRADUAL, percentage=10)
FULL = Step(phase=Phase.FULL, percentage=100)
NUMBERS = {SHADOW: 0, TEN: 1, FULL: 4}


def a_scope(step: Step = TEN, *, attempt: int = 1, number: int | None = None) -> Scope:
    """The step of the default plan, entered two hours ago."""
    return Scope(step=step, number=NUMBERS[step] if number is None else number, attempt=attempt, entered_at=ENTERED_AT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """What REDO and legacy do in a sample: shares of the queries, and times in milliseconds.

    `recall` and `misinfo` are means of both arms over labelled queries, as (legacy, redo).
    """

    failed: float = 0.0
    late: float = 0.0
    stopped: float = 0.0
    unranked: float = 0.0
    redo_ms: float = 30.0
    legacy_ms: float = 5.0
    slow: float = 0.0
    slow_ms: float = 390.0
    labelled: float = 0.0
    recall: tuple[float, float] = (0.6, 0.6)
    misinfo: tuple[float, float] = (0.3, 0.3)


HEALTHY = Behaviour()


def sample_rows(
    count: int,
    step: Step = TEN,
    behaviour: Behaviour = HEALTHY,
    *,
    seed: int = 1,
    keys: Sequence[str] | None = None,
    first: int = 0,
) -> list[dict[str, Any]]:
    """Rows of a run at a step; each query is its own key unless keys are given."""
    random = np.random.default_rng(seed)
    chances = random.random((count, 6))
    times = random.lognormal(0, 0.3, count)
    rows = []
    for place in range(count):
        key = keys[place % len(keys)] if keys else f"k-{first + place}"
        bucket = rollout_bucket(key)
        chosen = step.shadow or bucket <= step.percentage
        row = _row(first + place, key, bucket, behaviour.legacy_ms * times[place])
        if chosen:
            _redo(row, step, behaviour, chances[place], behaviour.redo_ms * times[place])
        if chances[place, 3] < behaviour.unranked:
            row |= {"decision": "fallback", "reason": "RETRIEVER_ERROR", "redo_selected": False, "error": "no index"}
        if chances[place, 4] < behaviour.labelled:
            _label(row, step, behaviour, random)
        rows.append(row)
    return rows


def _row(number: int, key: str, bucket: int, latency_ms: float) -> dict[str, Any]:
    return {
        "query_id": f"q-{number}",
        "trace_id": f"{number:032x}",
        "decision": "legacy",
        "reason": "NOT_IN_ROLLOUT",
        "guard_decision": "legacy",
        "guard_reason": "NOT_IN_ROLLOUT",
        "shadow": False,
        "bucket": bucket,
        "key_hash": f"hash-of-{key}",
        "latency_ms": latency_ms,
        "deadline_hit": False,
        "error": None,
        "evidence": 3,
        "redo_selected": False,
        "query_chars": 40,
        "legacy_recall": None,
        "redo_recall": None,
        "legacy_misinfo": None,
        "redo_misinfo": None,
    }


def _redo(row: dict[str, Any], step: Step, behaviour: Behaviour, chances: Any, latency_ms: float) -> None:
    guard = ("legacy", "SHADOW") if step.shadow else ("redo", "ENABLED")
    row |= {"guard_decision": guard[0], "guard_reason": guard[1], "decision": guard[0], "reason": guard[1]}
    row |= {"shadow": step.shadow, "redo_selected": True, "latency_ms": latency_ms}
    answer = "legacy" if step.shadow else "fallback"
    if chances[0] < behaviour.failed:
        reason = "SHADOW" if step.shadow else "ORCHESTRATOR_ERROR"
        row |= {"redo_selected": False, "error": "ValueError: no", "decision": answer, "reason": reason}
    elif chances[1] < behaviour.late:
        reason = "SHADOW" if step.shadow else "DEADLINE_EXCEEDED"
        row |= {"redo_selected": False, "deadline_hit": True, "decision": answer, "reason": reason, "latency_ms": 401.0}
    elif chances[2] < behaviour.stopped:
        row |= {"redo_selected": False, "shadow": False, "guard_decision": answer, "guard_reason": "BREAKER_OPEN"}
        row |= {"decision": answer, "reason": "BREAKER_OPEN", "latency_ms": 5.0}
    elif chances[5] < behaviour.slow:
        row["latency_ms"] = behaviour.slow_ms


def _label(row: dict[str, Any], step: Step, behaviour: Behaviour, random: np.random.Generator) -> None:
    """One passage is right, two are misinformation: recall is 0 or 1, the share of misinformation 0, 0.5 or 1."""
    arms = {"redo": row["redo_selected"], "legacy": step.shadow or not row["redo_selected"]}
    for arm, place in (("legacy", 0), ("redo", 1)):
        if arms[arm]:
            row[f"{arm}_recall"] = float(random.random() < behaviour.recall[place])
            row[f"{arm}_misinfo"] = random.binomial(2, behaviour.misinfo[place]) / 2


def write_run(
    home: Path,
    name: str,
    rows: Sequence[Mapping[str, Any]],
    step: Step = TEN,
    *,
    number: int | None = None,
    attempt: int = 1,
    started_at: datetime = ENTERED_AT + timedelta(minutes=30),
    finished_at: datetime = ENTERED_AT + timedelta(minutes=40),
    **spec: Any,
) -> RunFolder:
    """A finished run of these rows, as `finish_run` leaves it."""
    folder = RunFolder.of(home, name)
    folder.path.mkdir(parents=True)
    rollout = {
        "phase": step.phase.value,
        "attempt": attempt,
        "step": NUMBERS[step] if number is None else number,
        "percentage": step.percentage,
    }
    flags = {
        "orchestrator.redo_enabled": step.redo_enabled,
        "ledger.enabled": step.ledger_enabled,
        "rollout_percentage": step.percentage,
    }
    fields: dict[str, Any] = {
        "batch_id": name,
        "inputs": {"queries": "1" * 64},
        "index": None,
        "config": asdict(PipelineConfig(budget_s=0.4)),
        "versions": {},
        "flags": flags,
        "shadow": step.shadow,
        "ledger": None,
        "chunk_size": 100,
        "chunks": 1,
        "queries": len(rows),
        "quarantined": {"passage": 0, "query": 0},
        "started_at": started_at.isoformat(),
        "code_version": "0.1.0",
        "rollout": rollout,
    }
    RunSpec(**fields | spec).save(folder.spec)
    run = {"batch_id": name, "started_at": started_at, "finished_at": finished_at, "budget_ms": 400.0, **rollout}
    write_rows(folder.decisions, [{**row, **run} for row in rows])
    return folder


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Rows as `decisions.parquet`."""
    pq.write_table(pa.Table.from_pylist(list(rows), schema=DECISION_SCHEMA), path)


class PlainValidator:
    """Checks the rules without Great Expectations: what the tests that are not about it use."""

    def validate(self, name: str, columns: Mapping[str, Sequence[Any]], rules: Sequence[Rule]) -> list[Outcome]:
        """See `Validator`."""
        del name
        return [self._outcome(rule, columns[rule.column]) for rule in rules]

    def _outcome(self, rule: Rule, values: Sequence[Any]) -> Outcome:
        wrong = tuple(
            value
            for value in values
            if value is None
            or (rule.least is not None and value < rule.least)
            or (rule.most is not None and value > rule.most)
        )
        return Outcome(rule, len(values), len(wrong), None, wrong[:3])


def result_of(report: GateReport, name: str) -> GateResult:
    """The result of one gate."""
    (found,) = (result for result in report.results if result.name == name)
    return found

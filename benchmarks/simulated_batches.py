"""Finished runs of a simulated REDO: real `run.json` and `decisions.parquet`, written a whole batch at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from core.flags import rollout_bucket
from core.model import Decision, Reason
from core.pipeline import PipelineConfig
from core.rollout.plan import Step
from core.rollout.state import RolloutState
from tasks.decision_table import DECISION_SCHEMA
from tasks.run_folder import RunFolder, write_json
from tasks.run_spec import RunSpec

BUDGET_S: Final = 0.4
LEDGER: Final = "a simulated ledger"

_CONFIG: Final = asdict(PipelineConfig(budget_s=BUDGET_S))
_BUDGET_MS: Final = BUDGET_S * 1e3
_PASSAGES: Final = 4  # of a selection, as far as the share of misinformation is concerned


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """How a simulated REDO does beside its legacy arm. Shares are of the queries that REDO works on, 0 to 1.

    The defaults are a healthy one: it is not free of failures, and it is slower than legacy.

    Attributes:
        failed: REDO breaks.
        late: its time runs out.
        unranked: neither arm finds a ranking.
        legacy_ms, redo_ms: median latencies. They are lognormal.
        spread: their standard deviation as a logarithm.
        tail, tail_ms: queries of REDO that take about this long, whatever the median.
        labelled: queries with labels.
        recall: share of labelled queries whose correct passage legacy selects, and REDO.
        alike: labelled queries for which both arms select the same.
        misinfo: share of a selection that is misinformation, of legacy and of REDO.
        crashing_runs, crashed: in such a share of the runs, such a share of the queries fails beside `failed`.
        lost_traces: traces that never reach the ledger.
    """

    failed: float = 0.001
    late: float = 0.003
    unranked: float = 0.001
    legacy_ms: float = 25.0
    redo_ms: float = 60.0
    spread: float = 0.5
    tail: float = 0.01
    tail_ms: float = 350.0
    labelled: float = 1.0
    recall: tuple[float, float] = (0.6, 0.6)
    alike: float = 0.7
    misinfo: tuple[float, float] = (0.15, 0.15)
    crashing_runs: float = 0.0
    crashed: float = 0.0
    lost_traces: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """Who asks.

    Attributes:
        queries: of a batch.
        keys: sessions that queries come from; each has its bucket.
        buckets: of the keys, as `rollout_bucket` draws them.
    """

    queries: int
    keys: int = 20_000
    buckets: NDArray[np.int16] = field(repr=False)

    @classmethod
    def of(cls, queries: int, *, keys: int = 20_000) -> Traffic:
        """Traffic of so many queries a batch, from so many sessions."""
        buckets = np.array([rollout_bucket(f"session-{number}") for number in range(keys)], dtype=np.int16)
        return cls(queries=queries, keys=keys, buckets=buckets)


@dataclass(frozen=True, slots=True)
class Batch:
    """What a finished run was.

    Attributes:
        batch_id: names it.
        served: queries that REDO was to answer, whether it did or not.
        failures: those of them that it broke on or had no time for.
        lost_traces: how many traces of the run the ledger lost.
    """

    batch_id: str
    served: int
    failures: int
    lost_traces: int


def write_batch(
    home: Path,
    number: int,
    state: RolloutState,
    behaviour: Behaviour,
    traffic: Traffic,
    random: np.random.Generator,
    *,
    started_at: datetime,
    finished_at: datetime,
) -> Batch:
    """Write one finished run of the step at which the rollout stands, as `finish_run` leaves it."""
    step, count = state.at, traffic.queries
    batch_id = f"batch-{number:05d}"
    folder = RunFolder.of(home, batch_id)
    rollout = {"phase": step.phase.value, "attempt": state.attempt, "step": state.step, "percentage": step.percentage}
    folder.path.mkdir(parents=True)
    has_ledger = step.ledger_enabled or step.shadow
    write_json(folder.spec, asdict(_spec(batch_id, state, rollout, count, started_at, has_ledger=has_ledger)))
    keys = random.integers(traffic.keys, size=count)
    buckets = traffic.buckets[keys]
    asked = np.ones(count, dtype=bool) if step.shadow else buckets <= step.percentage
    columns, failed_or_late = _outcomes(step, behaviour, random, asked)
    columns |= {
        "query_id": _names("q", number, count),
        "trace_id": _hexes(random, count),
        "bucket": buckets,
        "key_hash": [f"k{key}" for key in keys.tolist()],
        "query_chars": random.integers(20, 90, size=count),
        "evidence": np.full(count, _PASSAGES),
        **_labels(behaviour, random, step, asked & ~failed_or_late),
    }
    fixed = {"batch_id": batch_id, "started_at": started_at, "finished_at": finished_at, "budget_ms": _BUDGET_MS}
    _write(folder.decisions, columns, fixed | rollout, count)
    lost = int(random.binomial(count, behaviour.lost_traces)) if has_ledger else 0
    served = 0 if step.shadow else int(asked.sum())
    return Batch(batch_id, served, 0 if step.shadow else int(failed_or_late.sum()), lost)


def _spec(
    batch_id: str, state: RolloutState, rollout: dict[str, Any], count: int, started_at: datetime, *, has_ledger: bool
) -> RunSpec:
    return RunSpec(
        batch_id=batch_id,
        inputs={},
        index=None,
        config=_CONFIG,
        versions={},
        flags=state.flags,
        shadow=state.at.shadow,
        rollout=rollout,
        ledger=LEDGER if has_ledger else None,
        chunk_size=100,
        chunks=-(-count // 100),
        queries=count,
        quarantined={"passage": 0, "query": 0},
        started_at=started_at.isoformat(),
        code_version="simulated",
    )


def _outcomes(
    step: Step, behaviour: Behaviour, random: np.random.Generator, asked: NDArray[np.bool_]
) -> tuple[dict[str, Any], NDArray[np.bool_]]:
    """Who answered each query and why, and how long it took; and where REDO failed or was late."""
    count = len(asked)
    crashed = behaviour.crashed if random.random() < behaviour.crashing_runs else 0.0
    unranked = random.random(count) < behaviour.unranked
    failed = asked & ~unranked & (random.random(count) < behaviour.failed + crashed)
    late = asked & ~unranked & ~failed & (random.random(count) < behaviour.late)
    latency = behaviour.legacy_ms * random.lognormal(0, behaviour.spread, count)
    latency[asked] = behaviour.redo_ms * random.lognormal(0, behaviour.spread, int(asked.sum()))
    slow = asked & (random.random(count) < behaviour.tail)
    latency[slow] = behaviour.tail_ms * random.uniform(0.95, 1.05, int(slow.sum()))
    latency[late] = _BUDGET_MS
    good = asked & ~failed & ~late & ~unranked
    fell_back = (failed | late | unranked) & asked
    chosen = Reason.SHADOW if step.shadow else Reason.ENABLED
    reason = np.where(asked, chosen.value, Reason.NOT_IN_ROLLOUT.value).astype(object)
    guard_reason = reason.copy()
    if not step.shadow:
        reason[failed] = Reason.ORCHESTRATOR_ERROR.value
        reason[late] = Reason.DEADLINE_EXCEEDED.value
    reason[unranked] = Reason.RETRIEVER_ERROR.value
    decision = np.full(count, Decision.LEGACY.value, dtype=object)
    guard_decision = decision.copy()
    if not step.shadow:
        guard_decision[asked] = Decision.REDO.value
        decision[good] = Decision.REDO.value
        decision[fell_back] = Decision.FALLBACK.value
    error = np.full(count, None, dtype=object)
    error[failed] = "ValueError: simulated"
    return {
        "decision": decision,
        "reason": reason,
        "guard_decision": guard_decision,
        "guard_reason": guard_reason,
        "shadow": np.full(count, step.shadow),
        "latency_ms": np.minimum(latency, _BUDGET_MS),
        "deadline_hit": late,
        "error": error,
        "redo_selected": good,
    }, failed | late


def _labels(
    behaviour: Behaviour, random: np.random.Generator, step: Step, selected: NDArray[np.bool_]
) -> dict[str, NDArray[np.float64]]:
    """Recall and misinformation of the arms that selected. Both arms see one query alike in a share of the cases."""
    count = len(selected)
    labelled = random.random(count) < behaviour.labelled
    by_legacy = labelled & (step.shadow | ~selected)
    by_redo = labelled & selected
    alike = random.random(count) < behaviour.alike
    chance = {"legacy": random.random(count)}
    chance["redo"] = np.where(alike, chance["legacy"], random.random(count))
    found: dict[str, NDArray[np.float64]] = {}
    for place, (arm, known) in enumerate((("legacy", by_legacy), ("redo", by_redo))):
        recall = (chance[arm] < behaviour.recall[place]).astype(float)
        misinfo = random.binomial(_PASSAGES, behaviour.misinfo[place], count) / _PASSAGES
        found[f"{arm}_recall"] = np.where(known, recall, np.nan)
        found[f"{arm}_misinfo"] = np.where(known, misinfo, np.nan)
    return found


def _names(prefix: str, number: int, count: int) -> Sequence[str]:
    return [f"{prefix}-{number}-{place}" for place in range(count)]


def _hexes(random: np.random.Generator, count: int) -> Sequence[str]:
    text = random.bytes(16 * count).hex()
    return [text[place : place + 32] for place in range(0, 32 * count, 32)]


def _write(path: Path, columns: dict[str, Any], fixed: dict[str, Any], count: int) -> None:
    arrays = []
    for part in DECISION_SCHEMA:
        if part.name in fixed:
            arrays.append(pa.repeat(pa.scalar(fixed[part.name], part.type), count))
            continue
        column = columns[part.name]
        unknown = np.isnan(column) if pa.types.is_floating(part.type) else None
        if isinstance(column, np.ndarray) and column.dtype == object:
            column = column.tolist()  # else pyarrow imports pandas
        arrays.append(pa.array(column, part.type, mask=unknown))
    table = pa.Table.from_arrays(arrays, schema=DECISION_SCHEMA)
    pq.write_table(table, path, compression="none", use_dictionary=False, write_statistics=False)

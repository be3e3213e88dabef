"""What the runs of one step did, as DuckDB sees it: the runs that count, and small frames over their rows.

Evidence is `decisions.parquet` of finished runs. A run counts for a step when it began in that phase, attempt and step,
after the step was entered, with the step's flags. All others are left out, and the report says how many and why.

Words of a row: REDO was *meant* to answer (the guard chose it, or would have, had it not been stopped); it was *asked*
(it worked on the query, in shadow or to be served); it *failed* (asked, no selection, and neither for want of time nor
of a ranking); it was *late* (asked, and no selection for want of time). A row is of the *control* arm where legacy
answered by the percentage's choice, and in shadow, where both selections are made.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Literal, Self

import duckdb
import numpy as np
from numpy.typing import NDArray

from core.errors import BatchError
from core.model import Reason
from core.rollout.plan import Step
from tasks.run_folder import RunFolder
from tasks.run_spec import RunSpec

SAMPLE: Final = 20_000
"""Most latencies of an arm that a rank test looks at: more make no difference that matters, and cost time."""

Arm = Literal["asked", "control"]
"""The two arms: queries that REDO was asked about, and those that legacy answered by choice."""

Measure = Literal["recall", "misinfo"]
"""What labels can measure of a selection."""

_CHOICES: Final = (Reason.ENABLED, Reason.SHADOW, Reason.FLAG_OFF, Reason.NOT_IN_ROLLOUT, Reason.KILL_SWITCH)
_STOPS: Final = ", ".join(f"'{reason.value}'" for reason in Reason if reason not in _CHOICES)

_ORDER: Final = """
select batch_id from (select batch_id, min(finished_at) as ended from read_parquet($files) group by 1) order by ended, 1
"""
# Texts become numbers and switches here, once: all that follows is several times faster on them.
_ROWS: Final = f"""
create temp table rows as
select run, query, trace, key, bucket, shadow, started_at, finished_at, latency_ms, budget_ms, deadline_hit,
    query_chars, evidence, legacy_recall, redo_recall, legacy_misinfo, redo_misinfo, asked, unranked, served,
    asked or stopped as meant,
    out_of_share,
    asked and not redo_selected and not unranked and not short_of_time as failed,
    (asked or stopped) and not served and not (shadow and redo_selected) as fell_back,
    out_of_share or asked and shadow as control
from (
    select *,
        list_position($batches, batch_id)::smallint as run,
        hash(query_id) as query, hash(trace_id) as trace, if(key_hash is null, null, hash(key_hash)) as key,
        guard_decision = 'redo' or shadow and guard_reason = 'SHADOW' as asked,
        guard_reason in ({_STOPS}) as stopped,
        guard_reason = 'NOT_IN_ROLLOUT' as out_of_share,
        decision = 'redo' as served,
        reason = 'RETRIEVER_ERROR' as unranked,
        reason = 'DEADLINE_EXCEEDED' or shadow and error is null and deadline_hit as short_of_time
    from read_parquet($files)
)
"""  # noqa: S608 - our own words only
_RUNS: Final = """
select $batches[run] as batch_id, min(started_at) as started_at, min(finished_at) as finished_at, count(*) as rows,
    count(*) filter (asked) as asked, count(*) filter (meant) as meant, count(*) filter (control) as control,
    count(*) filter (failed) as failed, count(*) filter (asked and unranked) as asked_unranked,
    count(*) filter (fell_back) as fell_back, count(*) filter (asked and deadline_hit) as late,
    count(*) filter (asked and latency_ms > $slow * budget_ms) as slow,
    count(*) filter (control and unranked) as control_failed, count(*) filter (served) as served,
    count(*) filter (asked and redo_recall is not null) as asked_labelled,
    count(*) filter (control and legacy_recall is not null) as control_labelled,
    count(*) - count(distinct query) as duplicate_ids,
    count(*) filter (query_chars = 0) as empty_texts, avg(query_chars) as mean_query_chars,
    count(*) filter (evidence = 0) as without_evidence
from rows group by run order by run
"""
_COHORT: Final = """
select count(*) filter (in_redo) as in_redo, count(*) as keys, count(*) filter (in_redo and in_legacy) as in_both
from (
    select bool_or(meant) as in_redo, bool_or(not meant) as in_legacy from rows
    where key is not null and (meant or out_of_share) group by key
)
"""
_ASSIGNMENT: Final = """
select count(*) as placed,
    count(*) filter (meant and bucket > ceil($percentage)) as redo_outside,
    count(*) filter (out_of_share and bucket <= floor($percentage)) as legacy_inside
from rows where bucket is not null and (meant or out_of_share)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Which data are asked about.

    Attributes:
        step: the step as the plan has it.
        number: its place in the plan, from 0.
        attempt: of the rollout; evidence of another one does not count.
        entered_at: when the step was entered.
    """

    step: Step
    number: int
    attempt: int
    entered_at: datetime


@dataclass(frozen=True, slots=True)
class Run:
    """A finished run that counts."""

    folder: RunFolder
    spec: RunSpec


@dataclass(frozen=True, slots=True)
class Runs:
    """The runs of a step.

    Attributes:
        counted: those that count.
        left_out: how many of the step's runs do not, by reason.
        baseline: those of the step before, of the newest attempt that has any.
    """

    counted: tuple[Run, ...]
    left_out: Mapping[str, int]
    baseline: tuple[Run, ...]


def find_runs(home: Path, scope: Scope) -> Runs:
    """Look through the runs under `REDO_HOME`. Runs of a REDO that knew other fields are passed over."""
    counted: list[Run] = []
    left_out: Counter[str] = Counter()
    before: dict[int, list[Run]] = {}
    for path in sorted((home / "runs").glob("*/run.json")):
        try:
            run = Run(RunFolder(path.parent), RunSpec.load(path))
        except (BatchError, OSError, ValueError, TypeError):
            continue
        rollout = run.spec.rollout
        if rollout is None:
            continue
        if (rollout["phase"], rollout["attempt"], rollout["step"]) == (
            scope.step.phase.value,
            scope.attempt,
            scope.number,
        ):
            reason = _left_out(run, scope)
            left_out.update([reason] if reason else [])
            counted += [] if reason else [run]
        elif (
            rollout["step"] == scope.number - 1
            and rollout["attempt"] <= scope.attempt
            and run.folder.decisions.exists()
        ):
            before.setdefault(rollout["attempt"], []).append(run)
    return Runs(tuple(counted), dict(left_out), tuple(before[max(before)]) if before else ())


def _left_out(run: Run, scope: Scope) -> str | None:
    """Why a run of this step does not count; `None` where it does."""
    if run.spec.started < scope.entered_at:
        return "begun before the step"
    if not run.folder.decisions.exists():
        return "not finished"
    flags = run.spec.run_flags
    if scope.step.shadow and not run.spec.shadow:
        return "no shadow run"
    if scope.step.percentage and (not flags.redo_enabled or flags.rollout_percentage != scope.step.percentage):
        return "other flags"
    return None


@dataclass(frozen=True, slots=True)
class Frame:
    """Rows as names and columns, in the order of the query."""

    columns: Mapping[str, Sequence[Any]]

    def total(self, name: str, *, runs: int | None = None) -> int:
        """The sum of a column, over all runs or over the first ones."""
        return int(sum(self.columns[name][:runs]))

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))


class Rows:
    """The rows of some runs in DuckDB. Close it after use, or use it in a `with`."""

    def __init__(self, runs: Sequence[Run], *, slow_share: float) -> None:
        self._connection = duckdb.connect(config={"temp_directory": "", "autoinstall_known_extensions": False})
        self._connection.execute("set timezone = 'UTC'")
        self._files = {"files": [str(run.folder.decisions) for run in runs]}
        batches = [row[0] for row in self._connection.execute(_ORDER, self._files).fetchall()]
        self._connection.execute(_ROWS, {**self._files, "batches": batches})
        self.runs = self._frame(_RUNS, {"slow": slow_share, "batches": batches})
        self._cohort: dict[str, int] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def cohort(self) -> dict[str, int]:
        """Distinct keys: how many there are, are meant for REDO, and are in both arms."""
        if self._cohort is None:
            self._cohort = self._one(_COHORT, {})
        return self._cohort

    def assignment(self, percentage: float) -> dict[str, int]:
        """Rows with a bucket: how many there are, and how many the percentage would have given to the other arm."""
        return self._one(_ASSIGNMENT, {"percentage": percentage})

    def latencies(self, arm: Arm, *, runs: int | None = None) -> NDArray[np.float64]:
        """Latencies of an arm in milliseconds, in the first runs; at most about 20,000.

        Which rows are taken hangs on their trace ids only.
        """
        every = max(1, -(-self.runs.total(arm, runs=runs) // SAMPLE))
        query = f"select latency_ms from rows where {arm} and run <= $runs and trace % $every = 0 order by trace"  # noqa: S608 - one of two words
        return self._values(query, {"runs": runs or len(self.runs), "every": every})

    def over(self, arm: Arm, limit_ms: float) -> Sequence[int]:
        """How many rows of an arm took longer, for each run in its order."""
        query = f"select count(*) filter ({arm} and latency_ms > $limit) as n from rows group by run order by run"  # noqa: S608 - one of two words
        return self._frame(query, {"limit": limit_ms}).columns["n"]

    def measured(self, measure: Measure, *, runs: int | None = None) -> tuple[NDArray[np.float64], ...]:
        """A measure where labels are: paired differences, REDO's values, the control arm's.

        A query that was asked in several runs counts once, with its mean: asking it again is no new evidence.
        """
        redo, legacy = f"redo_{measure}", f"legacy_{measure}"
        values = (
            (f"{redo} - {legacy}", f"asked and {redo} is not null and {legacy} is not null"),
            (redo, f"asked and {redo} is not null"),
            (legacy, f"control and {legacy} is not null"),
        )
        queries = [
            f"select avg({value}) from rows where {where} and run <= $runs group by query order by query"  # noqa: S608 - as above
            for value, where in values
        ]
        return tuple(self._values(query, {"runs": runs or len(self.runs)}) for query in queries)

    def trace_ids(self) -> Any:  # noqa: ANN401 - an Arrow table, which has no types
        """Batch and trace id of each row."""
        return self._connection.execute(
            "select batch_id, trace_id from read_parquet($files)", self._files
        ).to_arrow_table()

    def _values(self, query: str, values: Mapping[str, object]) -> NDArray[np.float64]:
        (column,) = self._connection.execute(query, values).fetchnumpy().values()
        return np.asarray(column, dtype=float)

    def _frame(self, query: str, values: Mapping[str, object]) -> Frame:
        cursor = self._connection.execute(query, values)
        names = [column[0] for column in cursor.description or ()]
        rows = cursor.fetchall()
        return Frame({name: [row[place] for row in rows] for place, name in enumerate(names)})

    def _one(self, query: str, values: Mapping[str, object]) -> dict[str, int]:
        return {name: int(column[0]) for name, column in self._frame(query, values).columns.items()}

"""What the runs of one step did: the runs that count, and small frames over their rows.

Evidence is `decisions.parquet` of finished runs. A run counts for a step when it began in that phase, attempt and step,
after the step was entered, with the step's flags. All others are left out, and the report says how many and why.
`run_tables` reads them, and says what the words of a row mean.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Literal, Self

import numpy as np
from numpy.typing import NDArray

from core.errors import BatchError
from core.rollout.plan import Step
from tasks.gates.run_tables import COUNTS, NO_ROWS, RunReader, RunTable
from tasks.run_folder import RunFolder
from tasks.run_spec import RunSpec

SAMPLE: Final = 20_000
"""Most latencies of an arm that a rank test looks at: more make no difference that matters, and cost time."""

Arm = Literal["asked", "control"]
"""The two arms: queries that REDO was asked about, and those that legacy answered by choice."""

Measure = Literal["recall", "misinfo"]
"""What labels can measure of a selection."""


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


def find_runs(home: Path, scope: Scope, *, reader: RunReader | None = None) -> Runs:
    """Look through the runs under `REDO_HOME`. Runs of a REDO that knew other fields are passed over.

    Args:
        home: `REDO_HOME`.
        scope: which data are asked about.
        reader: what has read runs before; a new one by default.
    """
    reader = reader or RunReader()
    counted: list[Run] = []
    left_out: Counter[str] = Counter()
    before: dict[int, list[Run]] = {}
    for path in sorted((home / "runs").glob("*/run.json")):
        try:
            run = Run(RunFolder(path.parent), reader.spec(path))
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
    """The rows of some runs.

    Args:
        runs: the runs; their order does not matter, `runs` has that in which they finished.
        slow_share: which part of the budget a query may take before it counts as slow.
        reader: what has read runs before. Without one the rows have their own, and close it at the end of a `with`.

    Raises:
        duckdb.Error: a run's table cannot be read.
    """

    def __init__(self, runs: Sequence[Run], *, slow_share: float, reader: RunReader | None = None) -> None:
        self._reader, self._is_own = reader or RunReader(), reader is None
        tables = self._reader.tables([run.folder.decisions for run in runs])
        named = [(table, run.spec.batch_id) for table, run in zip(tables, runs, strict=True) if table is not None]
        named.sort(key=lambda pair: (pair[0].counts["finished_at"], pair[1]))
        self._tables: list[RunTable] = [table for table, _ in named]
        columns: dict[str, Sequence[Any]] = {name: [table.counts[name] for table in self._tables] for name in COUNTS}
        slow = [_over(table, "asked", slow_share * table.budget_ms) for table in self._tables]
        self._cohort: dict[str, int] | None = None
        self.runs = Frame({"batch_id": [batch_id for _, batch_id in named], **columns, "slow": slow})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_own:
            self._reader.close()

    def cohort(self) -> dict[str, int]:
        """Distinct keys: how many there are, are meant for REDO, and are in both arms."""
        if self._cohort is None:
            self._cohort = self._counted_keys()
        return self._cohort

    def _counted_keys(self) -> dict[str, int]:
        keyed, keys, meant = self._column("keyed"), self._column("key"), self._column("meant")
        in_redo = np.unique(keys[keyed & meant])
        in_legacy = np.unique(keys[keyed & ~meant & self._column("out_of_share")])
        in_both = len(np.intersect1d(in_redo, in_legacy, assume_unique=True))
        return {"in_redo": len(in_redo), "keys": len(in_redo) + len(in_legacy) - in_both, "in_both": in_both}

    def assignment(self, percentage: float) -> dict[str, int]:
        """Rows with a bucket: how many there are, and how many the percentage would have given to the other arm."""
        buckets, meant, left = self._column("bucket"), self._column("meant"), self._column("out_of_share")
        placed = (buckets > 0) & (meant | left)
        return {
            "placed": int(np.count_nonzero(placed)),
            "redo_outside": int(np.count_nonzero(placed & meant & (buckets > math.ceil(percentage)))),
            "legacy_inside": int(np.count_nonzero(placed & left & (buckets <= math.floor(percentage)))),
        }

    def latencies(self, arm: Arm, *, runs: int | None = None) -> NDArray[np.float64]:
        """Latencies of an arm in milliseconds, in the first runs; at most about 20,000.

        Which rows are taken hangs on their trace ids only.
        """
        every = -(-self.runs.total(arm, runs=runs) // SAMPLE)
        taken = self._column(arm, runs)
        if every > 1:
            taken = taken & (self._column("trace", runs) % np.uint64(every) == 0)
        return np.asarray(self._column("latency_ms", runs)[taken], dtype=float)

    def over(self, arm: Arm, limit_ms: float) -> Sequence[int]:
        """How many rows of an arm took longer, for each run in its order."""
        return [_over(table, arm, limit_ms) for table in self._tables]

    def measured(self, measure: Measure, *, runs: int | None = None) -> tuple[NDArray[np.float64], ...]:
        """A measure where labels are: paired differences, REDO's values, the control arm's.

        A query that was asked in several runs counts once, with its mean: asking it again is no new evidence.
        """
        redo, legacy = self._column(f"redo_{measure}", runs), self._column(f"legacy_{measure}", runs)
        queries, asked, control = (self._column(name, runs) for name in ("query", "asked", "control"))
        return (
            _means(queries, redo - legacy, where=asked),
            _means(queries, redo, where=asked),
            _means(queries, legacy, where=control),
        )

    def _column(self, name: str, runs: int | None = None) -> NDArray[Any]:
        """A column over all runs, or over the first ones."""
        return np.concatenate([table[name] for table in self._tables[:runs] or (NO_ROWS,)])


def _over(table: RunTable, arm: Arm, limit_ms: float) -> int:
    return int(np.count_nonzero(table[arm] & (table["latency_ms"] > limit_ms)))


def _means(groups: NDArray[Any], values: NDArray[Any], *, where: NDArray[Any]) -> NDArray[np.float64]:
    """The mean of each group's values, of those that are known."""
    taken = where & ~np.isnan(values)
    _, places, counts = np.unique(groups[taken], return_inverse=True, return_counts=True)
    return np.bincount(places, weights=values[taken], minlength=len(counts)) / counts

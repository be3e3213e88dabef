"""How both arms did in the runs of a step: the numbers behind the chart. No gate decides by them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from tasks.gates.frames import Rows, Scope
    from tasks.gates.run_tables import RunReader

FIRST_MS: Final = 0.1
REACH: Final = 2.5
BINS: Final = 34
"""The bins of a histogram, of equal width on a logarithmic scale, from `FIRST_MS` to `REACH` times the budget."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One arm.

    Attributes:
        queries: how many it worked on.
        failed: how many of them it broke on; for legacy, how many found no ranking.
        fell_back: how many were meant for it and answered by the other; legacy has none.
        p50_ms, p95_ms, p99_ms: percentiles of its latency; 0 where it worked on none.
        histogram: how many queries took so long, by `BINS`; the first and the last one count what lies beyond too.
    """

    queries: int
    failed: int
    fell_back: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    histogram: tuple[int, ...]

    @property
    def failed_share(self) -> float:
        """Which part of its queries it broke on."""
        return self.failed / self.queries if self.queries else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Arms:
    """Both arms, and the budget that both have.

    Attributes:
        redo, legacy: the arms.
        budget_ms: the time that a query is given.
        runs: how many runs were counted.
    """

    redo: Arm
    legacy: Arm
    budget_ms: float
    runs: int

    def to_dict(self) -> dict[str, Any]:
        """The arms as JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Arms:
        """Read what `to_dict` wrote. Raises KeyError or TypeError where it is something else."""
        arms = {name: Arm(**{**data[name], "histogram": tuple(data[name]["histogram"])}) for name in ("redo", "legacy")}
        return cls(**{**data, **arms})


def arms_of(home: Path, scope: Scope, reader: RunReader) -> Arms | None:
    """Look at the runs that count for a step; `None` where there are none yet.

    Args:
        home: `REDO_HOME`.
        scope: which step.
        reader: what has read the runs for the gates.
    """
    from tasks.gates.frames import Rows, find_runs  # noqa: PLC0415 - DuckDB, only when there is something to read

    runs = find_runs(home, scope, reader=reader).counted
    if not runs:
        return None
    budget_ms = runs[-1].spec.pipeline_config.budget_s * 1e3
    rows = Rows(runs, slow_share=1.0, reader=reader)
    redo, legacy = rows.latencies("asked"), rows.latencies("control")
    return Arms(
        redo=_arm(rows, redo.tolist(), "asked", "failed", "fell_back", budget_ms),
        legacy=_arm(rows, legacy.tolist(), "control", "control_failed", None, budget_ms),
        budget_ms=budget_ms,
        runs=len(runs),
    )


def _arm(
    rows: Rows, latencies_ms: Sequence[float], queries: str, failed: str, fell_back: str | None, budget_ms: float
) -> Arm:
    ordered = sorted(latencies_ms)
    bins = [0] * BINS
    for value in ordered:
        bins[max(0, min(BINS - 1, int(place_of(value, budget_ms) * BINS)))] += 1
    p50, p95, p99 = (ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0 for share in _SHARES)
    return Arm(
        queries=rows.runs.total(queries),
        failed=rows.runs.total(failed),
        fell_back=0 if fell_back is None else rows.runs.total(fell_back),
        p50_ms=round(p50, 3),
        p95_ms=round(p95, 3),
        p99_ms=round(p99, 3),
        histogram=tuple(bins),
    )


_SHARES: Final = (0.5, 0.95, 0.99)


def place_of(value_ms: float, budget_ms: float) -> float:
    """Where a latency lies on the histogram's scale: 0 at its beginning, 1 at its end; beyond for what lies beyond."""
    if value_ms <= 0:
        return 0.0
    return math.log(value_ms / FIRST_MS) / math.log(REACH * budget_ms / FIRST_MS)

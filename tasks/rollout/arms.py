"""How both arms did in the runs of a step: the numbers behind the chart. No gate decides by them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from tasks.gates.frames import Rows, Scope

_BINS: Final = 24
"""Bars of an arm's histogram; together they reach from 0 to a little over the budget."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One arm.

    Attributes:
        queries: how many it worked on.
        failed: how many of them it broke on; for legacy, how many found no ranking.
        fell_back: how many were meant for it and answered by the other; legacy has none.
        p50_ms, p95_ms, p99_ms: percentiles of its latency; 0 where it worked on none.
        histogram: how many queries took so long, by bins of equal width; the last one counts all that are longer.
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
        reach_ms: where the last bin of the histograms begins.
        runs: how many runs were counted.
    """

    redo: Arm
    legacy: Arm
    budget_ms: float
    reach_ms: float
    runs: int

    def to_dict(self) -> dict[str, Any]:
        """The arms as JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Arms:
        """Read what `to_dict` wrote. Raises KeyError or TypeError where it is something else."""
        arms = {name: Arm(**{**data[name], "histogram": tuple(data[name]["histogram"])}) for name in ("redo", "legacy")}
        return cls(**{**data, **arms})


def arms_of(home: Path, scope: Scope) -> Arms | None:
    """Look at the runs that count for a step; `None` where there are none yet."""
    from tasks.gates.frames import Rows, find_runs  # noqa: PLC0415 - DuckDB, only when there is something to read

    runs = find_runs(home, scope).counted
    if not runs:
        return None
    budget_ms = runs[-1].spec.pipeline_config.budget_s * 1e3
    with Rows(runs, slow_share=1.0) as rows:
        redo, legacy = rows.latencies("asked"), rows.latencies("control")
        longest = max((float(values.max()) for values in (redo, legacy) if len(values)), default=0.0)
        reach_ms = _rounded_up(min(longest, budget_ms * 1.25))
        return Arms(
            redo=_arm(rows, redo.tolist(), "asked", "failed", "fell_back", reach_ms),
            legacy=_arm(rows, legacy.tolist(), "control", "control_failed", None, reach_ms),
            budget_ms=budget_ms,
            reach_ms=reach_ms,
            runs=len(runs),
        )


def _arm(
    rows: Rows, latencies_ms: Sequence[float], queries: str, failed: str, fell_back: str | None, reach_ms: float
) -> Arm:
    ordered = sorted(latencies_ms)
    bins = [0] * (_BINS + 1)
    for value in ordered:
        bins[min(_BINS, int(value / reach_ms * _BINS))] += 1
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


def _rounded_up(value: float) -> float:
    """The next number that reads well on an axis: 1, 2, 2.5 or 5 times a power of ten."""
    power = 0.001
    while True:
        for factor in (1, 2, 2.5, 5):
            if value <= factor * power:
                return factor * power
        power *= 10

"""One simulated rollout: the real controller and the real gates, over batches that are drawn at random."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.simulated_batches import Behaviour, Traffic, write_batch
from core.adapters.manual_clock import ManualClock
from core.adapters.memory_state import MemoryStateStore
from core.rollout.gates import GateReport
from core.rollout.orders import RolloutOrders
from core.rollout.plan import Plan
from core.rollout.state import RolloutState, Status
from core.rollout.verdict import Verdict
from tasks.gates.evaluate import Gates
from tasks.gates.frames import Scope
from tasks.gates.run_tables import RunReader
from tests.gate_samples import PlainValidator

_HEALTHY: Final = Behaviour()
_ENDS: Final = frozenset({Status.COMPLETE, Status.PAUSED, Status.ROLLED_BACK})


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """When what happens. Times are in seconds.

    Attributes:
        every_s: from one batch to the next.
        run_s: how long a batch runs.
        decide_s: how long after its end the gates are asked and the rollout decides.
        traces_s: how long after its end its traces are in the ledger.
        batches: after so many the simulation stops waiting.
    """

    every_s: float = 900.0
    run_s: float = 300.0
    decide_s: float = 60.0
    traces_s: float = 30.0
    batches: int = 192


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """What became of a rollout.

    Attributes:
        status: how it ended: complete, paused, rolled back; running where the simulation stopped waiting.
        highest: the highest percentage it reached.
        failed: the gates that failed.
        exposed: queries that REDO was given to answer until then.
        failures: those of them that it broke on or had no time for.
        batches: how many batches there were, with a decision after each.
        hours: how long it took.
    """

    status: Status
    highest: float
    failed: tuple[str, ...]
    exposed: int
    failures: int
    batches: int
    hours: float


class SimulatedRollout:
    """Simulates rollouts, one after the other.

    Args:
        plan: the steps.
        schedule: when what happens.
        traffic: who asks.
    """

    def __init__(self, plan: Plan, schedule: Schedule, traffic: Traffic) -> None:
        self._plan = plan
        self._schedule = schedule
        self._traffic = traffic
        self._reader = RunReader(threads=1)

    def run(self, home: Path, behaviour: Behaviour, *, from_serving: bool, seed: Sequence[int]) -> Course:
        """Go through one rollout, until it is complete, or a gate has failed, or there are no more batches.

        Args:
            home: an empty folder.
            behaviour: how REDO does.
            from_serving: whether it does so only where its answers are served; in shadow it is healthy then.
            seed: of all that is drawn.
        """
        random = np.random.default_rng(seed)
        clock = ManualClock()
        began = clock.utc_now()
        orders = RolloutOrders(MemoryStateStore(clock=clock), clock=clock, actor="simulation")
        ledger = SimulatedLedger(self._traffic.queries, self._schedule.traces_s)
        gates = Gates(home=home, validator=PlainValidator(), reader=self._reader, ledger=ledger)
        state = orders.start(self._plan, reason="simulated").state
        exposed = failures = number = 0
        failed: tuple[str, ...] = ()
        highest = 0.0
        while state is not None and state.status not in _ENDS and number < self._schedule.batches:
            started_at = clock.utc_now()
            clock.advance(self._schedule.run_s)
            batch = write_batch(
                home,
                number,
                state,
                _HEALTHY if from_serving and state.at.shadow else behaviour,
                self._traffic,
                random,
                started_at=started_at,
                finished_at=clock.utc_now(),
            )
            ledger.lost[batch.batch_id] = batch.lost_traces
            exposed, failures, number = exposed + batch.served, failures + batch.failures, number + 1
            highest = max(highest, state.at.percentage)
            clock.advance(self._schedule.decide_s)
            report = _checked(gates.evaluate(_scope(state), report_id=f"report-{number}", now=clock.utc_now()))
            failed = tuple(result.name for result in report.of(Verdict.FAIL))
            state = orders.advance(report).state
            clock.advance(self._schedule.every_s - self._schedule.run_s - self._schedule.decide_s)
        assert state is not None  # noqa: S101 - it was started
        hours = (state.event.at - began) / timedelta(hours=1)
        return Course(
            status=state.status,
            highest=highest,
            failed=failed,
            exposed=exposed,
            failures=failures,
            batches=number,
            hours=hours,
        )


@dataclass(slots=True)
class SimulatedLedger:
    """What stands for the ledger: traces arrive some time after their run, and some are lost.

    Attributes:
        queries: of each run.
        traces_s: how long after the end of its run a trace arrives, in seconds.
        lost: how many traces of each run never do.
    """

    queries: int
    traces_s: float
    lost: dict[str, int] = field(default_factory=dict)

    def __call__(
        self,
        uri: str,
        decisions: Sequence[Path],
        finished_at: Mapping[str, datetime],
        *,
        now: datetime,
        grace_s: float,
        max_trace_bytes: int,
    ) -> dict[str, Sequence[object]]:
        """See `tasks.gates.ledger_frame.ledger_columns`."""
        del uri, max_trace_bytes
        ids = [path.parent.name for path in decisions]
        ages_s = [(now - finished_at[batch_id]).total_seconds() for batch_id in ids]
        missing = [
            self.queries if age_s < self.traces_s else self.lost[batch_id]
            for batch_id, age_s in zip(ids, ages_s, strict=True)
        ]
        overdue = [count if age_s > grace_s else 0 for count, age_s in zip(missing, ages_s, strict=True)]
        none = [0] * len(ids)
        names = ("unexpected", "null_values", "other_schema", "too_long", "lost_objects")
        return {"batch_id": ids, "missing": missing, "overdue": overdue, **dict.fromkeys(names, none)}


def _scope(state: RolloutState) -> Scope:
    return Scope(step=state.at, number=state.step, attempt=state.attempt, entered_at=state.entered_at)


def _checked(report: GateReport) -> GateReport:
    """The report, of gates that all worked. Raises RuntimeError where one did not: nothing is simulated then."""
    for result in report.results:
        if result.verdict is Verdict.ERROR:
            raise RuntimeError(f"gate {result.name}: {result.detail}")
    return report

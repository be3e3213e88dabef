"""How long the gates of a step take over many decisions, with Great Expectations, after its import.

    python benchmarks/gates.py [--rows 1000000] [--runs 10]

The runs are drawn as in the rollout simulation, at 10 %, with the shadow runs of the step before beside them. The goal
is 10 s for 1,000,000 rows; the exit code says whether it was met. On a busy machine the CPU says more than the time.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.machine import describe
from benchmarks.simulated_batches import Behaviour, Traffic, write_batch
from core.adapters.manual_clock import ManualClock
from core.adapters.memory_state import MemoryStateStore
from core.rollout.orders import RolloutOrders
from core.rollout.plan import Plan
from core.rollout.state import RolloutState
from tasks.gates.evaluate import Gates
from tasks.gates.frames import Scope
from tasks.gates.suites import Rule
from tasks.gates.validation import GreatExpectations

_GOAL_S: Final = 10.0
_SHADOW_RUNS: Final = 4


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000, help="decisions of the step, over all its runs")
    parser.add_argument("--runs", type=int, default=10, help="runs of the step")
    arguments = parser.parse_args(argv)
    print(describe("redo", "duckdb", "numpy", "great-expectations", "pandas"), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        scope = _write(home, arguments.runs, arguments.rows // arguments.runs)
        begun = time.perf_counter()
        validator = GreatExpectations()
        validator.validate("warm", {"one": [1]}, [Rule("one", 1, 1, "a first suite imports everything")])
        print(f"\nimport of Great Expectations  {time.perf_counter() - begun:5.1f} s")
        gates = Gates(home=home, validator=validator)
        begun, cpu = time.perf_counter(), time.process_time()
        report = gates.evaluate(scope, report_id="benchmark", now=scope.entered_at + timedelta(hours=1))
        took_s, cpu_s = time.perf_counter() - begun, time.process_time() - cpu
    rows = sum(report.samples.values())
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"gates over {rows:,} rows of {arguments.runs:,} runs  {took_s:5.1f} s, {cpu_s:.1f} s of CPU", end="")
    print(f"; {peak_mib:,.0f} MiB at most")
    for result in report.results:
        print(f"  {result.name:18} {result.verdict.value:12} n = {result.n:,}")
    return 0 if took_s <= _GOAL_S else 1


def _write(home: Path, runs: int, queries: int) -> Scope:
    """Runs of the step at 10 %, after shadow runs of the step before. Returns the step's scope."""
    clock = ManualClock()
    shadow = RolloutOrders(MemoryStateStore(clock=clock), clock=clock, actor="benchmark").start(Plan(), reason="").state
    assert shadow is not None  # noqa: S101 - it was started
    ten: RolloutState = replace(shadow, step=1)
    random, behaviour = np.random.default_rng(1), Behaviour()
    sizes = {True: Traffic.of(1000), False: Traffic.of(queries)}
    for number in range(_SHADOW_RUNS + runs):
        is_shadow = number < _SHADOW_RUNS
        write_batch(
            home,
            number,
            shadow if is_shadow else ten,
            behaviour,
            sizes[is_shadow],
            random,
            started_at=clock.utc_now(),
            finished_at=clock.utc_now() + timedelta(seconds=number),
        )
    return Scope(step=ten.at, number=ten.step, attempt=ten.attempt, entered_at=ten.entered_at)


if __name__ == "__main__":
    raise SystemExit(main())

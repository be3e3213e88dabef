"""What the rollout does with a healthy REDO and with broken ones: the real controller and gates over simulated batches.

    python benchmarks/rollout_sim.py [--runs 200] [--seed 1] [--queries 800] [--every-min 30]

Each rollout begins at shadow runs and goes on until it is complete, a gate has failed, or its time is over; after each
batch the gates are asked and the controller decides. A fault is there from the first shadow run on, or only where REDO
serves. docs/rollout-simulation.md says how to read the table. The goals are 1 % of healthy rollouts that are taken back
at most, and 95 % of the faults found before 25 %; the exit code says whether they were met.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.machine import describe
from benchmarks.simulated_batches import Behaviour, Traffic
from benchmarks.simulated_rollout import Course, Schedule, SimulatedRollout
from core.rollout.plan import Plan
from core.rollout.state import Status

_MOST_FALSE: Final = 0.01
_LEAST_FOUND: Final = 0.95
_EXPOSED: Final = 25.0  # percent; a fault is to be found before


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """How REDO does in a rollout.

    Attributes:
        name: of the scenario.
        behaviour: how REDO does.
        from_serving: whether it is healthy in shadow.
        number: of the behaviour, for the seed.
        has_goal: whether 95 % are to be found before 25 %. What lies between the gates' limits, comes in bursts that
            are rarer than a step is long, or begins at 25 % cannot be.
    """

    name: str
    behaviour: Behaviour
    from_serving: bool
    number: int
    has_goal: bool = True

    @property
    def begins(self) -> str:
        """When the fault does."""
        return "serving" if self.from_serving else "shadow"


HEALTHY: Final = Scenario(name="healthy", behaviour=Behaviour(), from_serving=False, number=0)

_FAILING: Final = Behaviour(failed=0.021)
_SLOW: Final = Behaviour(tail=0.12, tail_ms=370.0)
_WORSE: Final = Behaviour(recall=(0.6, 0.45), misinfo=(0.15, 0.25))
_BURSTS: Final = Behaviour(crashing_runs=0.1, crashed=0.1)
_SPARSE: Final = Behaviour(failed=0.006)
_LOSING: Final = Behaviour(lost_traces=0.01)

SCENARIOS: Final = (
    HEALTHY,
    Scenario(name="2 % more failures", behaviour=_FAILING, from_serving=False, number=1),
    Scenario(name="slow at p95", behaviour=_SLOW, from_serving=False, number=2),
    Scenario(name="worse evidence", behaviour=_WORSE, from_serving=False, number=3),
    Scenario(name="ledger loses 1 %", behaviour=_LOSING, from_serving=False, number=6),
    Scenario(name="2 % more failures", behaviour=_FAILING, from_serving=True, number=1),
    Scenario(name="slow at p95", behaviour=_SLOW, from_serving=True, number=2),
    Scenario(name="worse evidence", behaviour=_WORSE, from_serving=True, number=3),
    Scenario(name="bursts: 1 run in 10, 10 %", behaviour=_BURSTS, from_serving=True, number=4, has_goal=False),
    Scenario(name="0.5 % more failures", behaviour=_SPARSE, from_serving=True, number=5, has_goal=False),
    Scenario(name="ledger loses 1 %", behaviour=_LOSING, from_serving=True, number=6, has_goal=False),
)
"""All of them. A fault that the shadow runs have too is found there, so the hard ones begin with serving."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What all rollouts of a simulation have in common."""

    plan: Plan
    schedule: Schedule
    traffic: Traffic
    seed: int


def main(argv: list[str] | None = None) -> int:
    """Run the simulation and print its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=200, help="rollouts of each scenario")
    parser.add_argument("--seed", type=int, default=1, help="of all that is drawn")
    parser.add_argument("--queries", type=int, default=800, help="of a batch")
    parser.add_argument("--every-min", type=float, default=30.0, help="from one batch to the next, in minutes")
    parser.add_argument("--days", type=float, default=1.0, help="how long a rollout is given")
    parser.add_argument("--soak-h", type=float, help="how long each step lasts at least, in hours; default: the plan's")
    parser.add_argument("--least", type=int, help="queries that each arm needs at a step; default: the plan's")
    parser.add_argument("--only", action="append", metavar="TEXT", help="scenarios whose name has this text")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    arguments = parser.parse_args(argv)
    setup = Setup(
        plan=_plan(arguments.soak_h, arguments.least),
        schedule=_schedule(arguments.every_min * 60, arguments.days),
        traffic=Traffic.of(arguments.queries),
        seed=arguments.seed,
    )
    chosen = [s for s in SCENARIOS if not arguments.only or any(text in s.name for text in arguments.only)]
    print(describe("redo", "duckdb", "numpy", "scipy"), flush=True)
    print(_described(setup, arguments.runs), flush=True)
    begun, cpu = time.perf_counter(), time.process_time()
    courses = {scenario: simulate(scenario, arguments.runs, setup, jobs=arguments.jobs) for scenario in chosen}
    for line in report(courses):
        print(line)
    decisions = sum(course.batches for found in courses.values() for course in found)
    wall_s, cpu_s = time.perf_counter() - begun, time.process_time() - cpu
    print(f"\n{decisions:,} decisions in {wall_s:.0f} s", end="")
    print(
        f", {cpu_s / decisions * 1e3:.0f} ms of CPU each, drawing and writing the batches included"
        * (arguments.jobs == 1)
    )
    return 0 if all(is_met(scenario, found) for scenario, found in courses.items()) else 1


def simulate(scenario: Scenario, runs: int, setup: Setup, *, jobs: int = 1) -> list[Course]:
    """So many rollouts of a scenario. The same seed gives the same ones, whatever else is simulated."""
    if jobs == 1:
        return list(_some(setup, scenario, range(runs)))
    with ProcessPoolExecutor(jobs) as pool:
        parts = pool.map(partial(_listed, setup, scenario), [range(job, runs, jobs) for job in range(jobs)])
        return [course for part in parts for course in part]


def is_met(scenario: Scenario, courses: Sequence[Course]) -> bool:
    """Whether the scenario's goal is met."""
    if scenario is HEALTHY:
        return _share(courses, Status.ROLLED_BACK) <= _MOST_FALSE
    found = sum(_is_caught(course) and course.highest < _EXPOSED for course in courses) / len(courses)
    return found >= _LEAST_FOUND or not scenario.has_goal


def report(courses: dict[Scenario, list[Course]]) -> Iterator[str]:
    """The table, a line each."""
    healthy = courses.get(HEALTHY)
    if healthy:
        yield "\nhealthy REDO"
        yield f"  complete               {_share(healthy, Status.COMPLETE):7.1%}"
        yield f"  false rollbacks        {_share(healthy, Status.ROLLED_BACK):7.1%}"
        yield f"  false pauses           {_share(healthy, Status.PAUSED):7.1%}"
        yield f"  still waiting          {_share(healthy, Status.RUNNING):7.1%}"
        done = [course for course in healthy if course.status is Status.COMPLETE]
        if done:
            batches, hours = [course.batches for course in done], [course.hours for course in done]
            yield f"  batches and decisions to full, median and p95   {_two(batches)}"
            yield f"  hours to full, median and p95                   {_two(hours)}"
        yield f"  failed gates           {_causes(healthy)}"
    faults = {scenario: found for scenario, found in courses.items() if scenario is not HEALTHY}
    if not faults:
        return
    yield f"\n{'':25} {'fault':7} {'caught':>8} {'caught':>7} {'held':>6} {'full':>6} {'exposed':>13} {'failed':>6}"
    yield f"{'broken REDO':25} {'from':7} {'< 25 %':>8} {'later':>7} {'':>6} {'':>6} {'med.':>6} {'p95':>6} {'med.':>6}"
    for scenario, found in faults.items():
        yield _row(scenario, found)
    yield f"\n{'failed gates':33} of {len(next(iter(faults.values())))} rollouts"
    for scenario, found in faults.items():
        yield f"{scenario.name:25} {scenario.begins:7} {_causes(found)}"


def _row(scenario: Scenario, courses: Sequence[Course]) -> str:
    caught = [course for course in courses if _is_caught(course)]
    early = sum(course.highest < _EXPOSED for course in caught) / len(courses)
    held = _share(courses, Status.RUNNING)
    full = _share(courses, Status.COMPLETE)
    exposed = failures = f"{'':>6}"
    if caught:
        exposed = _two([course.exposed for course in caught])
        failures = f"{np.median([course.failures for course in caught]):6,.0f}"
    later = len(caught) / len(courses) - early
    line = f"{scenario.name:25} {scenario.begins:7} {early:8.1%} {later:7.1%} {held:6.1%} {full:6.1%} {exposed:>13}"
    return f"{line} {failures}" + ("" if is_met(scenario, courses) else "  goal missed")


def _causes(courses: Sequence[Course]) -> str:
    """Which gates failed, in how many rollouts."""
    causes = Counter(name for course in courses for name in course.failed)
    return ", ".join(f"{name} {count}" for name, count in causes.most_common()) or "none"


def _is_caught(course: Course) -> bool:
    return course.status in {Status.ROLLED_BACK, Status.PAUSED}


def _share(courses: Sequence[Course], status: Status) -> float:
    return sum(course.status is status for course in courses) / len(courses)


def _two(values: Sequence[float]) -> str:
    return f"{np.median(values):6,.0f} {np.quantile(values, 0.95, method='inverted_cdf'):6,.0f}"


def _listed(setup: Setup, scenario: Scenario, numbers: Sequence[int]) -> list[Course]:
    return list(_some(setup, scenario, numbers))


def _some(setup: Setup, scenario: Scenario, numbers: Sequence[int]) -> Iterator[Course]:
    simulated = SimulatedRollout(setup.plan, setup.schedule, setup.traffic)
    for number in numbers:
        seed = (setup.seed, scenario.number, scenario.from_serving, number)
        with tempfile.TemporaryDirectory() as home:
            yield simulated.run(Path(home), scenario.behaviour, from_serving=scenario.from_serving, seed=seed)


def _plan(soak_h: float | None, least: int | None) -> Plan:
    plan = Plan()
    steps = plan.steps
    if soak_h is not None:
        steps = tuple(replace(step, soak_s=soak_h * 3600) for step in steps)
    if least is not None:
        steps = tuple(replace(step, min_samples_per_arm=least) for step in steps)
    return replace(plan, steps=steps)


def _schedule(every_s: float, days: float) -> Schedule:
    return Schedule(every_s=every_s, run_s=every_s / 3, decide_s=every_s / 15, batches=round(days * 86_400 / every_s))


def _described(setup: Setup, runs: int) -> str:
    first = setup.plan.steps[1]
    steps = ", ".join(f"{step.percentage:g} %" for step in setup.plan.steps)
    return (
        f"rollouts  {runs} of each scenario, seed {setup.seed}; {setup.traffic.queries} queries every "
        f"{setup.schedule.every_s / 60:g} min, at most {setup.schedule.batches} batches\n"
        f"plan      {steps}; soak {first.soak_s / 3600:g} h, {first.min_samples_per_arm} queries of each arm"
    )


if __name__ == "__main__":
    raise SystemExit(main())

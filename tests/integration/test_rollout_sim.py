"""The rollout simulation, on a few rollouts."""

from __future__ import annotations

import pytest

from benchmarks.rollout_sim import HEALTHY, SCENARIOS, Scenario, Setup, is_met, main, report, simulate
from benchmarks.simulated_batches import Traffic
from benchmarks.simulated_rollout import Schedule
from core.rollout.plan import Plan
from core.rollout.state import Status
from tasks.gates.thresholds import Gate

BROKEN = Scenario(name="broken", behaviour=SCENARIOS[1].behaviour, from_serving=True, number=1)


@pytest.fixture(scope="module")
def setup() -> Setup:
    """Big batches, so that few are needed."""
    return Setup(plan=Plan(), schedule=Schedule(every_s=3600, batches=24), traffic=Traffic.of(2000), seed=5)


def test_a_healthy_redo_completes_and_a_broken_one_is_taken_back(setup: Setup) -> None:
    """All steps on evidence, or back from the first that serves, by the gate that counts failures."""
    courses = {HEALTHY: simulate(HEALTHY, 2, setup), BROKEN: simulate(BROKEN, 2, setup)}
    for course in courses[HEALTHY]:
        assert (course.status, course.highest, course.failed) == (Status.COMPLETE, 100, ())
    for course in courses[BROKEN]:
        assert (course.status, course.highest) == (Status.ROLLED_BACK, 10)
        assert Gate.FAILURE_RATE in course.failed
        assert 0 < course.failures < course.exposed
    assert is_met(HEALTHY, courses[HEALTHY])
    assert is_met(BROKEN, courses[BROKEN])
    assert not is_met(BROKEN, courses[HEALTHY])
    assert not is_met(HEALTHY, courses[BROKEN])
    assert any("100.0%" in line and line.startswith("broken") for line in report(courses))


def test_the_same_seed_gives_the_same_rollouts(setup: Setup) -> None:
    """Whatever has been simulated before."""
    first, second = simulate(BROKEN, 2, setup)
    assert simulate(BROKEN, 1, setup) == [first]
    assert first != second


def test_the_command_prints_its_table(capsys: pytest.CaptureFixture[str]) -> None:
    """And ends with 0 where the goals are met: a ledger that loses traces is found in shadow."""
    assert main(["--runs", "1", "--only", "ledger", "--queries", "1000", "--every-min", "60"]) == 0
    said = capsys.readouterr().out
    assert "ledger_integrity" in said
    assert "decisions in" in said

"""The rollout's values: verdicts, plans, reports, and what stored nonsense comes to."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

import orjson
import pytest

from core.errors import ConfigError, StoreError
from core.rollout.event import EventKind
from core.rollout.gates import GateKind, GateMode, GateReport
from core.rollout.plan import FailPolicy, Phase, Plan, Step
from core.rollout.reasons import duration_text
from core.rollout.state import RolloutState, apply, rollout_of
from core.rollout.verdict import Verdict, join, worst
from tests.rollout_samples import NOW, PLAN, Rollout, a_report, a_result


@pytest.fixture
def state() -> RolloutState:
    """A rollout at its first step."""
    rollout = Rollout()
    rollout.start()
    return rollout.state


class TestVerdict:
    """What checks come to together."""

    def test_the_order_is_that_of_the_design(self) -> None:
        """PASS < PENDING < INCONCLUSIVE < ERROR < FAIL."""
        assert [verdict.severity for verdict in Verdict] == [0, 1, 2, 3, 4]
        assert [verdict.value for verdict in Verdict] == ["pass", "pending", "inconclusive", "error", "fail"]

    def test_the_worse_one_wins(self) -> None:
        """Of two, and of many; of none nothing is known."""
        assert join(Verdict.PENDING, Verdict.INCONCLUSIVE) is Verdict.INCONCLUSIVE
        assert worst([Verdict.PASS, Verdict.FAIL, Verdict.ERROR]) is Verdict.FAIL
        assert worst([]) is Verdict.INCONCLUSIVE


class TestPlan:
    """Steps as data."""

    def test_the_default_is_the_guides(self) -> None:
        """0, 10, 25, 50, 100 %, the ledger from the second share on, shadow runs before the first one."""
        steps = Plan().steps
        assert [step.percentage for step in steps] == [0, 10, 25, 50, 100]
        assert [step.ledger_enabled for step in steps] == [False, False, True, True, True]
        assert [step.shadow for step in steps] == [True, False, False, False, False]
        assert [step.phase.value for step in steps] == ["infrastructure", "gradual", "gradual", "gradual", "full"]

    def test_what_is_written_is_read(self) -> None:
        """Through JSON, every field."""
        plan = replace(PLAN, on_guardrail_fail=FailPolicy.TO_ZERO, on_signal_fail=FailPolicy.STEP_BACK)
        assert Plan.from_dict(orjson.loads(orjson.dumps(plan.to_dict()))) == plan

    def test_what_is_missing_has_its_default(self) -> None:
        """A person writes what differs."""
        assert Plan.from_dict({}) == Plan()
        short = Plan.from_dict(
            {"steps": [{"phase": "infrastructure", "percentage": 0}, {"phase": "full", "percentage": 100}]}
        )
        assert [step.soak_s for step in short.steps] == [3600, 3600]
        assert short.first_exposed == short.last == 1

    @pytest.mark.parametrize(
        ("change", "told"),
        [
            ({"steps": []}, "steps: 0 steps, expected at least two"),
            ({"steps": [{"phase": "full", "percentage": 100}] * 2}, "the first one is full 100 %"),
            ({"steps": [{"phase": "infrastructure", "percentage": 0}] * 2}, "the last one is infrastructure 0 %"),
            ({"steps": [{"percentage": 0}]}, "steps[0].phase: missing"),
            ({"steps": [{"phase": "slow", "percentage": 0}]}, "'slow' is not one of infrastructure, gradual, full"),
            ({"steps": [{"phase": "infrastructure", "percentage": "0"}]}, "'0' is not a number"),
            ({"steps": {"phase": "full"}}, "is not a list"),
            ({"steps": [7]}, "steps[0]: 7 is not an object"),
            ({"rollback_soak_s": -1}, "rollback_soak_s: -1 is not at least 0 seconds"),
            ({"rollback_soak_s": True}, "rollback_soak_s: True is not a number"),
            ({"on_signal_fail": "shout"}, "'shout' is not one of step_back, to_zero, pause"),
        ],
    )
    def test_a_plan_that_makes_no_sense_is_refused(self, change: dict[str, Any], told: str) -> None:
        """The message names the field."""
        with pytest.raises(ConfigError) as caught:
            Plan.from_dict(change)
        assert told in str(caught.value)

    @pytest.mark.parametrize(
        ("number", "change", "told"),
        [
            (2, {"percentage": 10}, "10 is not more than the 10 before it"),
            (2, {"percentage": 12.3456}, "at most three decimals"),
            (2, {"percentage": 100}, "expected full at 100 % and no other phase at 100 %"),
            (1, {"phase": Phase.INFRASTRUCTURE}, "expected infrastructure at 0 %"),
            (3, {"ledger_enabled": False}, "the step before has the ledger on"),
            (1, {"min_samples_per_arm": 0}, "steps[1].min_samples_per_arm: 0 is not at least 1"),
            (1, {"soak_s": float("inf")}, "steps[1].soak_s: inf is not at least 0 seconds"),
        ],
    )
    def test_a_step_that_makes_no_sense_is_refused(self, number: int, change: dict[str, Any], told: str) -> None:
        """Shares rise, phases keep their order, a ledger that is on stays on."""
        steps = [replace(step, **change) if i == number else step for i, step in enumerate(PLAN.steps)]
        with pytest.raises(ConfigError) as caught:
            Plan(steps=tuple(steps))
        assert told in str(caught.value)

    def test_phases_keep_their_order(self) -> None:
        """Nothing comes back to 0 % on the way up."""
        with pytest.raises(ConfigError, match="infrastructure cannot follow gradual"):
            Plan(steps=(PLAN.steps[0], PLAN.steps[1], PLAN.steps[0], PLAN.steps[4]))

    def test_at_100_percent_nobody_is_left_for_legacy(self) -> None:
        """So the last step asks for samples of REDO alone, unless legacy is computed beside it."""
        last = PLAN.steps[-1]
        assert (last.arms, replace(last, shadow=True).arms) == (("redo",), ("redo", "legacy"))
        assert Step(phase=Phase.GRADUAL, percentage=12.5).name == "gradual 12.5 %"


class TestReport:
    """What the gates say."""

    def test_what_is_written_is_read(self, state: RolloutState) -> None:
        """Through JSON, every field."""
        report = a_report(state, a_result(Verdict.FAIL), a_result(mode=GateMode.OBSERVE), now=NOW)
        assert GateReport.from_dict(orjson.loads(orjson.dumps(report.to_dict()))) == report

    def test_the_worst_enforced_gate_decides(self, state: RolloutState) -> None:
        """A gate that is only observed decides nothing."""
        observed = a_result(Verdict.FAIL, mode=GateMode.OBSERVE)
        assert a_report(state, a_result(), observed, now=NOW).verdict is Verdict.PASS
        assert a_report(state, a_result(), a_result(Verdict.ERROR), observed, now=NOW).verdict is Verdict.ERROR
        assert a_report(state, observed, now=NOW).verdict is Verdict.INCONCLUSIVE

    def test_nothing_passes_that_rests_on_nothing(self, state: RolloutState) -> None:
        """A pass with n = 0 is none; a failure stays one."""
        assert a_report(state, a_result(n=0), now=NOW).verdict is Verdict.INCONCLUSIVE
        assert a_result(Verdict.FAIL, n=0).counted is Verdict.FAIL

    def test_failures_are_told_by_kind(self, state: RolloutState) -> None:
        """Guardrails and signals lead to different things; what is observed is neither."""
        report = a_report(
            state,
            a_result(Verdict.FAIL, name="one"),
            a_result(Verdict.FAIL, name="two", kind=GateKind.SIGNAL),
            a_result(Verdict.FAIL, name="three", mode=GateMode.OBSERVE),
            now=NOW,
        )
        assert [gate.name for gate in report.failed(GateKind.GUARDRAIL)] == ["one"]
        assert [gate.name for gate in report.failed(GateKind.SIGNAL)] == ["two"]

    @pytest.mark.parametrize("name", ["created_at", "window_start", "window_end"])
    def test_times_have_a_zone(self, state: RolloutState, name: str) -> None:
        """Without one they would be other times on each machine."""
        naive: dict[str, Any] = {name: datetime(2030, 1, 1)}  # noqa: DTZ001 - that it is refused is the point
        with pytest.raises(ValueError, match=f"{name}: 2030-01-01T00:00:00 has no time zone"):
            a_report(state, now=NOW, **naive)

    @pytest.mark.parametrize(
        ("change", "told"),
        [
            ({"samples": {"redo": -1}}, "gate report.samples.redo: -1 is not a whole number"),
            ({"samples": 3}, "samples: 3 is not an object"),
            ({"created_at": "yesterday"}, "'yesterday' is not a date and time with a time zone"),
            ({"created_at": 3}, "3 is not a date and time"),
            ({"results": [{"name": "x"}]}, "results[0].kind: missing"),
            ({"report_id": None}, "report_id: missing"),
        ],
    )
    def test_a_report_that_cannot_be_read_says_where(
        self, state: RolloutState, change: dict[str, Any], told: str
    ) -> None:
        """The field, its value, and what was expected."""
        with pytest.raises(StoreError) as caught:
            GateReport.from_dict(a_report(state, now=NOW).to_dict() | change)
        assert told in str(caught.value)


class TestStoredState:
    """The rollout inside the flags."""

    def test_no_rollout_is_none(self) -> None:
        """Values of before the rollout have no such key."""
        assert rollout_of(None) is rollout_of({}) is rollout_of({"rollout": None}) is None

    @pytest.mark.parametrize(
        ("change", "told"),
        [
            ({"step": 5}, "stored flags, rollout.step: 5 is not a step of the plan, 0 to 4"),
            ({"status": "asleep"}, "status: 'asleep' is not one of running"),
            ({"attempt": 0}, "attempt: 0 is not a whole number, at least 1"),
            ({"emergency": "no"}, "emergency: 'no' is not true or false"),
            ({"parts_off": ["engine"]}, "parts_off: 'engine' is not one of orchestrator, ledger"),
            ({"parts_off": [1]}, "is not a list of texts"),
            ({"event": None}, "stored flags, rollout.event: None is not an object"),
            ({"plan": {"steps": []}}, "stored flags, rollout: rollout plan.steps: 0 steps"),
            ({"approval": {"actor": 1}}, "approval.actor: 1 is not a text"),
        ],
    )
    def test_nonsense_says_where_it_is(self, state: RolloutState, change: dict[str, Any], told: str) -> None:
        """Somebody has edited the stored value."""
        with pytest.raises(StoreError) as caught:
            rollout_of({"rollout": state.to_dict() | change})
        assert told in str(caught.value)

    def test_an_event_needs_something_to_happen_to(self, state: RolloutState) -> None:
        """Only one that carries a plan begins a rollout."""
        event = replace(state.event, kind=EventKind.PAUSED, plan=None)
        with pytest.raises(ValueError, match="event 1, paused: there is no rollout"):
            apply(None, event)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (119.4, "119 s"), (120, "2 min"), (3600, "1 h"), (11_100, "3 h 5 min")]
)
def test_durations_are_for_people(seconds: float, text: str) -> None:
    """Seconds, then minutes, then hours and minutes."""
    assert duration_text(seconds) == text

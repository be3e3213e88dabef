"""The rules of the rollout: what goes up on what evidence, what goes down, what holds, and why it says so."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from core.breaker.algebra import BreakerConfig, BreakerState, Cause, open_again
from core.fallbacks.manager import LEDGER_BREAKER, ORCHESTRATOR_BREAKER
from core.rollout.decision import Transition
from core.rollout.event import EventKind, Part
from core.rollout.gates import GateKind, GateMode
from core.rollout.orders import Outcome
from core.rollout.plan import FailPolicy, Plan
from core.rollout.reasons import Hold, HoldCode, explain
from core.rollout.state import Status
from core.rollout.verdict import Verdict
from tests.rollout_samples import PLAN, Rollout, a_report, a_result

FAIL = a_result(Verdict.FAIL)
SIGNAL = a_result(Verdict.FAIL, kind=GateKind.SIGNAL, name="latency")
SECOND = timedelta(seconds=1)


def codes(outcome: Outcome) -> list[HoldCode]:
    """Why nothing changed."""
    assert isinstance(outcome.decision, Hold)
    return [reason.code for reason in outcome.decision.reasons]


def kind(outcome: Outcome) -> EventKind:
    """What happened."""
    assert isinstance(outcome.decision, Transition)
    assert outcome.is_written
    return outcome.decision.event.kind


@pytest.fixture
def rollout() -> Rollout:
    """A rollout that has not begun."""
    return Rollout()


def at(step: int) -> Rollout:
    """A rollout that has come to a step."""
    rollout = Rollout()
    rollout.climb(step)
    return rollout


class TestUp:
    """From nobody to everybody."""

    def test_it_begins_with_everything_off(self, rollout: Rollout) -> None:
        """Whatever was on before; overrides for everybody end, those of a key stay."""
        until = "2031-01-01T00:00:00+00:00"
        override: dict[str, object] = {"flag": "rollout_percentage", "value": 50, "expires_at": until}
        mine = override | {"key": "s-1"}
        rollout.edit(redo=True, ledger=True, percentage=100, overrides=[override, mine], later=3)
        rollout.start()
        assert rollout.flags["overrides"] == [mine]
        assert (rollout.exposed, rollout.flags["ledger.enabled"], rollout.flags["later"]) == (0, False, 3)
        assert (rollout.state.phase.value, rollout.state.attempt) == ("infrastructure", 1)

    def test_it_goes_up_step_by_step(self, rollout: Rollout) -> None:
        """Each passed step opens the next one, with its flags; a person opens the last one."""
        rollout.start()
        seen = []
        for _ in range(4):
            seen.append((rollout.exposed, rollout.flags["ledger.enabled"]))
            outcome = rollout.advance()
        assert seen == [(0, False), (10, False), (25, True), (50, True)]
        assert kind(outcome) is EventKind.APPROVAL_REQUESTED
        assert codes(rollout.advance()) == [HoldCode.APPROVAL]
        rollout.orders.approve(attempt=1, step=3, reason="looks good")
        assert kind(rollout.advance()) is EventKind.PROMOTED
        assert rollout.exposed == 100
        assert kind(rollout.advance(samples=10)) is EventKind.COMPLETED
        assert (rollout.state.status, rollout.state.highest_passed) == (Status.COMPLETE, 4)
        assert codes(rollout.advance()) == [HoldCode.COMPLETE]

    def test_evidence_stands_in_the_event(self) -> None:
        """The report's id and what it came to, for the step that was left."""
        event = at(1).state.event
        assert event.evidence == ("report-1-0",)
        assert event.gate is not None
        assert (event.gate.verdict, event.gate.step, event.gate.samples["redo"]) == (Verdict.PASS, 0, 10)
        assert event.reason == "infrastructure 0 % passed"

    def test_a_person_may_say_no_by_saying_nothing(self) -> None:
        """An approval that is never given holds for ever, and a failure steps back meanwhile."""
        rollout = at(3)
        rollout.advance()
        assert rollout.state.status is Status.AWAITING_APPROVAL
        assert kind(rollout.advance(FAIL)) is EventKind.STEPPED_BACK
        assert rollout.exposed == 25


class TestEvidence:
    """What lets nothing through."""

    @pytest.mark.parametrize(
        ("changes", "code", "verdict"),
        [
            ({"attempt": 2}, HoldCode.OTHER_STEP, Verdict.INCONCLUSIVE),
            ({"step": 2}, HoldCode.OTHER_STEP, Verdict.INCONCLUSIVE),
            ({"phase": "full"}, HoldCode.OTHER_STEP, Verdict.INCONCLUSIVE),
            ({"samples": 9}, HoldCode.SAMPLES, Verdict.PENDING),
        ],
    )
    def test_a_report_of_something_else_or_of_too_little(
        self, changes: dict[str, Any], code: HoldCode, verdict: Verdict
    ) -> None:
        """Another phase, attempt or step is nothing; too few samples are to come."""
        outcome = at(1).advance(**changes)
        assert set(codes(outcome)) == {code}
        assert isinstance(outcome.decision, Hold)
        assert outcome.decision.verdict is verdict

    @pytest.mark.parametrize(
        ("created", "start", "end", "told"),
        [
            (-4000, 0, 0, "is 1 h 6 min old, at most 1 h counts"),
            (61, 0, 0, "which is still to come"),
            (0, -1, 0, "has data from 2029-12-31T23:59:59+00:00 on"),
            (0, 5, 4, "ends before it begins"),
        ],
    )
    def test_a_report_of_another_time(self, created: int, start: int, end: int, told: str) -> None:
        """Too old, from the future, over data of before the step, or over no time at all."""
        rollout = Rollout()
        rollout.start()
        began = rollout.state.entered_at
        rollout.clock.advance(7200)
        report = a_report(
            rollout.state,
            now=rollout.now,
            created_at=rollout.now + created * SECOND,
            window_start=began + start * SECOND,
            window_end=began + end * SECOND,
        )
        outcome = rollout.orders.advance(report)
        assert codes(outcome) == [HoldCode.STALE_REPORT]
        assert isinstance(outcome.decision, Hold)
        assert told in outcome.decision.reasons[0].text

    @pytest.mark.parametrize("verdict", [verdict for verdict in Verdict if verdict not in {Verdict.PASS, Verdict.FAIL}])
    def test_every_verdict_but_pass_holds(self, verdict: Verdict) -> None:
        """One gate is enough."""
        outcome = at(1).advance(a_result(), a_result(verdict))
        assert codes(outcome) == [HoldCode.GATE]
        assert isinstance(outcome.decision, Hold)
        assert outcome.decision.verdict is verdict

    def test_no_report_and_no_gates_hold(self) -> None:
        """A crashed evaluation brings none; one that enforces nothing shows nothing; a pass over nothing is none."""
        rollout = at(1)
        rollout.clock.advance(60)
        assert codes(rollout.orders.advance(None)) == [HoldCode.NO_REPORT]
        assert codes(rollout.advance(a_result(mode=GateMode.OBSERVE))) == [HoldCode.NO_GATES]
        assert codes(rollout.advance(a_result(n=0))) == [HoldCode.GATE]

    def test_time_must_pass(self) -> None:
        """The soak is counted from when the step began, and its last second counts."""
        rollout = at(1)
        assert codes(rollout.advance(after_s=59)) == [HoldCode.SOAK]
        assert kind(rollout.advance(after_s=1)) is EventKind.PROMOTED

    def test_both_arms_must_have_answered(self) -> None:
        """At 100 % legacy has nobody left, so there REDO alone counts."""
        one = at(1).advance(samples={"redo": 10})
        assert codes(one) == [HoldCode.SAMPLES]
        assert kind(at(4).advance(samples={"redo": 10})) is EventKind.COMPLETED

    @pytest.mark.parametrize("breaker", [ORCHESTRATOR_BREAKER, LEDGER_BREAKER])
    @pytest.mark.parametrize("how", ["open", "forced", "unreadable"])
    def test_breakers_must_be_closed(self, breaker: str, how: str) -> None:
        """Open, forced open, or not to be read."""
        rollout = at(1)
        stored: dict[str, dict[str, object]] = {
            "open": open_again(BreakerState(), BreakerConfig(), cause=Cause.FAILURES, now=0, random=0).to_dict(),
            "forced": {"mode": "forced_open"},
            "unreadable": {"mode": "sideways"},
        }
        rollout.store.put(breaker, stored[how])
        outcome = rollout.advance()
        assert codes(outcome) == [HoldCode.BREAKER]
        assert isinstance(outcome.decision, Hold)
        assert outcome.decision.reasons[0].name == breaker


class TestFailures:
    """What a failed gate leads to."""

    @pytest.mark.parametrize(("step", "exposed"), [(4, 50), (3, 25), (2, 10), (1, 0), (0, 0)])
    def test_a_guardrail_steps_back(self, step: int, exposed: int) -> None:
        """By one step, or to nobody from the first one; then nothing rises without `resume`, on whatever evidence."""
        rollout = at(step)
        assert kind(rollout.advance(FAIL)) is EventKind.STEPPED_BACK
        assert (rollout.exposed, rollout.state.status, rollout.state.attempt) == (exposed, Status.ROLLED_BACK, 2)
        assert codes(rollout.advance()) == ([HoldCode.NEEDS_RESUME, HoldCode.APPROVAL][: 2 if step == 4 else 1])
        assert rollout.exposed == exposed

    def test_it_steps_back_once_for_each_report(self) -> None:
        """The same report again is of another attempt; a new one that fails goes on down, to nobody at last."""
        rollout = at(3)
        rollout.clock.advance(60)
        report = a_report(rollout.state, FAIL, now=rollout.now)
        rollout.orders.advance(report)
        assert HoldCode.OTHER_STEP in codes(rollout.orders.advance(report))
        assert rollout.exposed == 25
        for exposed in (10, 0):
            rollout.advance(FAIL)
            assert rollout.exposed == exposed
        assert HoldCode.GATE in codes(rollout.advance(FAIL))

    def test_a_failed_step_has_not_passed_any_more(self) -> None:
        """So `resume` goes no higher than the step below it."""
        rollout = at(3)
        rollout.advance(FAIL)
        assert rollout.state.highest_passed == 2

    def test_a_failure_counts_however_old_it_is(self) -> None:
        """It failed here: age only takes a pass away."""
        rollout = at(2)
        report = a_report(rollout.state, FAIL, now=rollout.now)
        rollout.clock.advance(86_400)
        assert kind(rollout.orders.advance(report)) is EventKind.STEPPED_BACK

    def test_a_signal_pauses(self) -> None:
        """The share stays, until somebody resumes; what fails meanwhile still steps back."""
        rollout = at(2)
        assert kind(rollout.advance(SIGNAL)) is EventKind.PAUSED
        assert (rollout.exposed, rollout.state.status) == (25, Status.PAUSED)
        assert codes(rollout.advance()) == [HoldCode.NEEDS_RESUME]
        assert HoldCode.NEEDS_RESUME in codes(rollout.advance(SIGNAL))
        assert kind(rollout.advance(FAIL)) is EventKind.STEPPED_BACK

    def test_a_guardrail_is_stronger_than_a_signal(self) -> None:
        """Where both fail."""
        assert kind(at(2).advance(SIGNAL, FAIL)) is EventKind.STEPPED_BACK

    def test_what_is_only_observed_leads_to_nothing(self) -> None:
        """However badly it failed."""
        assert kind(at(2).advance(a_result(), replace(FAIL, mode=GateMode.OBSERVE))) is EventKind.PROMOTED

    def test_policies_are_the_plans(self, rollout: Rollout) -> None:
        """Straight to nobody, a pause for a guardrail, or a step back for a signal."""
        rollout.start(replace(PLAN, on_guardrail_fail=FailPolicy.TO_ZERO, on_signal_fail=FailPolicy.STEP_BACK))
        for _ in range(3):
            rollout.advance()
        assert kind(rollout.advance(SIGNAL)) is EventKind.STEPPED_BACK
        assert rollout.exposed == 25
        rollout.advance(FAIL)
        assert (rollout.exposed, rollout.state.step) == (0, 0)
        other = Rollout()
        other.start(replace(PLAN, on_guardrail_fail=FailPolicy.PAUSE))
        assert kind(other.advance(FAIL)) is EventKind.PAUSED
        assert HoldCode.NEEDS_RESUME in codes(other.advance(FAIL))


class TestHandEdits:
    """Flags that somebody changes beside the rollout."""

    @pytest.mark.parametrize(
        ("edit", "exposed"),
        [
            ({"percentage": 5}, 5),
            ({"redo": False}, 0),
            ({"ledger": False}, 25),
            ({"redo": False, "ledger": False}, 0),
            ({"killed": True}, 0),
        ],
    )
    def test_lower_counts_as_paused(self, edit: dict[str, Any], exposed: int) -> None:
        """The flags stay as they were set, until `resume` puts them back to the step."""
        rollout = at(2)
        rollout.edit(**edit)
        before = {name: value for name, value in rollout.flags.items() if name != "rollout"}
        assert kind(rollout.advance()) is EventKind.HAND_EDITED
        assert {name: value for name, value in rollout.flags.items() if name != "rollout"} == before
        assert rollout.exposed == exposed
        assert HoldCode.NEEDS_RESUME in codes(rollout.advance())
        rollout.orders.resume(reason="on we go")
        assert (rollout.exposed, rollout.flags["ledger.enabled"], rollout.state.attempt) == (25, True, 2)
        assert kind(rollout.advance()) is EventKind.PROMOTED

    @pytest.mark.parametrize(
        "edit",
        [
            {"percentage": 30},
            {"percentage": None},
            {"percentage": "half"},
            {"redo": None},
            {"percentage": 5, "ledger": None},
            {"overrides": [{"flag": "rollout_percentage", "value": 1, "expires_at": "2031-01-01T00:00:00+00:00"}]},
            {"overrides": "nonsense"},
        ],
    )
    def test_anything_else_holds(self, edit: dict[str, Any]) -> None:
        """Higher, not set, nonsense, or an override for everybody: nobody can tell what the step does."""
        rollout = at(2)
        rollout.edit(**edit)
        before = rollout.flags
        outcome = rollout.advance()
        assert set(codes(outcome)) == {HoldCode.FLAGS_DIFFER}
        assert isinstance(outcome.decision, Hold)
        assert outcome.decision.verdict is Verdict.INCONCLUSIVE
        assert rollout.flags == before

    def test_overrides_of_one_key_or_of_the_past_are_let_be(self) -> None:
        """They are how somebody tries REDO alone."""
        rollout = at(2)
        mine = {"flag": "rollout_percentage", "value": 1, "expires_at": "2031-01-01T00:00:00+00:00", "key": "s-1"}
        past = {"flag": "rollout_percentage", "value": 1, "expires_at": "2029-01-01T00:00:00+00:00"}
        rollout.edit(overrides=[mine, past])
        assert kind(rollout.advance()) is EventKind.PROMOTED

    @pytest.mark.parametrize(
        ("edit", "exposed"),
        [({"percentage": 5}, 5), ({"percentage": 90}, 10), ({"redo": False}, 0), ({"percentage": "half"}, 0)],
    )
    def test_a_step_back_never_raises_what_a_hand_has_lowered(self, edit: dict[str, Any], exposed: float) -> None:
        """Each flag becomes the lower one of what is stored and what the step says."""
        rollout = at(2)
        rollout.edit(**edit)
        assert kind(rollout.advance(FAIL)) is EventKind.STEPPED_BACK
        assert rollout.exposed == exposed

    def test_a_rollback_clears_what_would_undo_it(self) -> None:
        """Overrides for everybody, and records that keep everybody from reading the rest."""
        rollout = at(2)
        until = "2031-01-01T00:00:00+00:00"
        mine = {"flag": "ledger.enabled", "value": True, "expires_at": until, "key": "s-1"}
        bad = [
            {"flag": "orchestrator.redo_enabled", "value": True, "expires_at": until},
            {"flag": "ledger.enabled", "value": "half", "expires_at": until, "key": "s-2"},
            7,
        ]
        rollout.edit(overrides=[mine, *bad])
        rollout.orders.rollback_gradual(reason="back")
        assert rollout.flags["overrides"] == [mine]
        rollout.orders.rollback_part(Part.LEDGER, reason="off")
        assert rollout.flags["overrides"] == []


class TestClock:
    """Times that do not go forward."""

    def test_a_clock_that_is_set_back_does_not_shorten_the_soak(self) -> None:
        """The step begins anew, by the clock as it is now, and evidence of before counts no more."""
        rollout = at(1)
        rollout.sleep(timedelta(days=-1))
        assert kind(rollout.advance(after_s=0)) is EventKind.SOAK_RESTARTED
        assert rollout.state.entered_at == rollout.now
        assert codes(rollout.advance(after_s=59)) == [HoldCode.SOAK]
        assert kind(rollout.advance(after_s=1)) is EventKind.PROMOTED

    def test_clocks_of_two_machines_may_differ_a_little(self) -> None:
        """Below the skew of the plan nothing begins anew."""
        rollout = at(1)
        rollout.sleep(timedelta(seconds=-60))
        assert codes(rollout.advance(after_s=0)) == [HoldCode.SOAK]

    def test_a_rollback_does_not_wait_for_a_clock_that_was_set_back(self) -> None:
        """Down is the safe way."""
        rollout = at(3)
        rollout.orders.rollback_gradual(reason="back")
        rollout.sleep(timedelta(days=-1))
        assert kind(rollout.advance(after_s=0)) is EventKind.STEPPED_DOWN
        assert rollout.exposed == 10


class TestGradualRollback:
    """Down the steps, with time between."""

    def test_it_walks_down_to_nobody(self) -> None:
        """The first step at once, each further one after its time, without any evidence."""
        rollout = at(3)
        outcome = rollout.orders.rollback_gradual(reason="too slow", actor="bob")
        assert kind(outcome) is EventKind.ROLLBACK_BEGUN
        assert (rollout.exposed, rollout.state.status, rollout.state.attempt) == (25, Status.ROLLING_BACK, 2)
        rollout.clock.advance(29)
        assert HoldCode.ROLLING_BACK in codes(rollout.orders.advance(None))
        rollout.clock.advance(1)
        assert kind(rollout.orders.advance(None)) is EventKind.STEPPED_DOWN
        assert (rollout.exposed, rollout.flags["ledger.enabled"]) == (10, False)
        rollout.clock.advance(30)
        rollout.orders.advance(None)
        assert (rollout.exposed, rollout.state.status, rollout.state.step) == (0, Status.ROLLED_BACK, 0)
        assert codes(rollout.advance()) == [HoldCode.NEEDS_RESUME]

    def test_repeating_it_changes_nothing(self) -> None:
        """On the way down, and at the end of it."""
        rollout = at(1)
        rollout.orders.rollback_gradual(reason="back")
        version = rollout.store.version("flags")
        assert codes(rollout.orders.rollback_gradual(reason="back")) == [HoldCode.ALREADY]
        other = at(3)
        other.orders.rollback_gradual(reason="back")
        assert codes(other.orders.rollback_gradual(reason="back")) == [HoldCode.ALREADY]
        assert (rollout.store.version("flags"), other.exposed) == (version, 25)

    def test_a_guardrail_that_fails_hurries_it(self) -> None:
        """The next step down comes at once."""
        rollout = at(3)
        rollout.orders.rollback_gradual(reason="back")
        assert kind(rollout.advance(FAIL, after_s=0)) is EventKind.STEPPED_DOWN

    def test_it_lowers_what_a_hand_has_raised_since(self) -> None:
        """Also where the rollout itself stands at nobody already."""
        rollout = at(1)
        rollout.orders.rollback_gradual(reason="back")
        rollout.edit(redo=True, percentage=100)
        assert kind(rollout.orders.rollback_gradual(reason="back")) is EventKind.ROLLBACK_BEGUN
        assert (rollout.exposed, rollout.state.status) == (0, Status.ROLLED_BACK)

    def test_from_nobody_it_only_stops(self) -> None:
        """The first step has none below it."""
        rollout = at(0)
        rollout.orders.rollback_gradual(reason="back")
        assert (rollout.state.status, rollout.state.step) == (Status.ROLLED_BACK, 0)


class TestPartRollback:
    """One component alone."""

    @pytest.mark.parametrize(("part", "exposed", "ledger"), [(Part.ORCHESTRATOR, 0, True), (Part.LEDGER, 25, False)])
    def test_it_takes_one_out_and_leaves_the_other(self, part: Part, exposed: int, *, ledger: bool) -> None:
        """Nothing rises after it; `resume` brings the component back."""
        rollout = at(2)
        assert kind(rollout.orders.rollback_part(part, reason="in the way")) is EventKind.PART_OFF
        assert (rollout.exposed, rollout.flags["ledger.enabled"]) == (exposed, ledger)
        assert HoldCode.NEEDS_RESUME in codes(rollout.advance())
        assert codes(rollout.orders.rollback_part(part, reason="again")) == [HoldCode.ALREADY]
        rollout.orders.resume(reason="repaired", step=1)
        assert (rollout.exposed, rollout.state.parts_off) == (10, frozenset())

    def test_both_can_be_out(self) -> None:
        """One after the other; the second keeps the first."""
        rollout = at(2)
        for part in Part:
            rollout.orders.rollback_part(part, reason="off")
        assert rollout.state.parts_off == set(Part)
        assert (rollout.exposed, rollout.flags["ledger.enabled"]) == (0, False)

    def test_a_gradual_rollback_goes_on_meanwhile(self) -> None:
        """It is still on its way down, without that component."""
        rollout = at(3)
        rollout.orders.rollback_gradual(reason="back")
        rollout.orders.rollback_part(Part.LEDGER, reason="off")
        assert rollout.state.status is Status.ROLLING_BACK
        rollout.advance(after_s=30)
        assert (rollout.exposed, rollout.state.parts_off) == (10, frozenset({Part.LEDGER}))


class TestResume:
    """Going on."""

    def test_after_an_emergency_it_begins_at_the_first_share(self) -> None:
        """Or at the step that is named, up to the highest one that has passed."""
        for step, exposed in ((None, 10), (0, 0), (2, 25)):
            rollout = at(3)
            rollout.orders.rollback_emergency(reason="fire")
            outcome = rollout.orders.resume(reason="out", step=step)
            assert kind(outcome) is EventKind.RESUMED
            assert (rollout.exposed, rollout.state.attempt, rollout.state.status) == (exposed, 3, Status.RUNNING)

    @pytest.mark.parametrize("step", [3, 4, 99, -1])
    def test_it_goes_no_higher_than_what_has_passed(self, step: int) -> None:
        """The step that was being tried has not."""
        rollout = at(3)
        rollout.orders.rollback_emergency(reason="fire")
        assert codes(rollout.orders.resume(reason="out", step=step)) == [HoldCode.REFUSED]
        assert rollout.exposed == 0

    def test_where_nothing_has_passed_it_begins_at_the_beginning(self) -> None:
        """The first share needs a first phase that has passed."""
        rollout = at(0)
        rollout.orders.rollback_emergency(reason="fire")
        rollout.orders.resume(reason="out")
        assert (rollout.exposed, rollout.state.step) == (0, 0)

    def test_after_a_step_back_it_stays_where_it_is(self) -> None:
        """That share is served already; fresh evidence is needed for more."""
        rollout = at(3)
        rollout.advance(FAIL)
        rollout.orders.resume(reason="repaired")
        assert (rollout.exposed, rollout.state.attempt) == (25, 3)

    def test_it_ends_a_gradual_rollback(self) -> None:
        """At the step where it is."""
        rollout = at(3)
        rollout.orders.rollback_gradual(reason="back")
        rollout.orders.resume(reason="no, not so bad")
        rollout.clock.advance(30)
        rollout.orders.advance(None)
        assert (rollout.exposed, rollout.state.status) == (25, Status.RUNNING)

    def test_old_evidence_is_worth_nothing(self) -> None:
        """Neither a report nor an approval of the attempt before."""
        rollout = at(3)
        rollout.advance()
        rollout.orders.approve(attempt=1, step=3, reason="yes")
        old = a_report(rollout.state, now=rollout.now)
        rollout.orders.pause(reason="wait")
        rollout.orders.resume(reason="on")
        rollout.clock.advance(60)
        assert HoldCode.OTHER_STEP in codes(rollout.orders.advance(old))
        assert kind(rollout.advance()) is EventKind.APPROVAL_REQUESTED
        assert rollout.exposed == 50

    def test_there_must_be_something_to_resume(self, rollout: Rollout) -> None:
        """Not where there is no rollout, nor where all is as it should be."""
        assert codes(rollout.orders.resume(reason="on")) == [HoldCode.NOT_STARTED]
        assert codes(at(1).orders.resume(reason="on")) == [HoldCode.ALREADY]


class TestOrders:
    """Orders that cannot be carried out, and why."""

    def test_a_rollout_under_way_is_not_started_over(self) -> None:
        """Roll it back first; a changed plan changes nothing of a rollout that runs."""
        rollout = at(1)
        assert codes(rollout.orders.start(Plan(), reason="anew", over_old=True)) == [HoldCode.REFUSED]
        assert rollout.state.plan == PLAN

    def test_an_old_rollout_is_replaced_where_one_says_so(self) -> None:
        """Attempts go on being counted, so that nothing of the old one is evidence for the new one."""
        rollout = at(1)
        rollout.advance(FAIL)
        assert codes(rollout.orders.start(Plan(), reason="anew")) == [HoldCode.REFUSED]
        assert kind(rollout.orders.start(Plan(), reason="anew", over_old=True)) is EventKind.STARTED
        assert (rollout.state.attempt, rollout.state.highest_passed, rollout.state.plan) == (3, -1, Plan())

    @pytest.mark.parametrize("part", [None, *Part])
    def test_nothing_starts_over_an_emergency_or_a_missing_part(self, part: Part | None) -> None:
        """Their breakers are forced open, and only `resume` lets them go."""
        rollout = at(1)
        if part is None:
            rollout.orders.rollback_emergency(reason="fire")
        else:
            rollout.orders.rollback_part(part, reason="off")
        assert codes(rollout.orders.start(PLAN, reason="anew", over_old=True)) == [HoldCode.REFUSED]

    def test_an_approval_is_for_one_step_of_one_attempt(self) -> None:
        """Another one is stale; one that nobody waits for is refused; one twice is one."""
        rollout = at(3)
        assert codes(rollout.orders.approve(attempt=1, step=3, reason="yes")) == [HoldCode.REFUSED]
        rollout.advance()
        for attempt, step in ((2, 3), (1, 2)):
            outcome = rollout.orders.approve(attempt=attempt, step=step, reason="yes")
            assert codes(outcome) == [HoldCode.STALE_APPROVAL]
        assert kind(rollout.orders.approve(attempt=1, step=3, reason="yes")) is EventKind.APPROVED
        assert codes(rollout.orders.approve(attempt=1, step=3, reason="yes")) == [HoldCode.ALREADY]

    def test_an_approval_alone_lets_nothing_through(self) -> None:
        """All must still be well when the rollout goes on."""
        rollout = at(3)
        rollout.advance()
        rollout.orders.approve(attempt=1, step=3, reason="yes")
        assert codes(rollout.advance(a_result(Verdict.ERROR))) == [HoldCode.GATE]
        assert rollout.exposed == 50

    def test_a_pause_is_for_a_rollout_that_moves(self) -> None:
        """One that goes down is not stopped by it."""
        rollout = at(3)
        assert kind(rollout.orders.pause(reason="wait")) is EventKind.PAUSED
        assert codes(rollout.orders.pause(reason="wait")) == [HoldCode.ALREADY]
        rollout.orders.rollback_gradual(reason="back")
        assert codes(rollout.orders.pause(reason="wait")) == [HoldCode.REFUSED]

    def test_without_a_rollout_there_is_nothing_to_order(self, rollout: Rollout) -> None:
        """Each says so; the emergency rollback alone works all the same."""
        outcomes = (
            rollout.orders.advance(None),
            rollout.orders.pause(reason="x"),
            rollout.orders.approve(attempt=1, step=0, reason="x"),
            rollout.orders.rollback_gradual(reason="x"),
            rollout.orders.rollback_part(Part.LEDGER, reason="x"),
        )
        assert all(codes(outcome) == [HoldCode.NOT_STARTED] for outcome in outcomes)


class TestWhy:
    """What a person is told who asks why nothing rises."""

    def test_it_tells_every_reason_the_worst_first(self) -> None:
        """Not only the first one."""
        rollout = at(3)
        rollout.edit(percentage=60)
        report = a_report(rollout.state, a_result(Verdict.ERROR, name="cohort"), now=rollout.now, samples=3)
        reasons = explain(rollout.state, rollout.flags, report, rollout.now, open_breakers=["breaker-ledger"])
        assert [(reason.code.value, reason.name) for reason in reasons] == [
            ("gate", "cohort"),
            ("flags_differ", ""),
            ("breaker", "breaker-ledger"),
            ("soak", ""),
            ("samples", "redo"),
            ("samples", "legacy"),
            ("approval", ""),
        ]
        assert reasons[0].text == "gate cohort: error (0.5, asked: <= 1, n = 10)"
        assert reasons[1].text == "rollout_percentage is 60, not 50; `resume` puts the flags back"
        assert reasons[3].text == "60 s of the soak of 60 s are left"
        assert rollout.orders.why(report)[0].to_dict()["verdict"] == "error"

    def test_no_reason_is_left_where_the_next_look_goes_up(self) -> None:
        """The two never disagree."""
        rollout = at(1)
        rollout.clock.advance(60)
        report = a_report(rollout.state, now=rollout.now)
        assert rollout.orders.why(report) == ()
        assert kind(rollout.orders.advance(report)) is EventKind.PROMOTED

    @pytest.mark.parametrize(
        ("verb", "told"),
        [
            ("pause", "paused since 2030-01-01T00:03:00+00:00, by ann: so it is; `resume` goes on"),
            ("rollback_emergency", "emergency rollback since 2030-01-01T00:03:00+00:00, by ann: so it is; nothing"),
            ("rollback_gradual", "the next step down is in 30 s"),
        ],
    )
    def test_it_tells_who_stopped_it(self, verb: str, told: str) -> None:
        """Since when, who, why, and what ends it."""
        rollout = at(3)
        getattr(rollout.orders, verb)(reason="so it is")
        texts = [reason.text for reason in rollout.orders.why(None)]
        assert any(told in text for text in texts), texts

    def test_without_a_rollout_it_says_so(self, rollout: Rollout) -> None:
        """One reason."""
        assert [reason.text for reason in rollout.orders.why(None)] == ["no rollout has been started"]

"""The rollout against its rules: any orders, reports, edits by hand, clocks and crashes, in any order.

After each step the stored flags are looked at, as a guard would read them. The rules know no transitions: they are told
in terms of what was stored before and after, and of the reports that were given.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from core.adapters.manual_clock import ManualClock
from core.breaker import Mode
from core.errors import StoreError
from core.fallbacks.manager import LEDGER_BREAKER, ORCHESTRATOR_BREAKER
from core.fallbacks.stored_flags import FLAGS, StoredFlags
from core.rollout.event import EventKind, Part
from core.rollout.gates import GateKind, GateMode, GateReport, GateResult
from core.rollout.orders import Outcome
from core.rollout.plan import Plan
from core.rollout.reasons import Hold
from core.rollout.state import RolloutState, Status, rebuild, rollout_of
from core.rollout.verdict import Verdict, join, worst
from tests.guard_samples import FlakyStore
from tests.rollout_samples import PLAN, Rollout, a_report, a_result

verdicts = st.sampled_from(Verdict)
results = st.builds(
    GateResult,
    name=st.sampled_from(["failures", "latency", "quality"]),
    kind=st.sampled_from(GateKind),
    mode=st.sampled_from(GateMode),
    verdict=st.sampled_from([*Verdict, Verdict.PASS, Verdict.PASS, Verdict.PASS]),
    n=st.sampled_from([0, 10, 10, 10]),
)


@given(one=verdicts, two=verdicts, three=verdicts)
def test_joining_verdicts_is_a_semilattice(one: Verdict, two: Verdict, three: Verdict) -> None:
    """Commutative, associative, idempotent; PASS adds nothing and FAIL swallows all."""
    assert join(one, two) is join(two, one)
    assert join(join(one, two), three) is join(one, join(two, three))
    assert join(one, one) is one
    assert join(one, Verdict.PASS) is one
    assert join(one, Verdict.FAIL) is Verdict.FAIL


@given(st.lists(verdicts, min_size=1))
def test_the_worst_of_many_is_their_join(many: list[Verdict]) -> None:
    """In whatever order and however often they are read."""
    joined = many[0]
    for verdict in many[1:]:
        joined = join(joined, verdict)
    assert worst(many) is joined is worst(reversed([*many, *many]))


class RolloutMachine(RuleBasedStateMachine):
    """Several people and controllers, one stored value."""

    @initialize(step=st.sampled_from([None, 0, 1, 2, 3, 4]))
    def begin(self, step: int | None) -> None:
        """Nothing is stored, or a rollout has come to some step."""
        clock = ManualClock()
        self.store = FlakyStore(clock)
        self.rollout = Rollout(self.store, clock)
        self.reports: list[GateReport] = []
        self.needs_resume = False
        if step is not None:
            self.rollout.climb(step)

    # --- orders

    @rule(over_old=st.booleans(), default=st.booleans())
    def start(self, *, over_old: bool, default: bool) -> None:
        """Begin, or try to."""
        before = self._read()
        plan = Plan() if default else PLAN
        outcome = self._ordered(lambda: self.rollout.orders.start(plan, reason="go", over_old=over_old))
        if outcome is not None and outcome.is_written:
            assert before is None or (not before.emergency and over_old)
            assert self.rollout.exposed == 0
            self.needs_resume = False

    @precondition(lambda self: self._read() is not None)
    @rule(
        gates=st.lists(results, max_size=3),
        passes=st.booleans(),
        samples=st.sampled_from([9, 10, 500, 500]),
        attempt=st.sampled_from([0, 0, 0, 0, -1, 1]),
        step=st.sampled_from([0, 0, 0, 0, -1, 1]),
        age_s=st.sampled_from([0, 0, 0, 7200, -7200]),
    )
    def report(
        self, *, gates: list[GateResult], passes: bool, samples: int, attempt: int, step: int, age_s: int
    ) -> None:
        """Evaluate the gates; the report may be used at any time from now on."""
        state = self._read()
        assert state is not None
        report = a_report(
            state,
            *((a_result(),) if passes else gates),
            now=self.rollout.now - timedelta(seconds=age_s),
            samples=samples,
            attempt=max(1, state.attempt + attempt),
            step=max(0, state.step + step),
            report_id=f"report-{len(self.reports)}",
        )
        self.reports.append(report)

    @rule(data=st.data())
    def advance(self, data: st.DataObject) -> None:
        """Look once, with the newest report, an older one, or none."""
        self._look(data.draw(st.sampled_from([None, *self.reports, *self.reports[-1:] * 5])))

    @rule(looks=st.integers(1, 6), yes=st.booleans())
    def go_on_well(self, *, looks: int, yes: bool) -> None:
        """For a while all goes as it should; where nothing runs, somebody sees to that."""
        self.store.is_down = False
        if self._read() is None:
            self.start(over_old=False, default=False)
        elif yes:
            self.resume(None)
        for _ in range(looks):
            self.wait(3600)
            self.report(gates=[], passes=True, samples=500, attempt=0, step=0, age_s=0)
            self._look(self.reports[-1])
            if yes:
                self.approve(stale=False)

    @precondition(lambda self: self._read() is not None)
    @rule(kind=st.sampled_from(GateKind))
    def go_badly(self, kind: GateKind) -> None:
        """A gate fails on fresh data: a guardrail never leaves more on than before."""
        exposed = self.rollout.exposed
        failed = a_result(Verdict.FAIL, kind=kind)
        self.report(gates=[failed], passes=False, samples=500, attempt=0, step=0, age_s=0)
        self._look(self.reports[-1])
        assert self.rollout.exposed <= exposed

    @precondition(lambda self: self._read() is not None)
    @rule(looks=st.integers(1, 4))
    def walk(self, looks: int) -> None:
        """Time passes, and nobody evaluates anything: nothing rises."""
        exposed = self.rollout.exposed
        for _ in range(looks):
            self.wait(600)
            self._look(None)
        assert self.rollout.exposed <= exposed

    def _look(self, chosen: GateReport | None) -> None:
        before, exposed = self._read(), self.rollout.exposed
        outcome = self._ordered(lambda: self.rollout.orders.advance(chosen))
        if outcome is None or before is None or not outcome.is_written:
            return
        after = self.rollout.state
        if self.rollout.exposed > exposed or after.step > before.step:
            assert not self.needs_resume
            assert before.status in {Status.RUNNING, Status.AWAITING_APPROVAL}
            assert after.step == before.step + 1
            assert chosen is not None
            gate = after.event.gate
            assert gate is not None
            assert (gate.phase, gate.attempt, gate.step) == (before.phase, before.attempt, before.step)
            assert gate.verdict is Verdict.PASS is chosen.verdict
            assert after.event.evidence == (chosen.report_id,)
            assert chosen.samples["redo"] >= before.at.min_samples_per_arm
            assert self.rollout.now - before.entered_at >= timedelta(seconds=before.at.soak_s)
            assert before.next is not None
            assert before.is_approved or not before.next.approval
            assert exposed == before.percentage
        if after.status in {Status.ROLLED_BACK, Status.ROLLING_BACK}:
            self.needs_resume = True

    @precondition(lambda self: self._read() is not None)
    @rule(stale=st.booleans())
    def approve(self, *, stale: bool) -> None:
        """Say yes, perhaps to something else."""
        state = self._read()
        assert state is not None
        attempt = state.attempt + stale
        outcome = self._ordered(lambda: self.rollout.orders.approve(attempt=attempt, step=state.step, reason="yes"))
        assert outcome is None or not (stale and outcome.is_written)

    @rule()
    def pause(self) -> None:
        """Stop where it is."""
        self._not_raising(lambda: self.rollout.orders.pause(reason="wait"))

    @rule(step=st.none() | st.integers(-1, 5))
    def resume(self, step: int | None) -> None:
        """Go on, no higher than what has passed, or than the first share, or than where it stands."""
        before = self._read()
        outcome = self._ordered(lambda: self.rollout.orders.resume(step=step, reason="on"))
        if outcome is None or not outcome.is_written:
            return
        after = self.rollout.state
        assert before is not None
        assert after.attempt == before.attempt + 1
        assert after.step <= max(before.step, before.highest_passed, before.plan.first_exposed)
        assert after.step <= max(before.step, before.highest_passed + 1)
        self.needs_resume = False

    # --- rollbacks

    @rule()
    def rollback_gradual(self) -> None:
        """One step down."""
        outcome = self._not_raising(lambda: self.rollout.orders.rollback_gradual(reason="back"))
        self._repeated(outcome, lambda: self.rollout.orders.rollback_gradual(reason="again"))

    @rule(part=st.sampled_from(Part))
    def rollback_part(self, part: Part) -> None:
        """One component out."""
        outcome = self._not_raising(lambda: self.rollout.orders.rollback_part(part, reason="off"))
        self._repeated(outcome, lambda: self.rollout.orders.rollback_part(part, reason="again"))
        if outcome is not None and outcome.is_written:
            name = {Part.ORCHESTRATOR: "orchestrator.redo_enabled", Part.LEDGER: "ledger.enabled"}[part]
            assert self.rollout.flags[name] is False

    @rule()
    def rollback_emergency(self) -> None:
        """Everything off, from whatever there is."""
        done = self.rollout.orders.rollback_emergency(reason="fire")
        if self.store.is_down:
            assert not done.is_off_everywhere
            assert done.is_off_here
            return
        assert done.is_complete
        self.needs_resume = True
        flags = StoredFlags.from_dict(self.rollout.flags)
        assert flags.killed
        assert (self.rollout.exposed, self.rollout.flags["ledger.enabled"]) == (0, False)
        assert self.rollout.mode(ORCHESTRATOR_BREAKER) is self.rollout.mode(LEDGER_BREAKER) is Mode.FORCED_OPEN
        version = self.store.version(FLAGS)
        assert self.rollout.orders.rollback_emergency(reason="again").is_complete
        assert self.store.version(FLAGS) == version

    # --- what happens around it

    @rule(seconds=st.sampled_from([1, 30, 60, 60, 3600, 3600]))
    def wait(self, seconds: int) -> None:
        """Time passes."""
        self.rollout.clock.advance(seconds)

    @rule(days=st.sampled_from([-1, 1]))
    def set_clock(self, days: int) -> None:
        """Somebody sets the clock."""
        self.rollout.sleep(timedelta(days=days))

    @rule(
        edit=st.fixed_dictionaries(
            {},
            optional={
                "redo": st.booleans() | st.none(),
                "ledger": st.booleans(),
                "percentage": st.sampled_from([0, 5, 10, 30, 100, None, "half"]),
                "killed": st.booleans(),
            },
        )
    )
    def edit(self, edit: dict[str, object]) -> None:
        """Somebody changes the flags by hand."""
        self.rollout.edit(**edit)

    @rule()
    def put_right(self) -> None:
        """Somebody puts the flags back as the step wants them."""
        state = self._read()
        if state is not None and not state.emergency:
            self.store.put(FLAGS, self.rollout.flags | {"killed": False} | state.flags)

    @precondition(lambda self: self.store.version(FLAGS) % 5 == 0)
    @rule(junk=st.sampled_from([7, {"attempt": 3}]))
    def break_rollout(self, junk: object) -> None:
        """Somebody breaks what is stored of the rollout: an emergency repairs it."""
        if self._read() is not None:
            self.rollout.edit(rollout=junk)
            self.reports.clear()
            self.rollback_emergency()
            if self.store.is_down:
                self.store.is_down = False
                self.rollback_emergency()

    @rule()
    def store_goes_down_or_comes_back(self) -> None:
        """It does not answer for a while."""
        self.store.is_down = not self.store.is_down

    # --- rules that always hold

    @invariant()
    def history_rebuilds_the_state(self) -> None:
        """Folding the events from the first one on comes to what is stored."""
        state = self._read()
        is_down, self.store.is_down = self.store.is_down, False
        events = self.rollout.orders.events(10_000)
        self.store.is_down = is_down
        assert rebuild(events) == state

    @invariant()
    def an_emergency_keeps_its_breakers(self) -> None:
        """While it is in force they are forced open."""
        state = self._read()
        if state is not None and state.emergency:
            assert self.rollout.mode() is Mode.FORCED_OPEN

    @invariant()
    def what_was_rolled_back_says_so(self) -> None:
        """Nothing but `resume` and a new start makes it move again."""
        state = self._read()
        if self.needs_resume and state is not None:
            assert state.status in {Status.ROLLED_BACK, Status.ROLLING_BACK, Status.PAUSED}

    # --- parts of these

    def _read(self) -> RolloutState | None:
        return rollout_of(self.store.value(FLAGS))

    def _ordered(self, order: Callable[[], Outcome]) -> Outcome | None:
        """Give an order; `None` where the store does not answer."""
        version = self.store.version(FLAGS)
        try:
            outcome = order()
        except StoreError:
            assert self.store.is_down
            assert self.store.version(FLAGS) == version
            return None
        assert not self.store.is_down
        assert self.store.version(FLAGS) == version + outcome.is_written
        assert isinstance(outcome.decision, Hold) != outcome.is_written
        return outcome

    def _not_raising(self, order: Callable[[], Outcome]) -> Outcome | None:
        """Give an order that lowers, or changes no flag."""
        before, exposed = self._read(), self.rollout.exposed
        ledger = self.rollout.flags.get("ledger.enabled")
        outcome = self._ordered(order)
        assert self.rollout.exposed <= exposed
        assert ledger is not False or self.rollout.flags["ledger.enabled"] is False
        after = self._read()
        if after is not None and before is not None:
            assert after.step <= before.step
            if after.status in {Status.ROLLED_BACK, Status.ROLLING_BACK}:
                self.needs_resume = True
        return outcome

    def _repeated(self, outcome: Outcome | None, order: Callable[[], Outcome]) -> None:
        """Give the order once more: nothing changes."""
        if outcome is not None and outcome.is_written:
            assert not order().is_written


TestRolloutMachine = RolloutMachine.TestCase
TestRolloutMachine.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)


@pytest.mark.parametrize("seed_step", range(5))
@settings(max_examples=20, deadline=None)
@given(verdict=verdicts, kind=st.sampled_from(GateKind))
def test_only_a_pass_lets_a_step_through(seed_step: int, verdict: Verdict, kind: GateKind) -> None:
    """At every step, for guardrails and signals alike."""
    rollout = Rollout()
    rollout.climb(seed_step)
    exposed = rollout.exposed
    outcome = rollout.advance(a_result(), a_result(verdict, kind=kind))
    if verdict is Verdict.PASS:
        assert outcome.is_written
    else:
        assert rollout.exposed <= exposed
        assert rollout.state.event.kind not in {EventKind.COMPLETED, EventKind.APPROVAL_REQUESTED}

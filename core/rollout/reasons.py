"""Why a rollout stays where it is: every reason, not only the first, so that a person can see all there is to do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from core.fallbacks.stored_flags import Stored
from core.rollout.flag_changes import differences
from core.rollout.gates import GateReport
from core.rollout.state import RolloutState, Status
from core.rollout.verdict import Verdict, worst


class HoldCode(StrEnum):
    """What kind of reason."""

    # Of the rollout itself.
    NOT_STARTED = "not_started"
    UNREADABLE = "unreadable"
    COMPLETE = "complete"
    NEEDS_RESUME = "needs_resume"
    ROLLING_BACK = "rolling_back"
    APPROVAL = "approval"
    # Of its surroundings.
    FLAGS_DIFFER = "flags_differ"
    KILL_SWITCH = "kill_switch"
    BREAKER = "breaker"
    # Of time and evidence.
    SOAK = "soak"
    NO_REPORT = "no_report"
    OTHER_STEP = "other_step"
    STALE_REPORT = "stale_report"
    NO_GATES = "no_gates"
    GATE = "gate"
    SAMPLES = "samples"
    # Of an order that was not carried out.
    ALREADY = "already"
    OVERTAKEN = "overtaken"
    REFUSED = "refused"
    STALE_APPROVAL = "stale_approval"


@dataclass(frozen=True, slots=True)
class HoldReason:
    """One reason.

    Attributes:
        code: what kind.
        verdict: how bad it is.
        text: what it is, in a sentence for people.
        name: which gate, arm or breaker, where it is about one.
    """

    code: HoldCode
    verdict: Verdict
    text: str
    name: str = ""

    def to_dict(self) -> dict[str, object]:
        """The reason as JSON can hold it."""
        return {"code": self.code.value, "verdict": self.verdict.value, "name": self.name, "text": self.text}


@dataclass(frozen=True, slots=True)
class Hold:
    """Nothing changes, and why.

    Attributes:
        reasons: why; the worst first.
    """

    reasons: tuple[HoldReason, ...]

    @property
    def verdict(self) -> Verdict:
        """The worst of the reasons' verdicts."""
        return worst(reason.verdict for reason in self.reasons)

    @property
    def is_already_so(self) -> bool:
        """Whether an order found done what it orders."""
        return all(reason.code is HoldCode.ALREADY for reason in self.reasons)

    @property
    def is_refusal(self) -> bool:
        """Whether an order cannot be carried out as things are."""
        return any(reason.code in _REFUSALS for reason in self.reasons)

    @classmethod
    def because(cls, code: HoldCode, text: str, verdict: Verdict = Verdict.INCONCLUSIVE) -> Hold:
        """A hold for one reason."""
        return cls((HoldReason(code, verdict, text),))


_REFUSALS: Final = frozenset({HoldCode.OVERTAKEN, HoldCode.REFUSED, HoldCode.STALE_APPROVAL, HoldCode.NOT_STARTED})


def explain(
    state: RolloutState | None,
    flags: Stored | None,
    report: GateReport | None,
    now: datetime,
    *,
    open_breakers: Iterable[str] = (),
) -> tuple[HoldReason, ...]:
    """Return every reason why the rollout does not rise; empty where the next `advance` would promote or complete it.

    Args:
        state: where it stands; `None` where none was started.
        flags: the stored flags.
        report: the newest gate report, if there is one.
        now: the date and time.
        open_breakers: names of the breakers that are not closed, or not obeyed.
    """
    if state is None:
        return (HoldReason(HoldCode.NOT_STARTED, Verdict.INCONCLUSIVE, "no rollout has been started"),)
    reasons = [
        *_of_status(state, now),
        *_of_surroundings(state, flags, now, open_breakers),
        *_of_time(state, now),
        *of_evidence(state, report, now),
        *_of_approval(state),
    ]
    return tuple(sorted(reasons, key=lambda reason: -reason.verdict.severity))  # stable: else in this order


def _of_status(state: RolloutState, now: datetime) -> Iterator[HoldReason]:
    event = state.event
    since = f"since {event.at.isoformat(timespec='seconds')}, by {event.actor}: {event.reason}"
    match state.status:
        case Status.PAUSED:
            yield HoldReason(HoldCode.NEEDS_RESUME, Verdict.PENDING, f"paused {since}; `resume` goes on")
        case Status.ROLLED_BACK:
            how = "emergency rollback" if state.emergency else "rolled back"
            yield HoldReason(HoldCode.NEEDS_RESUME, Verdict.PENDING, f"{how} {since}; nothing rises without `resume`")
        case Status.ROLLING_BACK:
            left_s = max(0.0, state.plan.rollback_soak_s - (now - state.entered_at).total_seconds())
            text = f"rolling back {since}; the next step down is in {duration_text(left_s)}"
            yield HoldReason(HoldCode.ROLLING_BACK, Verdict.PENDING, text)
        case Status.COMPLETE:
            yield HoldReason(HoldCode.COMPLETE, Verdict.PASS, f"complete {since}")
        case _:
            return


def _of_surroundings(
    state: RolloutState, flags: Stored | None, now: datetime, open_breakers: Iterable[str]
) -> Iterator[HoldReason]:
    for difference in differences(flags, state, now=now):
        if difference.is_kill_switch and state.emergency:
            continue  # it is the rollout's own
        code = HoldCode.KILL_SWITCH if difference.is_kill_switch else HoldCode.FLAGS_DIFFER
        yield HoldReason(code, Verdict.INCONCLUSIVE, f"{difference.text}; `resume` puts the flags back")
    for name in open_breakers:
        yield HoldReason(HoldCode.BREAKER, Verdict.INCONCLUSIVE, f"{name} is not closed", name)


def _of_time(state: RolloutState, now: datetime) -> Iterator[HoldReason]:
    """The soak counts from when the step began. A clock that was set back lengthens it, and never shortens it."""
    left_s = state.at.soak_s - (now - state.entered_at).total_seconds()
    if left_s > 0:
        of = duration_text(state.at.soak_s)
        yield HoldReason(HoldCode.SOAK, Verdict.PENDING, f"{duration_text(left_s)} of the soak of {of} are left")


def of_evidence(state: RolloutState, report: GateReport | None, now: datetime) -> Iterator[HoldReason]:
    """Every reason why a report lets nothing through. Only a whole, fresh report of this very step can."""
    if report is None:
        yield HoldReason(HoldCode.NO_REPORT, Verdict.INCONCLUSIVE, "there is no gate report")
        return
    if not is_of_this_step(state, report):
        mine = f"attempt {state.attempt}, step {state.step}"
        text = f"report {report.report_id} is of attempt {report.attempt}, step {report.step}, not of {mine}"
        yield HoldReason(HoldCode.OTHER_STEP, Verdict.INCONCLUSIVE, text)
        return
    for text in _staleness(state, report, now):
        yield HoldReason(HoldCode.STALE_REPORT, Verdict.INCONCLUSIVE, f"report {report.report_id} {text}")
    if not report.enforced:
        text = f"report {report.report_id} has no gate that is enforced"
        yield HoldReason(HoldCode.NO_GATES, Verdict.INCONCLUSIVE, text)
    for gate in report.enforced:
        if gate.counted is not Verdict.PASS:
            measured = "nothing measured" if gate.value is None else f"{gate.value:g}"
            asked = f", asked: {gate.threshold}" if gate.threshold else ""
            text = f"gate {gate.name}: {gate.counted.value} ({measured}{asked}, n = {gate.n})"
            yield HoldReason(HoldCode.GATE, gate.counted, text, gate.name)
    for arm in state.at.arms:
        n, least = report.samples.get(arm, 0), state.at.min_samples_per_arm
        if n < least:
            yield HoldReason(HoldCode.SAMPLES, Verdict.PENDING, f"{arm} answered {n} of {least} queries", arm)


def is_of_this_step(state: RolloutState, report: GateReport) -> bool:
    """Whether the report's data belong to the step and attempt in which the rollout is."""
    return (report.phase, report.attempt, report.step) == (state.phase, state.attempt, state.step)


def _staleness(state: RolloutState, report: GateReport, now: datetime) -> Iterator[str]:
    plan = state.plan
    age_s = (now - report.created_at).total_seconds()
    if age_s > plan.report_max_age_s:
        yield f"is {duration_text(age_s)} old, at most {duration_text(plan.report_max_age_s)} counts"
    if age_s < -plan.clock_skew_s:
        yield f"is of {report.created_at.isoformat(timespec='seconds')}, which is still to come"
    if report.window_start < state.entered_at:
        began = state.entered_at.isoformat(timespec="seconds")
        yield f"has data from {report.window_start.isoformat(timespec='seconds')} on, the step began at {began}"
    if report.window_end < report.window_start:
        yield "has a window that ends before it begins"


def _of_approval(state: RolloutState) -> Iterator[HoldReason]:
    above = state.next
    if above is not None and above.approval and not state.is_approved:
        yield HoldReason(HoldCode.APPROVAL, Verdict.PENDING, f"{above.name} needs a person's approval")


def duration_text(seconds: float) -> str:
    """A duration for people: `45 s`, `12 min`, `3 h 5 min`.

    >>> duration_text(11_100)
    '3 h 5 min'
    """
    whole = round(seconds)
    if whole < 120:  # noqa: PLR2004 - below two minutes seconds say more
        return f"{whole} s"
    hours, minutes = divmod(whole // 60, 60)
    if not hours:
        return f"{minutes} min"
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"

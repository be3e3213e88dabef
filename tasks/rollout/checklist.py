"""The two checklists of the rollout guide, "Rollout Success" and "Rollback Success", computed from evidence.

What is not known is unknown, and no tick. Each item says what it rests on, with the numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from core.rollout.event import Event, EventKind
from core.rollout.reasons import duration_text
from core.rollout.verdict import Verdict
from tasks.rollout.evidence import Evidence, RunSeen


class Answer(StrEnum):
    """Whether an item holds."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that speaks for or against an item, with its numbers."""

    answer: Answer
    text: str


@dataclass(frozen=True, slots=True)
class Item:
    """One item: its words in the guide, and what was found."""

    title: str
    findings: tuple[Finding, ...]

    @property
    def answer(self) -> Answer:
        """No where anything says so, yes where all say so, else unknown."""
        answers = {finding.answer for finding in self.findings}
        if Answer.NO in answers:
            return Answer.NO
        return Answer.YES if answers == {Answer.YES} else Answer.UNKNOWN

    def to_dict(self) -> dict[str, Any]:
        """The item as JSON values."""
        return {
            "title": self.title,
            "answer": self.answer.value,
            "findings": [asdict(found) for found in self.findings],
        }


@dataclass(frozen=True, slots=True)
class Checklist:
    """One of the two lists."""

    name: str
    items: tuple[Item, ...]

    @property
    def holds(self) -> bool:
        """Whether every item does."""
        return all(item.answer is Answer.YES for item in self.items)

    def to_dict(self) -> dict[str, Any]:
        """The list as JSON values."""
        return {"name": self.name, "holds": self.holds, "items": [item.to_dict() for item in self.items]}


_ROLLBACKS: Final = frozenset(
    {EventKind.STEPPED_BACK, EventKind.ROLLBACK_BEGUN, EventKind.EMERGENCY, EventKind.PART_OFF}
)
_HEALTH_MAX_AGE_S: Final = 300.0
"""How old the last check of the components may be: ten times the default interval."""

_LATENCY_ROOM: Final = 0.05
"""By which part of the budget the p95 may lie above that of the baseline and still be called back at it."""


def rollout_success(evidence: Evidence) -> Checklist:
    """The guide's list of when a rollout has succeeded."""
    return Checklist(
        "Rollout success",
        (
            Item("All fallback tests pass", (_drill(evidence),)),
            Item(
                "REDO activates correctly with feature flags",
                (_scenarios(evidence, "flags"), _gate(evidence, "cohort_share", "of the keys REDO's")),
            ),
            Item("Fallback mechanisms work as expected", (_drill_answers(evidence), _runs_answered(evidence))),
            Item(
                "No increase in error rates",
                (
                    _gate(evidence, "failure_rate", "of REDO's queries broke"),
                    _gate(evidence, "canary_failures", "more than the control arm"),
                ),
            ),
            Item(
                "Latency remains within acceptable limits",
                (
                    _gate(evidence, "latency_budget", "of REDO's queries near the budget"),
                    _gate(evidence, "deadline_rate", "of REDO's queries out of time"),
                ),
            ),
            Item("Monitoring and alerting are functional", (_alerts(evidence), _checked(evidence), _counted(evidence))),
        ),
    )


def rollback_success(evidence: Evidence) -> Checklist:
    """The guide's list of when a rollback has succeeded, about the newest one; by the drill where there was none."""
    event = next((event for event in evidence.events if event.kind in _ROLLBACKS), None)
    since = _since(evidence, event)
    by_drill = (_scenarios(evidence, "emergency-off", "kill-switch-file"),)
    return Checklist(
        "Rollback success",
        (
            Item("Feature flags can be disabled immediately", (*by_drill, *_switched_off(event))),
            Item("System falls back to legacy behavior", by_drill if event is None else (_legacy(evidence, since),)),
            Item("No data loss or corruption", (_nothing_lost(evidence), _ledger(evidence))),
            Item(
                "Service remains available throughout rollback",
                by_drill if event is None else (_available(evidence, event),),
            ),
            Item("Metrics return to baseline levels", (_baseline(evidence, event, since),)),
        ),
    )


# --- drills -------------------------------------------------------------------------------------------------------


def _drill(evidence: Evidence) -> Finding:
    drill = evidence.drill
    if drill is None:
        return Finding(Answer.UNKNOWN, "no failure drill in this REDO_HOME; the deployment failure-drill makes one")
    passed = sum(result.passed for result in drill.results)
    age = duration_text(max(0.0, (evidence.now - drill.ended_at).total_seconds()))
    text = f"failure drill: {passed} of {len(drill.results)} scenarios passed, {age} ago"
    if not drill.passed:
        return Finding(Answer.NO, text)
    if drill.skipped:
        return Finding(Answer.UNKNOWN, f"{text}; not played: {', '.join(drill.skipped)}")
    if drill.code_version != evidence.code_version:
        return Finding(Answer.UNKNOWN, f"{text}, with version {drill.code_version}, not {evidence.code_version}")
    return Finding(Answer.YES, text)


def _scenarios(evidence: Evidence, *names: str) -> Finding:
    """What the drill says about some scenarios."""
    drill = evidence.drill
    if drill is None:
        return _drill(evidence)
    found = {result.name: result for result in drill.results if result.name in names}
    text = f"drill: {', '.join(names)}"
    if any(not result.passed for result in found.values()):
        return Finding(Answer.NO, f"{text} failed")
    if len(found) < len(names) or drill.code_version != evidence.code_version:
        return Finding(Answer.UNKNOWN, f"{text} not played by this version")
    queries = sum(result.queries for result in found.values())
    return Finding(Answer.YES, f"{text} passed, {queries:,} queries answered")


def _drill_answers(evidence: Evidence) -> Finding:
    drill = evidence.drill
    if drill is None:
        return _drill(evidence)
    text = f"drill: {drill.unanswered:,} of {drill.queries:,} queries without an answer while something failed"
    if drill.unanswered or not drill.passed:
        return Finding(Answer.NO, text)
    return Finding(_drill(evidence).answer, text)


# --- gates --------------------------------------------------------------------------------------------------------

_BY_VERDICT: Final = {Verdict.PASS: Answer.YES, Verdict.FAIL: Answer.NO}


def _gate(evidence: Evidence, name: str, what: str) -> Finding:
    report = evidence.report
    result = None if report is None else next((found for found in report.results if found.name == name), None)
    if report is None or result is None or not result.is_enforced:
        return Finding(Answer.UNKNOWN, f"gate {name}: not evaluated at a step that serves anybody")
    value = "nothing measured" if result.value is None else f"{result.value:.2%} {what}"
    text = f"gate {name} at step {report.step}: {result.counted.value}, {value}, n = {result.n:,}"
    return Finding(_BY_VERDICT.get(result.counted, Answer.UNKNOWN), text)


def _ledger(evidence: Evidence) -> Finding:
    report = evidence.report
    result = None if report is None else next((r for r in report.results if r.name == "ledger_integrity"), None)
    if report is None or result is None or not result.is_enforced:
        return Finding(Answer.UNKNOWN, "gate ledger_integrity: not evaluated at a step with the ledger on")
    text = f"gate ledger_integrity at step {report.step}: {result.counted.value} {result.detail}".strip()
    return Finding(_BY_VERDICT.get(result.counted, Answer.UNKNOWN), text)


# --- runs ---------------------------------------------------------------------------------------------------------


def _of_rollout(evidence: Evidence) -> list[RunSeen]:
    """Runs since the rollout was started."""
    started = next((event.at for event in evidence.events if event.plan is not None), None)
    return [run for run in evidence.runs if started is not None and run.started_at >= started]


def _since(evidence: Evidence, event: Event | None) -> list[RunSeen]:
    return [run for run in evidence.runs if event is not None and run.started_at >= event.at]


def _sum(runs: Iterable[RunSeen], field: Callable[[RunSeen], int]) -> int:
    return sum(field(run) for run in runs)


def _answered(runs: list[RunSeen], where: str) -> Finding:
    if not runs:
        return Finding(Answer.UNKNOWN, f"no run {where}")
    queries, answered = _sum(runs, lambda run: run.queries), _sum(runs, lambda run: run.answered)
    text = f"{answered:,} of {queries:,} queries answered, in {_counted_runs(runs)} {where}"
    return Finding(Answer.YES if answered == queries else Answer.NO, text)


def _runs_answered(evidence: Evidence) -> Finding:
    return _answered(_of_rollout(evidence), "of this rollout")


def _available(evidence: Evidence, event: Event) -> Finding:
    return _answered([run for run in evidence.runs if run.finished_at >= event.at], "during the rollback and since")


def _legacy(evidence: Evidence, since: list[RunSeen]) -> Finding:
    """What was taken back does not answer any more."""
    state = evidence.state
    runs = [run for run in since if not run.shadow]
    if not runs or state is None:
        return Finding(Answer.UNKNOWN, "no run since the rollback")
    # Whoever resumed has risen again: only what ran before that is the rollback's.
    resumed = next((event.at for event in evidence.events if event.kind is EventKind.RESUMED), None)
    begun = next(event.at for event in evidence.events if event.kind in _ROLLBACKS)
    if resumed is not None and resumed > begun:
        runs = [run for run in runs if run.started_at < resumed]
    if not runs:
        return Finding(Answer.UNKNOWN, "no run between the rollback and its end")
    limit = max(run.percentage for run in runs)
    queries, redo = _sum(runs, lambda run: run.queries), _sum(runs, lambda run: run.redo)
    text = f"REDO answered {redo:,} of {queries:,} queries since, at {limit:g} %"
    allowed = limit <= float(state.plan.steps[_rolled_to(evidence)].percentage)
    return Finding(Answer.YES if allowed and (limit > 0 or redo == 0) else Answer.NO, text)


def _rolled_to(evidence: Evidence) -> int:
    return next(event.step for event in evidence.events if event.kind in _ROLLBACKS)


def _nothing_lost(evidence: Evidence) -> Finding:
    runs = _of_rollout(evidence)
    if not runs:
        return Finding(Answer.UNKNOWN, "no run of this rollout")
    lost, waiting = _sum(runs, lambda run: run.lost), _sum(runs, lambda run: run.waiting)
    missing = _sum(runs, lambda run: run.queries - run.answered)
    text = f"{missing:,} answers and {lost:,} traces lost, {waiting:,} traces waiting, in {_counted_runs(runs)}"
    return Finding(Answer.NO if lost or missing else Answer.YES, text)


def _baseline(evidence: Evidence, event: Event | None, since: list[RunSeen]) -> Finding:
    if event is None:
        return Finding(Answer.UNKNOWN, "nothing was rolled back yet")
    if not since:
        return Finding(Answer.UNKNOWN, "no run since the rollback")
    before = [run for run in evidence.runs if run.started_at < event.at and run.percentage == 0]
    if not before:
        return Finding(Answer.UNKNOWN, "no run at 0 % before the rollback to compare with")
    newest, base = since[0], max(run.p95_ms for run in before)
    room_ms = _LATENCY_ROOM * newest.budget_ms
    text = (
        f"newest run: {newest.fell_back:,} of {newest.queries:,} queries fell back, p95 {newest.p95_ms:.1f} ms; "
        f"at 0 % before: p95 {base:.1f} ms (+ {room_ms:g} ms)"
    )
    return Finding(Answer.NO if newest.fell_back or newest.p95_ms > base + room_ms else Answer.YES, text)


def _switched_off(event: Event | None) -> tuple[Finding, ...]:
    """A rollback is one change of the flags: it was in force as soon as it was written."""
    if event is None:
        return ()
    what = event.kind.value.replace("_", " ")
    return (Finding(Answer.YES, f"{what} at {event.at:%Y-%m-%d %H:%M:%S} UTC: flags and rollout in one change"),)


def _counted_runs(runs: list[RunSeen]) -> str:
    return f"{len(runs):,} run{'' if len(runs) == 1 else 's'}"


# --- monitoring ---------------------------------------------------------------------------------------------------


def _alerts(evidence: Evidence) -> Finding:
    alerts = evidence.alerts
    answer = Answer.UNKNOWN if alerts.passed is None else Answer.YES if alerts.passed else Answer.NO
    return Finding(answer, alerts.said)


def _checked(evidence: Evidence) -> Finding:
    components = evidence.health.get("components") or {}
    checks = [_age_s(evidence, found["checked_at"]) for found in components.values()]
    if not checks:
        return Finding(Answer.UNKNOWN, "no component was ever checked; check-health or the service does it")
    text = f"{len(checks)} components checked {duration_text(max(0.0, min(checks)))} ago"
    sick = [name for name, found in components.items() if not found["healthy"]]
    if sick:
        return Finding(Answer.NO, f"{text}; not well: {', '.join(sick)}")
    return Finding(Answer.YES if min(checks) <= _HEALTH_MAX_AGE_S else Answer.UNKNOWN, text)


def _counted(evidence: Evidence) -> Finding:
    if not evidence.metrics:
        return Finding(Answer.UNKNOWN, "no metrics have been counted, or they cannot be read")
    return Finding(Answer.YES, f"metrics: {evidence.metrics:,} queries counted")


def _age_s(evidence: Evidence, moment: str) -> float:
    return (evidence.now - datetime.fromisoformat(moment)).total_seconds()

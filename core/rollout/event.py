"""What happens to a rollout: events. The state is what comes of them, one by one (`core.rollout.state.apply`).

Every change of a rollout is one event, stored with the state that it made. So each entry of the history holds one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from core.rollout.fields import Fields
from core.rollout.gates import GateReport
from core.rollout.plan import Phase, Plan
from core.rollout.verdict import Verdict


class EventKind(StrEnum):
    """What happened."""

    STARTED = "started"
    PROMOTED = "promoted"  # one step up
    COMPLETED = "completed"  # the last step passed
    APPROVAL_REQUESTED = "approval_requested"
    APPROVED = "approved"
    PAUSED = "paused"  # by a person, or by a gate where evidence is given
    HAND_EDITED = "hand_edited"  # somebody lowered the flags beside the rollout, which counts as paused
    SOAK_RESTARTED = "soak_restarted"  # the clock was set back to before the step began
    STEPPED_BACK = "stepped_back"  # a gate failed
    ROLLBACK_BEGUN = "rollback_begun"  # a gradual one: the first step down
    STEPPED_DOWN = "stepped_down"  # a further step down of a gradual rollback
    EMERGENCY = "emergency"
    PART_OFF = "part_off"  # one component was taken out
    RESUMED = "resumed"


class Part(StrEnum):
    """A component that can be rolled back alone."""

    ORCHESTRATOR = "orchestrator"
    LEDGER = "ledger"


@dataclass(frozen=True, slots=True)
class GateNote:
    """What a gate report came to, kept with the decision that it led to.

    Attributes:
        report_id: names the report.
        phase, attempt, step: what its data belong to.
        verdict: the worst enforced verdict.
        samples: how many queries each arm answered.
        failed: names of the enforced gates that failed.
    """

    report_id: str
    phase: Phase
    attempt: int
    step: int
    verdict: Verdict
    samples: Mapping[str, int] = field(default_factory=dict)
    failed: tuple[str, ...] = ()

    @classmethod
    def of(cls, report: GateReport) -> GateNote:
        """Note what a report came to."""
        return cls(
            report_id=report.report_id,
            phase=report.phase,
            attempt=report.attempt,
            step=report.step,
            verdict=report.verdict,
            samples=dict(report.samples),
            failed=tuple(result.name for result in report.of(Verdict.FAIL)),
        )

    def to_dict(self) -> dict[str, object]:
        """The note as JSON can hold it."""
        return {
            "report_id": self.report_id,
            "phase": self.phase.value,
            "attempt": self.attempt,
            "step": self.step,
            "verdict": self.verdict.value,
            "samples": dict(self.samples),
            "failed": list(self.failed),
        }

    @classmethod
    def from_fields(cls, fields: Fields) -> GateNote:
        """Read a note. Raises what `fields` raises, with the field's place."""
        return cls(
            report_id=fields.text("report_id"),
            phase=fields.member("phase", Phase),
            attempt=fields.whole("attempt"),
            step=fields.whole("step"),
            verdict=fields.member("verdict", Verdict),
            samples=fields.counts("samples"),
            failed=fields.texts("failed"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One change of a rollout.

    Attributes:
        number: 1 for the first event of the stored value, one more for each.
        kind: what happened.
        actor, reason: who did it, and why.
        at: when, by the clock of whoever did it.
        step, attempt: where the rollout is after it.
        evidence: ids of the reports that it rests on.
        gate: what that report came to, where there is one.
        plan: the plan, where a rollout begins.
        part: which component was taken out.
    """

    number: int
    kind: EventKind
    actor: str
    reason: str
    at: datetime
    step: int
    attempt: int
    evidence: tuple[str, ...] = ()
    gate: GateNote | None = None
    plan: Plan | None = None
    part: Part | None = None

    def to_dict(self) -> dict[str, object]:
        """The event as JSON can hold it; what it has not is left out."""
        more = {
            "gate": self.gate and self.gate.to_dict(),
            "plan": self.plan and self.plan.to_dict(),
            "part": self.part and self.part.value,
        }
        return {
            "number": self.number,
            "kind": self.kind.value,
            "actor": self.actor,
            "reason": self.reason,
            "at": self.at.isoformat(),
            "step": self.step,
            "attempt": self.attempt,
            "evidence": list(self.evidence),
        } | {name: value for name, value in more.items() if value is not None}

    @classmethod
    def from_fields(cls, fields: Fields) -> Event:
        """Read an event. Raises what `fields` raises, with the field's place, and ConfigError for its plan."""
        return cls(
            number=fields.whole("number", least=1),
            kind=fields.member("kind", EventKind),
            actor=fields.text("actor"),
            reason=fields.text("reason"),
            at=fields.time("at"),
            step=fields.whole("step"),
            attempt=fields.whole("attempt", least=1),
            evidence=fields.texts("evidence"),
            gate=GateNote.from_fields(fields.inner("gate")) if fields.has("gate") else None,
            plan=Plan.from_dict(fields.raw("plan")) if fields.has("plan") else None,
            part=fields.member("part", Part) if fields.has("part") else None,
        )

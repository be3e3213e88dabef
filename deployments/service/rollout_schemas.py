"""What the endpoints of the rollout are asked and answer."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, model_validator

from core.rollout.event import Part
from core.rollout.verdict import Verdict
from tasks.rollout.evaluation import Limits
from tasks.rollout.plans import Approval

Kind: TypeAlias = Literal["emergency", "gradual", "component"]


class _Asked(BaseModel):
    """The body of an order; every field may be missing."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    dry_run: Annotated[bool, Field(description="Only say what would change.")] = False


class Pause(_Asked):
    """Stay at this step."""


class Start(_Asked):
    """Begin a rollout."""

    percentages: Annotated[
        tuple[Annotated[float, Field(gt=0, lt=100)], ...],
        Field(min_length=1, max_length=20, strict=False, description="Steps between nobody and everybody, rising."),
    ] = (10, 25, 50)
    soak_s: Annotated[float, Field(ge=0, description="Least time of each step, in seconds.")] = 3600
    min_samples: Annotated[int, Field(ge=1, description="Least queries of each arm in each step.")] = 500
    approval: Annotated[Approval, Field(description="Before which steps a person must say yes.")] = "never"
    rollback_soak_s: Annotated[float, Field(ge=0, description="Time of each step of a gradual rollback.")] = 600
    plan: Annotated[
        dict[str, Any] | None,
        Field(description="The whole plan, as GET /admin/rollout shows it; instead of the above."),
    ] = None
    over_old: Annotated[bool, Field(description="Replace a rollout that is complete or rolled back.")] = False


class Approve(_Asked):
    """Say yes to what waits."""

    attempt: Annotated[int | None, Field(ge=1, description="The attempt that was looked at; the present one.")] = None
    step: Annotated[int | None, Field(ge=0, description="The step that was looked at; the present one.")] = None


class Resume(_Asked):
    """Go on."""

    step: Annotated[int | None, Field(ge=0, description="Where; where it stands, or the first step that serves.")] = (
        None
    )


class Advance(_Asked):
    """Take one decision."""

    limits: Annotated[Limits, Field(description="Limits of the gates; demonstration is no basis for a rollout.")] = (
        "production"
    )


class Rollback(_Asked):
    """Take REDO back."""

    kind: Annotated[Kind, Field(description="emergency: all off at once. gradual: step by step. component: one part.")]
    part: Annotated[Part | None, Field(strict=False, description="Which, where the kind is component.")] = None

    @model_validator(mode="after")
    def _has_a_part(self) -> Rollback:
        """A part belongs to a component rollback, and to no other."""
        if (self.kind == "component") != (self.part is not None):
            raise ValueError("part: expected orchestrator or ledger where the kind is component, and nowhere else")
        return self


# --- answers ------------------------------------------------------------------------------------------------------


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class HoldReason(_Answer):
    """Why nothing rises."""

    code: str
    verdict: Verdict
    name: Annotated[str, Field(description="Which gate, arm or breaker.")]
    text: str


class Gate(_Answer):
    """What one gate came to."""

    name: str
    kind: Annotated[str, Field(description="guardrail: a failure steps back. signal: it pauses.")]
    mode: Annotated[str, Field(description="enforce, or observe, which decides nothing.")]
    verdict: Verdict
    value: float | None
    threshold: str
    n: int
    window: str
    detail: str


class Report(_Answer):
    """What all gates came to, for one step of one attempt."""

    report_id: str
    phase: str
    attempt: int
    step: int
    created_at: datetime
    window_start: datetime
    window_end: datetime
    samples: dict[str, int]
    verdict: Annotated[Verdict, Field(description="The worst enforced one.")]
    results: list[Gate]


class RolloutEvent(_Answer):
    """One change of the rollout."""

    number: int
    kind: str
    actor: str
    reason: str
    at: datetime
    step: int
    attempt: int
    evidence: Annotated[list[str], Field(description="Ids of the reports that it rests on.")]
    gate: Annotated[dict[str, Any] | None, Field(description="What the report came to.")] = None
    part: str | None = None


class Standing(_Answer):
    """Where the rollout stands. Where none was started there is the status and the headline alone."""

    headline: str
    status: str
    phase: str | None = None
    step: int | None = None
    step_name: str | None = None
    attempt: int | None = None
    percentage: float | None = None
    shadow: Annotated[bool | None, Field(description="Whether runs of this step should be shadow runs.")] = None
    ledger_enabled: bool | None = None
    entered_at: datetime | None = None
    highest_passed: Annotated[int | None, Field(description="The highest step that passed; -1 is none.")] = None
    emergency: bool | None = None
    parts_off: list[str] | None = None
    next: str | None = None
    next_needs_approval: bool | None = None
    is_approved: bool | None = None
    steps: list[str] | None = None
    event: RolloutEvent | None = None


class Status(Standing):
    """Where the rollout stands, with its plan, its breakers, and what the gates said last."""

    plan: dict[str, Any] | None = None
    open_breakers: list[str] | None = None
    report: Annotated[Report | None, Field(description="The newest of this step on the service's machine.")] = None


class Why(_Answer):
    """Why the rollout does not rise."""

    is_ready: Annotated[bool, Field(description="Whether the next advance would promote or complete it.")]
    reasons: list[HoldReason]
    report: Report | None


class History(_Answer):
    """What happened, the newest first."""

    events: list[RolloutEvent]


class Ordered(_Answer):
    """What became of an order."""

    said: Annotated[str, Field(description="The same in a sentence.")]
    changed: Annotated[bool, Field(description="Whether anything was written.")]
    dry_run: bool
    refused: Annotated[bool, Field(description="Whether the order cannot be carried out as things are: status 409.")]
    decision: Annotated[str, Field(description="The kind of event, or `hold`.")]
    reasons: list[HoldReason] = []
    breakers: list[str] = []
    version: Annotated[int | None, Field(description="Version of the stored flags that holds now.")] = None
    rollout: Annotated[Standing | None, Field(description="Where it stands now.")] = None
    event: RolloutEvent | None = None
    would_be: Annotated[Standing | None, Field(description="Where a dry run would have brought it.")] = None
    report: Annotated[Report | None, Field(description="What the gates said, where they were asked.")] = None
    off_everywhere: Annotated[bool | None, Field(description="Emergency: whether everything is off for all.")] = None
    off_on_this_machine: bool | None = None
    complete: Annotated[bool | None, Field(description="Emergency: whether every place was reached; 503 if not.")] = (
        None
    )
    kill_switch: bool | None = None
    errors: dict[str, str] | None = None

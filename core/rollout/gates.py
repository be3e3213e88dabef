"""What the gates say about one step of the rollout: values that JSON can hold. `tasks.gates` computes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final

from core.errors import RedoError, StoreError
from core.rollout.fields import Fields
from core.rollout.plan import Phase
from core.rollout.verdict import Verdict, worst

_PLACE: Final = "gate report"


class GateKind(StrEnum):
    """What a gate that fails leads to."""

    GUARDRAIL = "guardrail"  # the rollout steps back
    SIGNAL = "signal"  # the rollout pauses


class GateMode(StrEnum):
    """Whether a gate decides."""

    ENFORCE = "enforce"
    OBSERVE = "observe"  # it is reported, and decides nothing


@dataclass(frozen=True, slots=True)
class GateResult:
    """What one gate came to.

    Attributes:
        name: which gate.
        kind, mode: see there.
        verdict: what it came to, as the gate says it. `counted` is what it counts as.
        value: what was measured; `None` where nothing was.
        threshold: what was asked of it, in words and numbers: `p95 <= 400 ms`.
        n: how many queries, expectations or pairs it rests on.
        window: what it looked at: `last 24 h`, `2030-01-01T00:00Z to 02:00Z`.
        detail: what a person wants to know beyond that, in a sentence.
    """

    name: str
    kind: GateKind
    mode: GateMode
    verdict: Verdict
    value: float | None = None
    threshold: str = ""
    n: int = 0
    window: str = ""
    detail: str = ""

    @property
    def counted(self) -> Verdict:
        """What it counts as: the verdict, but nothing passes that rests on nothing."""
        return Verdict.INCONCLUSIVE if self.verdict is Verdict.PASS and self.n <= 0 else self.verdict

    @property
    def is_enforced(self) -> bool:
        """Whether it decides."""
        return self.mode is GateMode.ENFORCE

    def to_dict(self) -> dict[str, object]:
        """The result as JSON can hold it."""
        return {
            "name": self.name,
            "kind": self.kind.value,
            "mode": self.mode.value,
            "verdict": self.verdict.value,
            "value": self.value,
            "threshold": self.threshold,
            "n": self.n,
            "window": self.window,
            "detail": self.detail,
        }

    @classmethod
    def from_fields(cls, fields: Fields) -> GateResult:
        """Read a result. Raises what `fields` raises, with the field's place."""
        return cls(
            name=fields.text("name"),
            kind=fields.member("kind", GateKind),
            mode=fields.member("mode", GateMode),
            verdict=fields.member("verdict", Verdict),
            value=fields.number("value") if fields.has("value") else None,
            threshold=fields.text("threshold", ""),
            n=fields.whole("n", 0),
            window=fields.text("window", ""),
            detail=fields.text("detail", ""),
        )


@dataclass(frozen=True, slots=True)
class GateReport:
    """What all gates came to, for one step of one attempt.

    Attributes:
        report_id: names the report wherever it is kept: the evidence of a decision.
        phase, attempt, step: what the data belong to. A report of another one never lets anything through.
        created_at: when the gates were evaluated.
        window_start, window_end: the time that the data are of.
        samples: how many queries each arm answered, by `core.rollout.plan.ARM_REDO` and `ARM_LEGACY`.
        results: one for each gate.
    """

    report_id: str
    phase: Phase
    attempt: int
    step: int
    created_at: datetime
    window_start: datetime
    window_end: datetime
    samples: Mapping[str, int] = field(default_factory=dict)
    results: tuple[GateResult, ...] = ()

    def __post_init__(self) -> None:
        """Refuse times without a zone: they would be other ones on each machine. Raises ValueError."""
        for name in ("created_at", "window_start", "window_end"):
            time: datetime = getattr(self, name)
            if time.tzinfo is None:
                raise ValueError(f"{_PLACE}.{name}: {time.isoformat()} has no time zone")

    @property
    def enforced(self) -> tuple[GateResult, ...]:
        """The results that decide."""
        return tuple(result for result in self.results if result.is_enforced)

    @property
    def verdict(self) -> Verdict:
        """The worst enforced verdict; INCONCLUSIVE where no gate is enforced."""
        return worst(result.counted for result in self.enforced)

    def failed(self, kind: GateKind) -> tuple[GateResult, ...]:
        """The enforced gates of a kind that failed."""
        return tuple(r for r in self.enforced if r.kind is kind and r.counted is Verdict.FAIL)

    def of(self, *verdicts: Verdict) -> tuple[GateResult, ...]:
        """The enforced gates that count as one of these."""
        return tuple(result for result in self.enforced if result.counted in verdicts)

    def to_dict(self) -> dict[str, object]:
        """The report as JSON can hold it, with its verdict."""
        return {
            "report_id": self.report_id,
            "phase": self.phase.value,
            "attempt": self.attempt,
            "step": self.step,
            "created_at": self.created_at.isoformat(),
            "window_start": self.window_start.isoformat(),
            "window_end": self.window_end.isoformat(),
            "samples": dict(self.samples),
            "verdict": self.verdict.value,
            "results": [result.to_dict() for result in self.results],
        }

    @classmethod
    def from_dict(cls, data: object, *, error: type[RedoError] = StoreError) -> GateReport:
        """Read a report; its verdict is computed anew. Raises `error`, with the field that cannot be read."""
        fields = Fields(data, _PLACE, error=error)
        return cls(
            report_id=fields.text("report_id"),
            phase=fields.member("phase", Phase),
            attempt=fields.whole("attempt"),
            step=fields.whole("step"),
            created_at=fields.time("created_at"),
            window_start=fields.time("window_start"),
            window_end=fields.time("window_end"),
            samples=fields.counts("samples"),
            results=tuple(GateResult.from_fields(result) for result in fields.inners("results")),
        )

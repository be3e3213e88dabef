"""The steps of a rollout, as data: whose queries REDO answers at each, for how long, and what must be seen before more.

The default follows the rollout guide: everything off while fallbacks and shadow runs are looked at, then 10, 25, 50 and
100 % of the keys, with the ledger on once the orchestrator has shown that it is stable.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from core.errors import ConfigError, FlagError
from core.flags import ROLLOUT_PERCENTAGE, FlagValue, parse_flag
from core.model import Decision
from core.rollout.fields import Fields

ARM_REDO: Final = Decision.REDO.value
ARM_LEGACY: Final = Decision.LEGACY.value
"""Names of the two arms in `GateReport.samples`. In shadow runs every query is a sample of both."""

_PLACE: Final = "rollout plan"
_FULL: Final = 100
_HOUR_S: Final = 3600.0


class Phase(StrEnum):
    """The three phases of the guide, in their order."""

    INFRASTRUCTURE = "infrastructure"
    GRADUAL = "gradual"
    FULL = "full"


_PHASES: Final = tuple(Phase)


class FailPolicy(StrEnum):
    """What a failed gate leads to. None of them raises anything, and all of them need `resume` to go on."""

    STEP_BACK = "step_back"
    TO_ZERO = "to_zero"
    PAUSE = "pause"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step.

    Attributes:
        phase: which phase it belongs to.
        percentage: the share of the keys that REDO answers.
        soak_s: how long it lasts at least, in seconds. The time begins anew with each attempt.
        min_samples_per_arm: how many queries each arm must have answered, in this step and attempt.
        ledger_enabled: whether every query's trace goes to the ledger.
        approval: whether a person must approve before the rollout ENTERS this step.
        shadow: whether runs should compute both selections, serve legacy and record both.
    """

    phase: Phase
    percentage: float
    soak_s: float = _HOUR_S
    min_samples_per_arm: int = 500
    ledger_enabled: bool = False
    approval: bool = False
    shadow: bool = False

    @property
    def name(self) -> str:
        """For people: `gradual 12.5 %`."""
        return f"{self.phase.value} {self.percentage:g} %"

    @property
    def redo_enabled(self) -> bool:
        """Whether REDO answers anybody."""
        return self.percentage > 0

    @property
    def arms(self) -> tuple[str, ...]:
        """The arms that must have answered enough queries. At 100 % nobody is left for legacy but in shadow."""
        return (ARM_REDO,) if self.percentage >= _FULL and not self.shadow else (ARM_REDO, ARM_LEGACY)

    def to_dict(self) -> dict[str, object]:
        """The step as JSON can hold it."""
        return {
            "phase": self.phase.value,
            "percentage": self.percentage,
            "soak_s": self.soak_s,
            "min_samples_per_arm": self.min_samples_per_arm,
            "ledger_enabled": self.ledger_enabled,
            "approval": self.approval,
            "shadow": self.shadow,
        }


_DEFAULT_STEPS: Final = (
    Step(phase=Phase.INFRASTRUCTURE, percentage=0, shadow=True),
    Step(phase=Phase.GRADUAL, percentage=10),
    Step(phase=Phase.GRADUAL, percentage=25, ledger_enabled=True),
    Step(phase=Phase.GRADUAL, percentage=50, ledger_enabled=True),
    Step(phase=Phase.FULL, percentage=_FULL, ledger_enabled=True),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The steps of a rollout and its policies. It is stored with the rollout: a rollout ends by the plan it began with.

    Attributes:
        steps: the first is infrastructure at 0 %, the last is full at 100 %. Percentages rise, phases keep their order,
            and a ledger that is on stays on.
        rollback_soak_s: how long a gradual rollback stays at each step on its way down, in seconds.
        report_max_age_s: how old a gate report may be, in seconds.
        clock_skew_s: by how many seconds the clocks of two machines may differ before a time that has not come yet is
            no longer believed.
        on_guardrail_fail, on_signal_fail: what a failed gate of each kind leads to.

    Raises:
        ConfigError: names the field that makes no sense.
    """

    steps: tuple[Step, ...] = _DEFAULT_STEPS
    rollback_soak_s: float = 600.0
    report_max_age_s: float = _HOUR_S
    clock_skew_s: float = 60.0
    on_guardrail_fail: FailPolicy = FailPolicy.STEP_BACK
    on_signal_fail: FailPolicy = FailPolicy.PAUSE

    def __post_init__(self) -> None:
        """Refuse a plan that makes no sense."""
        for name in ("rollback_soak_s", "report_max_age_s", "clock_skew_s"):
            _require_seconds(name, getattr(self, name))
        if len(self.steps) < 2:  # noqa: PLR2004 - the first and the last
            raise ConfigError(f"{_PLACE}.steps: {len(self.steps)} steps, expected at least two")
        for number, step in enumerate(self.steps):
            _check_step(number, step, self.steps[number - 1] if number else None)
        if (self.steps[-1].phase, self.steps[-1].percentage) != (Phase.FULL, _FULL):
            raise ConfigError(f"{_PLACE}.steps: the last one is {self.steps[-1].name}, expected full 100 %")

    @property
    def last(self) -> int:
        """Number of the last step; the first is 0."""
        return len(self.steps) - 1

    @property
    def first_exposed(self) -> int:
        """Number of the first step at which REDO answers anybody: 10 % in the default."""
        return next(number for number, step in enumerate(self.steps) if step.redo_enabled)

    def to_dict(self) -> dict[str, object]:
        """The plan as JSON can hold it."""
        return {
            "steps": [step.to_dict() for step in self.steps],
            "rollback_soak_s": self.rollback_soak_s,
            "report_max_age_s": self.report_max_age_s,
            "clock_skew_s": self.clock_skew_s,
            "on_guardrail_fail": self.on_guardrail_fail.value,
            "on_signal_fail": self.on_signal_fail.value,
        }

    @classmethod
    def from_dict(cls, data: object) -> Plan:
        """Read a plan, as a person writes it or a state holds it. What is missing has its default.

        Raises:
            ConfigError: a field has a value that it cannot take, or the plan makes no sense.
        """
        fields = Fields(data, _PLACE, error=ConfigError)
        steps = tuple(
            Step(
                phase=step.member("phase", Phase),
                percentage=step.number("percentage"),
                soak_s=step.number("soak_s", _HOUR_S),
                min_samples_per_arm=step.whole("min_samples_per_arm", 500),
                ledger_enabled=step.switch("ledger_enabled", default=False),
                approval=step.switch("approval", default=False),
                shadow=step.switch("shadow", default=False),
            )
            for step in fields.inners("steps")
        )
        return cls(
            steps=steps if fields.has("steps") else _DEFAULT_STEPS,
            rollback_soak_s=fields.number("rollback_soak_s", 600.0),
            report_max_age_s=fields.number("report_max_age_s", _HOUR_S),
            clock_skew_s=fields.number("clock_skew_s", 60.0),
            on_guardrail_fail=fields.member("on_guardrail_fail", FailPolicy, FailPolicy.STEP_BACK),
            on_signal_fail=fields.member("on_signal_fail", FailPolicy, FailPolicy.PAUSE),
        )


def percentage_of(step: Step) -> FlagValue:
    """The step's share as the flag holds it: a whole number where it is one."""
    return parse_flag(ROLLOUT_PERCENTAGE, step.percentage)


def _require_seconds(name: str, seconds: float) -> None:
    if not 0 <= seconds < math.inf:
        raise ConfigError(f"{_PLACE}.{name}: {seconds!r} is not at least 0 seconds")


def _check_step(number: int, step: Step, before: Step | None) -> None:
    place = f"steps[{number}]"
    _require_seconds(f"{place}.soak_s", step.soak_s)
    try:
        percentage_of(step)
    except FlagError as error:
        raise ConfigError(f"{_PLACE}.{place}.percentage: {error}") from None
    if step.min_samples_per_arm < 1:
        raise ConfigError(f"{_PLACE}.{place}.min_samples_per_arm: {step.min_samples_per_arm} is not at least 1")
    if (step.phase is Phase.INFRASTRUCTURE) != (step.percentage == 0):
        raise ConfigError(f"{_PLACE}.{place}: {step.name}, expected infrastructure at 0 % and no other phase at 0 %")
    if (step.phase is Phase.FULL) != (step.percentage == _FULL):
        raise ConfigError(f"{_PLACE}.{place}: {step.name}, expected full at 100 % and no other phase at 100 %")
    if before is None:
        if step.percentage:
            raise ConfigError(f"{_PLACE}.{place}: the first one is {step.name}, expected infrastructure 0 %")
        return
    if step.percentage <= before.percentage and step.percentage:
        raise ConfigError(
            f"{_PLACE}.{place}.percentage: {step.percentage:g} is not more than the {before.percentage:g} before it"
        )
    if _PHASES.index(step.phase) < _PHASES.index(before.phase):
        raise ConfigError(f"{_PLACE}.{place}.phase: {step.phase.value} cannot follow {before.phase.value}")
    if before.ledger_enabled and not step.ledger_enabled:
        raise ConfigError(f"{_PLACE}.{place}.ledger_enabled: false, but the step before has the ledger on")

"""What the health checks have found, as the shared state holds it, and what follows from it: values and pure functions.

    {"components": {"index": {"healthy": false, "error": "...", "since": "...", "checked_at": "..."}},
     "last_errors": {"orchestrator": {"error": "...", "time": "..."}}, "simulated_until": null}

It is written when a finding changes, and otherwise at most once an interval, whoever checks. So a finding that nobody
has renewed for ten intervals is one that nobody checks any more; it counts no longer, for nothing would ever lift it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, TypeAlias

from core.errors import StoreError
from core.fallbacks.stored_time import stored_time
from core.model import Reason

HEALTH: Final = "health"
"""Name of the stored value."""

_LAPSES_AFTER_INTERVALS: Final = 10
_EARLY: Final = 0.9  # of an interval: a timer that comes a little early still renews
_ERROR_CHARS: Final = 500

Probe: TypeAlias = Callable[[], object]
"""Checks one component: raises, or returns False, where it does not work."""


class Component(StrEnum):
    """What can be checked."""

    ORCHESTRATOR = "orchestrator"  # a self-test query
    INDEX = "index"  # the passage index
    LEDGER = "ledger"  # the ledger's store
    STATE = "state"  # the shared state's store


DATABASE: Final = (Component.INDEX, Component.STATE)
"""What REDO cannot work without: the guide's database."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found: the error, or `None`; since when it has been so; and when that was last checked."""

    error: str | None
    since: datetime
    checked_at: datetime


@dataclass(frozen=True, slots=True)
class ErrorNote:
    """The last error of a component, and when it was."""

    error: str
    time: datetime


@dataclass(frozen=True, slots=True)
class HealthState:
    """What all processes know of the components.

    Attributes:
        findings: the last finding for each component that has been checked.
        last_errors: the last error of each component, from a check or from calls that opened its breaker.
        simulated_until: until when a failure of the database is simulated.
    """

    findings: Mapping[Component, Finding] = field(default_factory=dict)
    last_errors: Mapping[Component, ErrorNote] = field(default_factory=dict)
    simulated_until: datetime | None = None

    @property
    def last_check(self) -> datetime | None:
        """When anything was last checked, as far as it was written."""
        return max((finding.checked_at for finding in self.findings.values()), default=None)

    def to_dict(self) -> dict[str, object]:
        """The state as JSON can hold it."""
        return {
            "components": {
                component.value: {
                    "healthy": finding.error is None,
                    "error": finding.error,
                    "since": finding.since.isoformat(),
                    "checked_at": finding.checked_at.isoformat(),
                }
                for component, finding in self.findings.items()
            },
            "last_errors": {
                component.value: {"error": note.error, "time": note.time.isoformat()}
                for component, note in self.last_errors.items()
            },
            "simulated_until": None if self.simulated_until is None else self.simulated_until.isoformat(),
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, object] | None) -> HealthState:
        """Read a state. What is missing has its default; components that are not known are passed over.

        Raises:
            StoreError: names the field that cannot be read.
        """
        if stored is None:
            return cls()
        until = stored.get("simulated_until")
        return cls(
            findings={
                component: Finding(
                    error=_error(record, f"components.{component}"),
                    since=_time(record.get("since"), f"components.{component}.since"),
                    checked_at=_time(record.get("checked_at"), f"components.{component}.checked_at"),
                )
                for component, record in _records(stored, "components")
            },
            last_errors={
                component: ErrorNote(
                    str(record.get("error", "")), _time(record.get("time"), f"last_errors.{component}.time")
                )
                for component, record in _records(stored, "last_errors")
            },
            simulated_until=None if until is None else _time(until, "simulated_until"),
        )


def _records(stored: Mapping[str, object], name: str) -> list[tuple[Component, Mapping[str, object]]]:
    records = stored.get(name) or {}
    if not isinstance(records, Mapping):
        raise _unreadable(name, records, "an object")
    known = [(component, records[component.value]) for component in Component if component.value in records]
    for component, record in known:
        if not isinstance(record, Mapping):
            raise _unreadable(f"{name}.{component}", record, "an object")
    return known


def _error(record: Mapping[str, object], place: str) -> str | None:
    """Why it is not healthy. `healthy` decides, so that who edits it by hand need not know of `error`."""
    healthy = record.get("healthy", True)
    if not isinstance(healthy, bool):
        raise _unreadable(f"{place}.healthy", healthy, "true or false")
    return None if healthy else str(record.get("error") or "not healthy")


def _time(value: object, place: str) -> datetime:
    time = stored_time(value)
    if time is None:
        raise _unreadable(place, value, "a date and time with a time zone")
    return time


def _unreadable(place: str, value: object, expected: str) -> StoreError:
    return StoreError(f"stored health, field {place!r}: {value!r} is not {expected}")


# --- rules --------------------------------------------------------------------------------------------------------


def described(error: BaseException | str) -> str:
    """An error in one line of bounded length, for the shared state."""
    text = error if isinstance(error, str) else f"{type(error).__name__}: {error}".removesuffix(": ")
    return " ".join(text.split())[:_ERROR_CHARS]


def with_findings(
    state: HealthState, errors: Mapping[Component, str | None], *, now: datetime, interval_s: float
) -> HealthState:
    """Take in what a round of checks found; the same object where there is nothing worth writing.

    Args:
        state: what was known before.
        errors: for each component that was checked, its error or `None`.
        now: when they were checked.
        interval_s: seconds between two rounds of checks.
    """
    before = state.findings
    is_new = any(component not in before or before[component].error != error for component, error in errors.items())
    renew_before = now - timedelta(seconds=_EARLY * interval_s)
    if not is_new and all(before[component].checked_at > renew_before for component in errors):
        return state
    findings, notes = dict(before), dict(state.last_errors)
    for component, error in errors.items():
        known = before.get(component)
        is_same = known is not None and (known.error is None) is (error is None)
        findings[component] = Finding(error, known.since if known is not None and is_same else now, now)
        if error is not None:
            notes[component] = ErrorNote(error, now)
    return replace(state, findings=findings, last_errors=notes)


def with_error(state: HealthState, component: Component, error: str, *, now: datetime) -> HealthState:
    """Note the last error of a component; what the checks found stays as it is."""
    return replace(state, last_errors={**state.last_errors, component: ErrorNote(error, now)})


def with_simulation(state: HealthState, until: datetime | None) -> HealthState:
    """Simulate until then that the database fails, or end the simulation."""
    return replace(state, simulated_until=until)


def failing(state: HealthState, *, now: datetime, interval_s: float) -> tuple[Component, ...]:
    """The components that were found not to work, by findings that still count."""
    renewed_after = now - timedelta(seconds=_LAPSES_AFTER_INTERVALS * interval_s)
    return tuple(
        component
        for component, finding in state.findings.items()
        if finding.error is not None and finding.checked_at > renewed_after
    )


def is_simulated(state: HealthState, now: datetime) -> bool:
    """Whether a failure of the database is being simulated."""
    return state.simulated_until is not None and now < state.simulated_until


def stop_reason(state: HealthState, *, now: datetime, interval_s: float, obey_findings: bool) -> Reason | None:
    """Why REDO cannot work, or `None`. The ledger is no reason: without it queries are answered all the same.

    A simulation is somebody's order, and is obeyed also where findings are not.
    """
    bad = failing(state, now=now, interval_s=interval_s) if obey_findings else ()
    if any(component in DATABASE for component in bad):
        return Reason.DATABASE_UNAVAILABLE
    if is_simulated(state, now):
        return Reason.SIMULATED
    return Reason.UNHEALTHY if Component.ORCHESTRATOR in bad else None

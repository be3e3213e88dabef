"""Small versioned values that processes share: flags, breakers, the rollout. Changed by compare-and-swap only.

A value is a mapping that JSON can hold. Whoever changes it loads a version, computes the next one and swaps it in on
condition that nobody was faster; who was not tries again (`update`). There is no lock to leak when a process dies.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol, TypeVar

from core.errors import StateConflict

# A name that a file, a table and a Prefect block can all have.
_NAME: Final = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


@dataclass(frozen=True, slots=True)
class Versioned:
    """One version of a value.

    Attributes:
        version: 1 for the first, one more for each change.
        value: the value; whoever loaded it owns it.
        changed_at: when this version was written, in UTC, by the clock of the writer.
        actor, reason: who wrote it, and why.
    """

    version: int
    value: Mapping[str, object]
    changed_at: datetime
    actor: str
    reason: str


@dataclass(frozen=True, slots=True)
class Change:
    """One entry of a value's history.

    Attributes:
        version: the version that the change made.
        actor, reason: who made it, and why.
        before: the value before; `None` for the first version.
        after: the value after.
        time: when, in UTC, by the clock of the writer.
    """

    version: int
    actor: str
    reason: str
    before: Mapping[str, object] | None
    after: Mapping[str, object]
    time: datetime


def check_name(name: str) -> str:
    """Return the name of a value. Raises ValueError where it is not lower-case letters, digits and single hyphens."""
    if _NAME.fullmatch(name) is None:
        raise ValueError(
            f"state name {name!r}: expected lower-case letters, digits and single hyphens, as in 'my-flags'"
        )
    return name


class _Swappable(Protocol):
    """The two verbs of `core.ports.StateStore` that `update` needs; ports stand above this module."""

    def load(self, name: str) -> Versioned | None:
        """See `core.ports.StateStore`."""
        ...

    def swap(
        self, name: str, *, expected_version: int, value: Mapping[str, object], actor: str, reason: str
    ) -> Versioned:
        """See `core.ports.StateStore`."""
        ...


_Value = TypeVar("_Value", bound=Mapping[str, object])


def update(
    store: _Swappable,
    name: str,
    change: Callable[[Mapping[str, object] | None], _Value],
    *,
    actor: str,
    reason: str,
    attempts: int = 100,
) -> Versioned:
    """Change a value, again and again until nobody came in between, and return the version that holds.

    Each lost attempt means that somebody else's change was written, so all writers together always move on. A result
    that equals the present value is not written.

    Args:
        store: where the value is.
        name: which value.
        change: computes the next value from the present one (`None`: there is none yet). It may run several times, so
            it must have no effects, and must return a new mapping. What it raises passes through; nothing is changed.
        actor: who makes the change, for the history.
        reason: why, for the history.
        attempts: how often it is tried; a bound against a store that conflicts for ever.

    Raises:
        StateConflict: every attempt lost.
        StoreError: the store failed.
    """
    for attempt in range(1, attempts + 1):
        present = store.load(name)
        value = change(None if present is None else present.value)
        if present is not None and value == present.value:
            return present
        try:
            return store.swap(
                name,
                expected_version=0 if present is None else present.version,
                value=value,
                actor=actor,
                reason=reason,
            )
        except StateConflict:
            if attempt == attempts:
                raise
    raise ValueError(f"attempts: {attempts} is less than 1")

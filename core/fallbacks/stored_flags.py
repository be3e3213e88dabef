"""The flags as the shared state holds them, and every change of them, as pure functions on plain mappings.

    {"orchestrator.redo_enabled": true, "rollout_percentage": 10, "overrides": [{"flag": ..., ...}], "killed": false}

The flags stand side by side at the top, so that each one is a field of its own in the Prefect UI, and an edit there
changes no other. A newer REDO may write more. So what is not known is carried along, what cannot be read is named, and
`killed` counts whenever it is anything but false.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from core.errors import FlagError, StoreError
from core.fallbacks.stored_time import stored_time
from core.flags import DEFINITIONS, FlagValue, Override, parse_flag

FLAGS: Final = "flags"
"""Name of the stored value."""

Stored = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class StoredFlags:
    """What is stored. The values are as they were found: `core.flags.resolve` checks them, and says where they stand.

    Attributes:
        values: values by the flags' names.
        overrides: values for a while, expired ones included.
        killed: whether the kill switch is on.
    """

    values: Mapping[str, object] = field(default_factory=dict)
    overrides: tuple[Override, ...] = ()
    killed: bool = False

    @classmethod
    def from_dict(cls, stored: Stored | None) -> StoredFlags:
        """Read what is stored. With the kill switch on nothing else is read, so that nothing else can be in its way.

        Raises:
            StoreError: names the field that cannot be read.
        """
        if stored is None:
            return cls()
        killed = stored.get("killed")
        if killed is not None and killed is not False:
            return cls(killed=True)
        values = {name: stored[name] for name in DEFINITIONS if stored.get(name) is not None}
        return cls(values, tuple(override for _, override in _overrides(stored)))


def _overrides(stored: Stored) -> list[tuple[object, Override]]:
    """Each override as it is stored, and read."""
    records = stored.get("overrides") or []
    if not isinstance(records, list):
        raise _unreadable("overrides", records, "a list")
    return [(record, _override(number, record)) for number, record in enumerate(records)]


def _override(number: int, item: object) -> Override:
    field_ = f"overrides[{number}]"
    if not isinstance(item, Mapping):
        raise _unreadable(field_, item, "an object")
    texts = {name: item.get(name, "") for name in ("flag", "expires_at", "actor", "reason")}
    for name, text in texts.items():
        if not isinstance(text, str):
            raise _unreadable(f"{field_}.{name}", text, "a text")
    key = item.get("key")
    if key is not None and not isinstance(key, str):
        raise _unreadable(f"{field_}.key", key, "a text or null")
    expires_at = stored_time(texts["expires_at"])
    if expires_at is None:
        raise _unreadable(f"{field_}.expires_at", texts["expires_at"], "a date and time with a time zone")
    return Override(
        flag=texts["flag"],
        value=item.get("value"),  # type: ignore[arg-type]  # checked by `resolve`, while the override lasts
        expires_at=expires_at,
        key=key,
        actor=texts["actor"],
        reason=texts["reason"],
    )


def _unreadable(field_: str, value: object, expected: str) -> StoreError:
    return StoreError(f"stored flags, field {field_!r}: {value!r} is not {expected}")


# --- changes ------------------------------------------------------------------------------------------------------


def with_values(stored: Stored | None, values: Mapping[str, object]) -> dict[str, object]:
    """Set flags, all of them or none.

    Raises:
        FlagError: a flag does not exist or cannot take its value.
    """
    return {**(stored or {}), **{name: parse_flag(name, value) for name, value in values.items()}}


def with_override(stored: Stored | None, override: Override, *, now: datetime) -> dict[str, object]:
    """Add an override in the place of one of the same flag and key; expired ones are dropped.

    Raises:
        FlagError: its flag does not exist or cannot take its value, or it has no time zone, or has expired.
        StoreError: what is stored cannot be read.
    """
    value: FlagValue = parse_flag(override.flag, override.value)
    if override.expires_at.tzinfo is None or override.expires_at <= now:
        raise FlagError(
            f"override of {override.flag!r}: {override.expires_at.isoformat()} is not a time to come with a time zone"
        )
    kept = _kept(stored, flag=override.flag, key=override.key, now=now)
    record: dict[str, object] = {
        "flag": override.flag,
        "value": value,
        "expires_at": override.expires_at.isoformat(),
        "key": override.key,
        "actor": override.actor,
        "reason": override.reason,
    }
    return {**(stored or {}), "overrides": [*kept, record]}


def without_override(stored: Stored | None, *, flag: str, key: str | None, now: datetime) -> dict[str, object]:
    """Drop the override of a flag and key, and expired ones. Raises StoreError where what is stored cannot be read."""
    return {**(stored or {}), "overrides": _kept(stored, flag=flag, key=key, now=now)}


def with_killed(stored: Stored | None, *, killed: bool) -> dict[str, object]:
    """Turn the kill switch on or off."""
    return {**(stored or {}), "killed": killed}


def _kept(stored: Stored | None, *, flag: str, key: str | None, now: datetime) -> list[object]:
    """The stored overrides but the one of this flag and key, and without expired ones, as they are stored."""
    return [
        record
        for record, override in _overrides(stored or {})
        if override.expires_at > now and (override.flag, override.key) != (flag, key)
    ]

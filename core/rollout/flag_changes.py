"""The rollout and the stored flags: what of them differs from the step, and how both are written as one value.

Flags can be edited beside the rollout, by hand. A rise writes what the step says, and happens only where nothing
differs. A lowering never raises anything: each flag becomes the lower one of what is stored and what the step says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from core.errors import FlagError, StoreError
from core.fallbacks.stored_flags import Stored, StoredFlags, with_killed, with_values
from core.flags import DEFINITIONS, LEDGER_ENABLED, REDO_ENABLED, ROLLOUT_PERCENTAGE, FlagValue, Override, parse_flag
from core.rollout.event import Part
from core.rollout.state import ROLLOUT, RolloutState

_OVERRIDES: Final = "overrides"
_FLAG_OF: Final[Mapping[Part, str]] = {Part.ORCHESTRATOR: REDO_ENABLED, Part.LEDGER: LEDGER_ENABLED}


@dataclass(frozen=True, slots=True)
class Difference:
    """Something stored that is not as the step wants it.

    Attributes:
        text: what, for people.
        is_lower: whether less is on than the step wants. Otherwise more is, or nobody can tell.
        is_kill_switch: whether it is the stored kill switch.
    """

    text: str
    is_lower: bool
    is_kill_switch: bool = False


def differences(stored: Stored | None, state: RolloutState, *, now: datetime) -> tuple[Difference, ...]:
    """Return what of the stored flags is not as the rollout wants it.

    Overrides of one key are let be: they are how somebody tries REDO alone. One for everybody differs, as nobody can
    tell any more what the step does.
    """
    found: list[Difference] = []
    if is_killed(stored):
        found.append(Difference("the stored kill switch is on", is_lower=True, is_kill_switch=True))
    for name, wanted in state.flags.items():
        value = _parsed(stored, name)
        if value is None:
            found.append(Difference(f"{name} is {_shown(stored, name)}, not {_text(wanted)}", is_lower=False))
        elif value != wanted:
            found.append(Difference(f"{name} is {_text(value)}, not {_text(wanted)}", is_lower=value < wanted))
    try:
        overrides: tuple[Override, ...] = StoredFlags.from_dict({_OVERRIDES: (stored or {}).get(_OVERRIDES)}).overrides
    except StoreError as error:
        found.append(Difference(str(error), is_lower=False))
        overrides = ()
    for override in overrides:
        if override.key is None and override.expires_at > now:
            until = override.expires_at.isoformat(timespec="seconds")
            text = f"an override by {override.actor} sets {override.flag} for everybody until {until}"
            found.append(Difference(text, is_lower=False))
    return tuple(found)


def is_above(stored: Stored | None, state: RolloutState, now: datetime) -> bool:
    """Whether more is on than the rollout wants, or nobody can tell."""
    return any(not difference.is_lower for difference in differences(stored, state, now=now))


def is_on(stored: Stored | None, part: Part) -> bool:
    """Whether the flag of a component is anything but off."""
    return (stored or {}).get(_FLAG_OF[part]) is not False


def begun(stored: Stored | None, state: RolloutState) -> dict[str, object]:
    """As `raised`, without overrides for everybody: nobody could tell otherwise what the steps do."""
    return raised(_without(stored, _is_for_everybody), state)


def raised(stored: Stored | None, state: RolloutState) -> dict[str, object]:
    """Write the state, and the flags as it wants them."""
    return {**with_values(stored, state.flags), ROLLOUT: state.to_dict()}


def put_back(stored: Stored | None, state: RolloutState) -> dict[str, object]:
    """As `raised`; overrides for everybody and the stored kill switch are lifted too."""
    return begun(with_killed(stored, killed=False), state)


def noted(stored: Stored | None, state: RolloutState) -> dict[str, object]:
    """Write the state, and leave the flags as they are."""
    return {**(stored or {}), ROLLOUT: state.to_dict()}


def lowered(stored: Stored | None, state: RolloutState) -> dict[str, object]:
    """Write the state, and each flag at what it wants or at what is stored, whichever is lower.

    Overrides for everybody are dropped, and those of a key for a component that was taken out; so are those that cannot
    be read, which would keep every process from reading the rest.
    """

    def is_in_the_way(override: Override) -> bool:
        return _is_for_everybody(override) or override.flag in taken_out

    wanted = state.flags
    taken_out = {_FLAG_OF[part] for part in state.parts_off}
    redo = bool(wanted[REDO_ENABLED]) and _parsed(stored, REDO_ENABLED) is True
    ledger = bool(wanted[LEDGER_ENABLED]) and _parsed(stored, LEDGER_ENABLED) is True
    values: dict[str, FlagValue] = {
        REDO_ENABLED: redo,
        LEDGER_ENABLED: ledger,
        ROLLOUT_PERCENTAGE: min(wanted[ROLLOUT_PERCENTAGE], _percentage(stored)) if redo else 0,
    }
    return {**with_values(_without(stored, is_in_the_way), values), ROLLOUT: state.to_dict()}


def all_off(stored: Stored | None, state: RolloutState) -> dict[str, object]:
    """Write the state, all flags off, no overrides, and the kill switch on, which reaches running batches too."""
    return {**with_killed(with_values(stored, state.flags), killed=True), _OVERRIDES: [], ROLLOUT: state.to_dict()}


def is_killed(stored: Stored | None) -> bool:
    """Whether the stored kill switch is on: whenever it is anything but false."""
    killed = (stored or {}).get("killed")
    return killed is not None and killed is not False


def _is_for_everybody(override: Override) -> bool:
    return override.key is None


def _without(stored: Stored | None, drops: Callable[[Override], bool]) -> dict[str, object]:
    """What is stored without some overrides, and without those that cannot be read."""
    after = dict(stored or {})
    records = after.get(_OVERRIDES)
    if records is None:
        return after
    after[_OVERRIDES] = [record for record in records if _is_kept(record, drops)] if isinstance(records, list) else []
    return after


def _is_kept(record: object, drops: Callable[[Override], bool]) -> bool:
    try:
        (override,) = StoredFlags.from_dict({_OVERRIDES: [record]}).overrides
        parse_flag(override.flag, override.value)
    except (StoreError, FlagError):
        return False
    return not drops(override)


def _parsed(stored: Stored | None, name: str) -> FlagValue | None:
    """The stored value of a flag; `None` where none is set that the flag can take."""
    try:
        return parse_flag(name, (stored or {}).get(name))
    except FlagError:
        return None


def _percentage(stored: Stored | None) -> FlagValue:
    """The stored share; the default where none is set, and 0 where it is nonsense."""
    is_set = (stored or {}).get(ROLLOUT_PERCENTAGE) is not None
    default = 0 if is_set else DEFINITIONS[ROLLOUT_PERCENTAGE].default
    value = _parsed(stored, ROLLOUT_PERCENTAGE)
    return default if value is None else value


def _shown(stored: Mapping[str, object] | None, name: str) -> str:
    value = (stored or {}).get(name)
    return "not set" if value is None else repr(value)


def _text(value: FlagValue) -> str:
    return str(value).lower()

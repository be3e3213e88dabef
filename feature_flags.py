"""The guide's facade for the flags: read and set them for everybody, from any process, in one line.

A change is in the shared state, so running flows and services see it, and in its history with who, why, before and
after.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from core.fallbacks import get_fallback_manager
from core.flags import FlagValue, definition_of

__all__: Final = ["get_all_flags", "get_feature_flag", "set_feature_flag", "set_feature_flags"]


def set_feature_flag(name: str, value: object, *, actor: str | None = None, reason: str | None = None) -> None:
    """Set a flag for everybody.

    Args:
        name: the flag, `"orchestrator.redo_enabled"` say.
        value: its value; text is refused, `"true"` too.
        actor: who sets it; this user on this host by default.
        reason: why, for the history.

    Raises:
        FlagError: there is no such flag, or it cannot take the value; nothing was changed.
        StoreError: the shared state does not answer; nothing was changed.
    """
    set_feature_flags({name: value}, actor=actor, reason=reason)


def set_feature_flags(values: Mapping[str, object], *, actor: str | None = None, reason: str | None = None) -> None:
    """Set several flags for everybody in one step: others see all of them changed, or none.

    Raises:
        FlagError: there is no such flag, or one cannot take its value; nothing was changed.
        StoreError: the shared state does not answer; nothing was changed.
    """
    get_fallback_manager().flags.set(values, actor=actor, reason=reason)


def get_feature_flag(name: str) -> FlagValue:
    """The value of a flag that is in force now, wherever it comes from. Raises FlagError where there is none."""
    definition_of(name)
    return get_all_flags()[name]


def get_all_flags() -> dict[str, FlagValue]:
    """The values of all flags that are in force now, by name, wherever they come from.

    Kill switches, overrides for everybody, the shared state, the environment and the defaults count, in this order.
    """
    manager = get_fallback_manager()
    manager.refresh()
    return manager.flag_view().flags.as_dict()

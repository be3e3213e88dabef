"""Change REDO's flags for everybody, from the run form of the Prefect UI: toggles, a percentage, who and why.

What is changed here stays changed. The block `redo-flags` shows it, and can be edited too.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from prefect import flow
from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from pydantic import Field

from core.fallbacks import RedoFallbackManager, get_fallback_manager
from core.flags import LEDGER_ENABLED, REDO_ENABLED, ROLLOUT_PERCENTAGE, FlagValue
from tasks.events import EventName, emit
from tasks.flag_artifact import FlagsSeen, publish_flags, seen_flags

Toggle: TypeAlias = Literal["unchanged", "on", "off"]


@flow(name="set-flags", persist_result=False)
def set_flags(  # the order is that of the run form
    *,
    redo_enabled: Toggle = "unchanged",
    ledger_enabled: Toggle = "unchanged",
    rollout_percentage: Annotated[float | None, Field(ge=0, le=100)] = None,
    everything_off: Toggle = "unchanged",
    why: Annotated[str, Field(min_length=1, max_length=500)],
    who: Annotated[str, Field(max_length=100)] = "",
) -> dict[str, Any]:
    """Change the flags for all workers, services and command lines, all of the given ones or none.

    Args:
        redo_enabled: orchestrator.redo_enabled: REDO answers the queries that are in the rollout.
        ledger_enabled: ledger.enabled: every query's trace goes to the ledger, whichever arm answered it.
        rollout_percentage: The share of the sessions that is in the rollout: 0 to 100, at most three decimals. Empty:
            unchanged.
        everything_off: The kill switch. On turns REDO and the ledger off at once, whatever the flags say.
        why: The reason, for the history.
        who: Your name, for the history; the run's by default. Prefect's own server does not know its users.

    Returns:
        Whether anything changed, and the flags before and after: the values that are set and those in force.

    Raises:
        FlagError: a flag cannot take its value; nothing was changed.
        StoreError: the shared state does not answer; what was not changed is as it was.
    """
    actor = who or f"flow run {flow_run.name or 'set-flags'}"
    manager = get_fallback_manager()
    before = seen_flags(manager)
    _change(
        manager,
        _values(redo_enabled=redo_enabled, ledger_enabled=ledger_enabled, rollout_percentage=rollout_percentage),
        everything_off,
        actor=actor,
        reason=why,
    )
    after = seen_flags(manager)
    changed = before != after
    report = {"changed": changed, "actor": actor, "reason": why, "before": before.as_dict(), "after": after.as_dict()}
    if changed:
        emit(EventName.FLAGS_CHANGED, "flags", report)
    publish_flags(before, after, actor=actor, reason=why)
    get_run_logger().info("%s by %s: %s", _said(before, after), actor, why)
    return report


def _values(*, redo_enabled: Toggle, ledger_enabled: Toggle, rollout_percentage: float | None) -> dict[str, FlagValue]:
    """The flags to set, by name."""
    toggles = {REDO_ENABLED: redo_enabled, LEDGER_ENABLED: ledger_enabled}
    values: dict[str, FlagValue] = {name: toggle == "on" for name, toggle in toggles.items() if toggle != "unchanged"}
    if rollout_percentage is not None:
        values[ROLLOUT_PERCENTAGE] = rollout_percentage
    return values


def _change(
    manager: RedoFallbackManager, values: dict[str, FlagValue], everything_off: Toggle, *, actor: str, reason: str
) -> None:
    """Off comes first, on comes last: nothing is on in between that is not meant to be."""
    if everything_off == "on":
        manager.flags.kill(actor=actor, reason=reason)
    if values:
        manager.flags.set(values, actor=actor, reason=reason)
    if everything_off == "off":
        manager.flags.lift_kill(actor=actor, reason=reason)


def _said(before: FlagsSeen, after: FlagsSeen) -> str:
    changes = [
        f"{name} {old} -> {new}"
        for (name, old), new in zip(before.shown.items(), after.shown.values(), strict=True)
        if old != new
    ]
    return ", ".join(changes) or "nothing changed"

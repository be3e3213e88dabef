"""Handing what waits in the spool to the ledger: past the guard, and counted.

It may be done again at any time, by any process of this `REDO_HOME`: by the run that made the traces, the next one, the
service, `redo ledger drain`, the flow that maintains the ledger. A ledger that fails costs nothing but time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Final

from core.errors import StoreError
from core.fallbacks import RedoFallbackManager, get_fallback_manager
from core.metrics import Metrics
from core.model import Reason
from ledger.delivery import Delivery, Round
from ledger.spool import Quarantined, SetAside
from tasks.run_folder import RunFolder, read_json
from tasks.run_spec import RunSpec
from tasks.settings import Settings, load_settings
from tasks.wiring import CLOCK, ledger_store, metrics_recorder, trace_spool

_BECAUSE: Final = {
    Reason.BREAKER_OPEN: "it failed a moment ago (BREAKER_OPEN)",
    Reason.KILL_SWITCH: "a kill switch is on (KILL_SWITCH)",
}


def store_traces(folder: RunFolder, number: int) -> int:
    """Hand the traces of a chunk that is done to the ledger; returns how many rows the ledger has of it.

    Raises:
        StoreError: the ledger did not take them; they stay in the spool, or went to its quarantine.
    """
    chunk, settings = folder.chunk(number), load_settings()
    report, ledger = read_json(chunk.done), RunSpec.load(folder.spec).ledger
    if ledger is None or report["ledger_key"] is None or report["refused"] is not None:
        return 0
    if not chunk.stored.exists():
        spool = trace_spool(settings)
        waiting = spool.find(ledger=ledger, key=report["ledger_key"])
        if waiting is not None:
            outcome = _delivery(settings, probe=False, manager=get_fallback_manager()).deliver(waiting)
            if isinstance(outcome, Quarantined):
                _count([outcome])
    if not chunk.stored.exists():
        raise StoreError(_why_not(settings, ledger, report["ledger_key"]))
    return int(read_json(chunk.stored)["rows"])


def deliver_waiting(
    *, probe: bool = False, limit_s: float = math.inf, manager: RedoFallbackManager | None = None
) -> Round:
    """Hand over all that waits, whoever put it there. Never raises for a ledger that fails.

    Args:
        probe: try a ledger whose breaker is open, because somebody asks; where it takes an entry the breaker is closed.
        limit_s: seconds after which nothing more is begun.
        manager: the guard; that of the process by default.
    """
    give_up_at = CLOCK.now() + limit_s
    delivery = _delivery(load_settings(), probe=probe, manager=manager or get_fallback_manager())
    sent = delivery.deliver_all(out_of_time=lambda: CLOCK.now() > give_up_at)
    _count(sent.set_aside)
    return sent


def anything_waits() -> bool:
    """Whether there is something to hand over."""
    with suppress(StoreError):
        return bool(trace_spool(load_settings()).waiting())
    return False


def _delivery(settings: Settings, *, probe: bool, manager: RedoFallbackManager) -> Delivery:
    return Delivery(trace_spool(settings), ledger_store, guard=partial(_guarded, manager, probe=probe))


@contextmanager
def _guarded(manager: RedoFallbackManager, *, probe: bool) -> Iterator[None]:
    """The block in which the ledger is asked: its breaker lets it be asked, and counts how that goes."""
    with manager.safe_ledger_execution(enabled=True) as execution:
        reason = execution.reason
        if not execution.allowed and not (probe and reason is Reason.BREAKER_OPEN):
            raise StoreError(
                f"the ledger is not tried: {_BECAUSE.get(reason, reason.value)}; the traces wait in the spool"
            )
        try:
            yield
        except StoreError:
            metrics_recorder().add(Metrics(ledger_failures=1))
            raise
    if not execution.allowed:
        with suppress(StoreError):  # the breaker's own probe closes it later then
            manager.close_ledger_breaker()


def _count(set_aside: list[Quarantined] | tuple[Quarantined, ...]) -> None:
    """Count what the ledger will never have. What it has from another attempt is no loss."""
    lost = sum(item.kind is not SetAside.ANOTHER_ATTEMPT for item in set_aside)
    if lost:
        metrics_recorder().add(Metrics(ledger_quarantined=lost))


def _why_not(settings: Settings, ledger: str, key: str) -> str:
    """Why traces that do not wait are not in the ledger."""
    for item in reversed(trace_spool(settings).quarantined()):
        if (item.ledger, item.key) == (ledger, key):
            return f"its traces are in quarantine: {item.reason}"
    return f"its traces are in no spool: {settings.home_folder / 'spool'} has neither {key} nor a note of it"

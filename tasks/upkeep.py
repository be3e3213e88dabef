"""The upkeep of the ledger, step by step, as the flow and the command line run it.

Nothing here is in a query's way, so it waits longer for the store than a chunk does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from typing import Any, Final, Literal, TypeAlias

from core.errors import RedoError
from core.ports import LedgerStore
from ledger.compact import CompactReport, compact
from ledger.encode import keyed_hash
from ledger.forget import ForgetReport, reapply
from ledger.garbage import collect
from ledger.local import LocalLedgerStore
from ledger.objects import open_store
from ledger.s3 import S3LedgerStore
from ledger.spool import SetAside
from ledger.verify import VerifyReport, verify
from tasks.delivery import deliver_waiting
from tasks.settings import load_settings
from tasks.wiring import CLOCK, hash_key, metrics_recorder, trace_spool

_TIMEOUT_S: Final = 120.0  # an object has some 64 MB
_RETRIES: Final = 5
_SHOWN: Final = 5

Look: TypeAlias = Literal["full", "quick", "off"]
"""How closely to verify."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of the upkeep.

    Attributes:
        name: what was done: `drain`, `forget`, `compact`, `gc` or `verify`.
        did: what came of it, in a few words.
        problems: what is wrong; a step that has any has failed.
        details: the step's report, as JSON values.
    """

    name: str
    did: str
    problems: tuple[str, ...] = ()
    details: dict[str, Any] | None = None


def upkeep_store(uri: str | None) -> S3LedgerStore | LocalLedgerStore:
    """The store of a ledger, by default of the configured one. Raises ConfigError where the URI cannot be used."""
    return open_store(uri or load_settings().ledger, timeout_s=_TIMEOUT_S, retries=_RETRIES)


def ready_store(uri: str | None) -> LedgerStore:
    """The same, once it has answered: an empty listing of a place that is no ledger would look like a clean one.

    Raises:
        ConfigError: the URI cannot be used.
        StoreError: the store does not answer.
    """
    store = upkeep_store(uri)
    store.ping()
    return store


def person_hashes(users: Sequence[str], sessions: Sequence[str]) -> list[str]:
    """The keyed hashes of people. Raises ConfigError where the key cannot be used."""
    key = hash_key(load_settings())
    return [keyed_hash(name, key=key) for name in (*users, *sessions)]


def drain_step() -> Step:
    """Send what waits in the spool of this machine, whichever ledger it is for."""
    sent = deliver_waiting(probe=True)
    metrics_recorder().flush()
    spool = trace_spool(load_settings())
    left = spool.usage()
    problems = [*sent.errors]
    if left.entries and not sent.errors:
        problems.append(f"{left.entries:,} entries still wait in {spool.folder}")
    problems += [
        f"{item.rows or 'some'} traces went to quarantine: {item.reason}"
        for item in sent.set_aside
        if item.kind is not SetAside.ANOTHER_ATTEMPT
    ]
    did = f"delivered {sent.rows:,} traces, {left.entries:,} entries wait"
    return Step(name="drain", did=did, problems=tuple(problems), details={"rows": sent.rows, "waiting": left.entries})


def forget_step(store: LedgerStore) -> Step:
    """Take the content out of rows of forgotten people that came later."""
    report = reapply(store, clock=CLOCK)
    return Step(name="forget", did=forgot(report), problems=report.damaged, details=asdict(report))


def compact_step(store: LedgerStore, *, before: date | None) -> Step:
    """Write closed days into few large objects."""
    report = compact(store, clock=CLOCK, before=before)
    problems = tuple(text for day in report.days for text in day.damaged)
    return Step(name="compact", did=compacted(report), problems=problems, details=asdict(report))


def collect_step(store: LedgerStore, *, grace: timedelta) -> Step:
    """Remove what counts no more."""
    report = collect(store, clock=CLOCK, grace=grace)
    did = (
        f"removed {len(report.objects):,} objects, {len(report.manifests):,} manifests and {len(report.orphans):,} "
        f"orphans ({report.bytes / 1e6:,.1f} MB); {report.waiting:,} wait for the grace"
    )
    return Step(name="gc", did=did, details=asdict(report))


def verify_step(store: LedgerStore, *, deep: bool) -> Step:
    """Look at everything."""
    report = verify(store, clock=CLOCK, deep=deep)
    problems = tuple(f"{found.problem.value}: {found.key}: {found.text}" for found in report.errors)
    return Step(name="verify", did=verified(report), problems=problems, details=asdict(report))


def attempted(name: str, step: Callable[[], Step]) -> Step:
    """The step, or what kept it from being done; the steps behind it are tried all the same."""
    try:
        return step()
    except RedoError as error:
        return Step(name=name, did="failed", problems=(str(error),))


def first_problems(steps: Sequence[Step]) -> str:
    """The first problems of all steps in one line; empty where there are none."""
    problems = [f"{step.name}: {problem}" for step in steps for problem in step.problems]
    more = f"; and {len(problems) - _SHOWN:,} more" if len(problems) > _SHOWN else ""
    return "; ".join(problems[:_SHOWN]) + more


def forgot(report: ForgetReport) -> str:
    """What was forgotten, in words."""
    return f"{report.rows:,} rows of forgotten people lost their content, {len(report.removed):,} objects were removed"


def compacted(report: CompactReport) -> str:
    """What was compacted, in words."""
    before = sum(day.objects_before for day in report.days)
    if not before:
        return f"nothing has come to a day before {report.before}"
    after = sum(day.objects_after or 0 for day in report.days)
    return f"{len(report.days):,} days: {before:,} objects became {after:,}"


def verified(report: VerifyReport) -> str:
    """What was looked at, in words."""
    how = "read" if report.deep else "looked for"
    notes = len(report.findings) - len(report.errors)
    return (
        f"{report.objects:,} objects with {report.rows:,} rows {how}, {report.manifests:,} manifests of "
        f"{report.writers:,} writers and {report.checkpoints:,} checkpoints walked; {len(report.errors):,} errors, "
        f"{notes:,} notes"
    )

"""The traces of `/chat` on their way to the ledger, off the way of the answers.

An answer leaves its trace in a queue and waits for nothing. One job writes whatever the queue holds to the spool, as
one small entry. Another one sends what waits; small entries become larger objects on the way. A process that is killed
loses what its queue held, a tenth of a second's traces. A full queue or spool loses traces, and counts them.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby, islice
from typing import Final

from core.clock import Clock
from core.digest import content_digest
from core.fallbacks.flag_reader import FlagView
from core.flags import Flags, bucket_key
from core.metrics import Metrics
from core.trace import QueryResult
from ledger.delivery import Round
from ledger.described import described_chunk
from ledger.encode import RunIdentity, encode_traces, identities, object_key
from ledger.policy import TracePolicy
from ledger.spool import Spool

_LOG: Final = logging.getLogger("redo.service")
_QUEUE_MAX: Final = 2_000  # an answer of twenty passages holds some 20 kB
_ENTRY_ROWS: Final = 500
_DAY_MS: Final = 86_400_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceIdentity:
    """What all traces of this process share.

    Attributes:
        writer: the spool folder's id.
        started_at: when the process began.
        config: what the pipeline is told.
        code_version: version of the code that runs.
        hash_key: secret that session and user ids are hashed with.
    """

    writer: str
    started_at: datetime
    config: Mapping[str, object]
    code_version: str
    hash_key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Queued:
    """An answer, with what held when it was given."""

    result: QueryResult
    flags: Flags
    versions: Mapping[str, str]
    breaker: str


class ServiceTraces:
    """Keeps the traces of answers. Threads may share one.

    Args:
        spool: where they wait for the ledger.
        ledger: the ledger's URI.
        policy: what of a trace is kept.
        identity: what all traces share.
        flags: gives the flags in force; the ledger's flag of a query's key decides whether its trace is kept.
        breaker: gives the state of the orchestrator's breaker.
        count: is given what was lost.
        clock: dates the traces.
    """

    def __init__(
        self,
        spool: Spool,
        *,
        ledger: str,
        policy: TracePolicy,
        identity: ServiceIdentity,
        flags: Callable[[], FlagView],
        breaker: Callable[[], str],
        count: Callable[[Metrics], object],
        clock: Clock,
    ) -> None:
        self._spool = spool
        self._ledger = ledger
        self._policy = policy
        self._identity = identity
        self._flags = flags
        self._breaker = breaker
        self._count = count
        self._clock = clock
        self._queue: deque[_Queued] = deque()
        self._committing = threading.Lock()
        self._number = 0
        self._numbered_on = ""
        self._is_losing = False

    def note(self, result: QueryResult, versions: Mapping[str, str]) -> None:
        """Keep the trace of an answer, if the ledger is on for it. Never raises and never waits.

        Args:
            result: the answer.
            versions: versions of the parts that made it.
        """
        try:
            flags = self._flags().of(bucket_key(result.query))
            if not flags.ledger_enabled:
                return
            if len(self._queue) >= _QUEUE_MAX:
                self._lost(1, f"{_QUEUE_MAX:,} traces wait to be written to the spool")
                return
            self._queue.append(_Queued(result, flags, versions, self._breaker()))
        except Exception:  # noqa: BLE001 - whatever becomes of its trace, a question keeps its answer
            _LOG.exception("a trace was not kept")

    def commit(self) -> int:
        """Write what the queue holds to the spool; returns how many traces. Never raises for what goes wrong."""
        with self._committing:
            queued = [self._queue.popleft() for _ in range(len(self._queue))]
            written = 0
            for _, group in groupby(queued, key=lambda item: (item.flags, item.breaker, sorted(item.versions.items()))):
                alike = iter(group)
                while some := list(islice(alike, _ENTRY_ROWS)):
                    written += self._write(some)
            return written

    def _write(self, queued: Sequence[_Queued]) -> int:
        now = self._clock.utc_now()
        results, shared = [item.result for item in queued], queued[0]
        try:
            run = self._run(shared, now)
            ids = identities(results, run=run)
            key = object_key(run.batch_id, self._next_number(now), [identity.trace_id for identity in ids], now.date())
            payload = encode_traces(results, run=run, recorded_at=now, policy=self._policy, ids=ids)
            described = described_chunk(payload, key=key, rows=len(results), run=run, recorded_at=now)
            self._spool.add(payload, ledger=self._ledger, key=key, mergeable=True, described=described)
        except Exception as error:  # noqa: BLE001 - what a full disk, or a trace of a new kind, may bring
            self._lost(len(results), f"{type(error).__name__}: {error}")
            return 0
        self._is_losing = False
        return len(results)

    def _run(self, shared: _Queued, now: datetime) -> RunIdentity:
        identity, flags = self._identity, shared.flags.as_dict()
        return RunIdentity(
            batch_id=f"service-{identity.writer[:8]}-{now:%Y%m%d}",
            flow_run_id=None,
            attempt=1,
            started_at=identity.started_at,
            config_digest=content_digest([identity.config, shared.versions, flags]),
            code_version=identity.code_version,
            model_versions=shared.versions,
            flags=flags,
            rollout_percentage=shared.flags.rollout_percentage,
            hash_key=identity.hash_key,
            breaker_state=shared.breaker,
            pipeline=identity.config,
        )

    def _next_number(self, now: datetime) -> int:
        """A number that this process has not used on this day: its milliseconds, or one more than the last."""
        day = now.date().isoformat()
        if day != self._numbered_on:
            self._number, self._numbered_on = 0, day
        passed = now - now.replace(hour=0, minute=0, second=0, microsecond=0)
        self._number = max(self._number + 1, int(passed.total_seconds() * 1e3) % _DAY_MS)
        return self._number

    def _lost(self, traces: int, why: str) -> None:
        """Count lost traces, and say so when it begins."""
        self._count(Metrics(ledger_refused=traces))
        if not self._is_losing:
            _LOG.error("traces are lost: %s", why)
        self._is_losing = True


class Sender:
    """Sends what waits for the ledger, and says in the log when that fails, and when it works again: once each.

    Args:
        send: sends what waits, for so many seconds at most.
    """

    def __init__(self, send: Callable[[float], Round]) -> None:
        self._send = send
        self._is_failing = False

    def __call__(self, limit_s: float) -> Round:
        """Send."""
        sent = self._send(limit_s)
        for item in sent.set_aside:
            _LOG.error("traces are in quarantine: %s: %s", item.name, item.reason)
        if sent.errors and not self._is_failing:
            _LOG.warning("traces wait in the spool: %s", "; ".join(sent.errors))
        if self._is_failing and sent.delivered and not sent.errors:
            _LOG.warning("the ledger takes traces again")
        self._is_failing = bool(sent.errors)
        return sent

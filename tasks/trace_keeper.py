"""A chunk's traces on their way into the spool: encoded, written, and never in the way of an answer."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from core.errors import StoreError
from core.metrics import Metrics
from core.trace import Identity, QueryResult
from ledger.described import described_chunk
from ledger.encode import RunIdentity, encode_traces, object_key
from ledger.level import Level
from ledger.policy import TracePolicy
from ledger.spool import Spool
from tasks.run_folder import RunFolder
from tasks.run_spec import RunSpec
from tasks.settings import Settings
from tasks.wiring import hash_key, metrics_recorder, trace_policy, trace_spool

_LOG: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TraceKeeper:
    """Keeps traces of one run until the ledger has them.

    Attributes:
        run: what the traces share.
        ledger: the ledger's URI.
        policy: what of a trace is kept.
        spool: where they wait.
    """

    run: RunIdentity
    ledger: str
    policy: TracePolicy
    spool: Spool

    @classmethod
    def of(cls, spec: RunSpec, settings: Settings, *, flow_run_id: str | None, attempt: int) -> TraceKeeper:
        """The keeper for one attempt at one chunk of a run whose ledger is on.

        Raises:
            ConfigError: what is masked in the ledger, or ids are hashed with, cannot be used.
        """
        rollout = spec.rollout or {"phase": None, "attempt": None}
        run = RunIdentity(
            batch_id=spec.batch_id,
            flow_run_id=flow_run_id,
            attempt=attempt,
            started_at=spec.started,
            config_digest=spec.config_digest,
            code_version=spec.code_version,
            model_versions=spec.versions,
            flags=spec.flags,
            rollout_percentage=spec.run_flags.rollout_percentage,
            hash_key=hash_key(settings),
            phase=rollout["phase"],
            phase_attempt=rollout["attempt"],
            pipeline=spec.config,
        )
        return cls(run, str(spec.ledger), trace_policy(settings), trace_spool(settings))

    def keep(
        self,
        results: Sequence[QueryResult],
        ids: Sequence[Identity],
        folder: RunFolder,
        number: int,
        *,
        breaker: str,
        now: datetime,
    ) -> dict[str, object]:
        """Write the traces of a chunk to the spool. Never raises for what goes wrong: no answer may depend on it.

        Where the ledger has them already, from an attempt that was killed just before its end, those stand.

        Args:
            results: the chunk's results.
            ids: the identities of their traces.
            folder: the run's folder: the receipt goes there.
            number: the chunk's place in the batch.
            breaker: state of the orchestrator's breaker when the chunk was decided.
            now: when the rows are recorded.

        Returns:
            For the chunk's report: `ledger_key`, the key of its object, and `refused`, why the traces are lost.
        """
        run, stored = replace(self.run, breaker_state=breaker), folder.chunk(number).stored
        key = object_key(run.batch_id, number, [identity.trace_id for identity in ids], run.started_at.date())
        if self.policy.level is Level.OFF:  # it was on when the run began
            return {"ledger_key": key, "refused": "LEDGER_LEVEL is off"}
        try:
            if not stored.exists():
                payload = encode_traces(results, run=run, recorded_at=now, policy=self.policy, ids=ids)
                described = described_chunk(payload, key=key, rows=len(results), run=run, recorded_at=now)
                receipt = str(stored.relative_to(folder.path.parents[1]))
                self.spool.add(payload, ledger=self.ledger, key=key, receipt=receipt, described=described)
        except Exception as error:  # noqa: BLE001 - a full disk, or a trace that no column can hold
            reason = str(error) if isinstance(error, StoreError) else f"{type(error).__name__}: {error}"
            _LOG.error("the traces of chunk %d of batch %s are lost: %s", number, run.batch_id, reason)
            metrics_recorder().add(Metrics(ledger_refused=len(results)))
            return {"ledger_key": key, "refused": reason}
        return {"ledger_key": key, "refused": None}

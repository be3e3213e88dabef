"""The service as this process is configured: the only place here that names concrete parts."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Final

from core.adapters.quarantine import QuarantineFile
from core.errors import InputError, RetrieverError, StoreError
from core.fallbacks import RedoFallbackManager
from core.metrics import Metrics
from core.trace import QueryResult
from deployments.cli.config import settings_as_dict
from deployments.cli.shared_state import state_place
from deployments.service.answers import Answers
from deployments.service.background import Job
from deployments.service.services import Services
from deployments.service.traces import Sender, ServiceIdentity, ServiceTraces
from ledger.delivery import Delivery
from ledger.level import Level
from ledger.spool import Spool
from tasks.delivery import deliver_waiting
from tasks.metrics import FLUSH_EVERY_S
from tasks.passage_index import passage_index as index_of
from tasks.rollout.desk import open_desk
from tasks.rollout.evaluation import evaluate_in_child
from tasks.settings import Settings, load_settings, prepare_prefect_environment
from tasks.wiring import (
    CLOCK,
    build_pipeline,
    hash_key,
    health_probes,
    ledger_store,
    metrics_recorder,
    surroundings,
    trace_policy,
    trace_spool,
)

_LOG: Final = logging.getLogger("redo.service")

_RENEW_EVERY_S: Final = 1.0
"""Seconds between two looks whether the passage index was built anew."""

_COMMIT_EVERY_S: Final = 0.1
"""Seconds between two writes of traces to the spool: what a process that is killed loses of them at most."""

_SEND_EVERY_S: Final = 5.0
_SEND_LIMIT_S: Final = 30.0
_LAST_SEND_LIMIT_S: Final = 3.0
"""Seconds between two looks at what waits for the ledger; seconds that one may go on; seconds at the very end."""


def wired(passages: Path | None) -> Services:
    """Make the service that the environment describes.

    Args:
        passages: what `/chat` searches: JSONL or Parquet. Without it `/chat` says that there is nothing.

    Raises:
        InputError: a setting or the file cannot be used.
        RetrieverError: the passage index cannot be opened.
    """
    prepare_prefect_environment(PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL="CRITICAL")
    settings, around = load_settings(), surroundings()
    manager, recorder = RedoFallbackManager(surroundings=around), metrics_recorder()
    index = None if passages is None else passage_index(passages, settings)
    pipeline = None if index is None else build_pipeline(index, settings.pipeline)
    spool = trace_spool(settings)
    traces = None if pipeline is None else _traces(manager, spool, settings, recorder.add)
    send = Sender(lambda limit_s: deliver_waiting(manager=manager, limit_s=limit_s))
    jobs = [
        # Twice as often as a snapshot grows old, so that no question finds an old one.
        Job("refresh", around.refresh_s / 2, manager.refresh),
        Job(
            "health",
            manager.config.health_check_interval_seconds,
            partial(manager.run_health_checks, health_probes(settings, around.store, index=index)),
        ),
        Job("metrics", FLUSH_EVERY_S, recorder.flush),
        Job("ledger", _SEND_EVERY_S, partial(send, _SEND_LIMIT_S)),
    ]
    answers = None
    if pipeline is not None:
        answers = Answers(
            manager,
            pipeline,
            count=recorder.add,
            record=_no_trace if traces is None else traces.note,
            patience_s=settings.pipeline.budget_s,
        )
        if traces is not None:
            jobs.append(Job("traces", _COMMIT_EVERY_S, traces.commit))
        jobs.append(Job("index", _RENEW_EVERY_S, partial(_renew, answers, index, settings)))
    return Services(
        manager=manager,
        store=around.store,
        recorder=recorder,
        answers=answers,
        admin_token=settings.admin_token,
        settings=settings_as_dict(settings),
        state=state_place().as_dict(),
        passages=None if passages is None else str(passages.resolve()),
        parts={} if pipeline is None else pipeline.versions,
        jobs=tuple(jobs),
        closing=() if traces is None else (traces.commit, partial(send, _LAST_SEND_LIMIT_S)),
        spool_usage=spool.usage,
        rollout=open_desk(manager, evaluate=evaluate_in_child),
    )


def _no_trace(_result: QueryResult, _versions: Mapping[str, str]) -> None:
    """The ledger is off in this process."""


def _traces(
    manager: RedoFallbackManager, spool: Spool, settings: Settings, count: Callable[[Metrics], object]
) -> ServiceTraces | None:
    """What keeps the traces of answers; nothing where the ledger is off, or the spool cannot be used.

    Raises:
        ConfigError: what is masked in the ledger, or ids are hashed with, cannot be used.
    """
    if settings.ledger_level is Level.OFF:
        return None
    policy, key = trace_policy(settings), hash_key(settings)
    try:
        writer = Delivery(spool, ledger_store).writer()
    except StoreError as error:
        _LOG.error("no trace of /chat will be kept: %s", error)
        return None
    return ServiceTraces(
        spool,
        ledger=settings.ledger,
        policy=policy,
        identity=ServiceIdentity(
            writer=writer,
            started_at=CLOCK.utc_now(),
            config=asdict(settings.pipeline),
            code_version=version("redo"),
            hash_key=key,
        ),
        flags=manager.flag_view,
        breaker=lambda: manager.orchestrator_status.value,
        count=count,
        clock=CLOCK,
    )


def _renew(answers: Answers, index: Path | None, settings: Settings) -> None:
    """Open the index if it was built anew. One that cannot be opened shows in the health check."""
    with suppress(RetrieverError):
        answers.use(build_pipeline(index, settings.pipeline))


def passage_index(passages: Path, settings: Settings) -> Path:
    """The index of the file, as a batch makes it: whoever comes first builds it, with its unusable records beside it.

    Raises:
        InputError: there is no such file, or it holds no passage that can be used.
    """
    if not passages.is_file():
        raise InputError(f"--passages {passages}: there is no such file")
    with tempfile.TemporaryDirectory() as folder, QuarantineFile(Path(folder) / "quarantine.jsonl") as quarantine:
        return index_of(
            passages,
            home=settings.home_folder,
            name=passages.name,
            quarantine=quarantine,
            retriever=settings.retriever,
        )

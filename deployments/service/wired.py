"""The service as this process is configured: the only place here that names concrete parts."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

from core.adapters.quarantine import QuarantineFile
from core.errors import InputError, RetrieverError
from core.fallbacks import RedoFallbackManager
from deployments.cli.config import settings_as_dict
from deployments.cli.shared_state import state_place
from deployments.service.answers import Answers
from deployments.service.background import Job
from deployments.service.services import Services
from tasks.passage_index import passage_index as index_of
from tasks.settings import Settings, load_settings, prepare_prefect_environment
from tasks.wiring import build_pipeline, health_probes, metrics_recorder, surroundings

_RENEW_EVERY_S: Final = 1.0
"""Seconds between two looks whether the passage index was built anew."""

_FLUSH_EVERY_S: Final = 15.0
"""Seconds between two writes of what was counted; each is a version of the shared value. Prometheus asks as often."""


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
    jobs = [
        # Twice as often as a snapshot grows old, so that no question finds an old one.
        Job("refresh", around.refresh_s / 2, manager.refresh),
        Job(
            "health",
            manager.config.health_check_interval_seconds,
            partial(manager.run_health_checks, health_probes(settings, around.store, index=index)),
        ),
        Job("metrics", _FLUSH_EVERY_S, recorder.flush),
    ]
    answers = None
    if pipeline is not None:
        answers = Answers(manager, pipeline, count=recorder.add, patience_s=settings.pipeline.budget_s)
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
        return index_of(passages, home=settings.home_folder, name=passages.name, quarantine=quarantine)

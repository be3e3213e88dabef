"""What the service is made of: given from outside, so that a test gives what it likes."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from core.fallbacks import RedoFallbackManager
from core.ports import StateStore
from deployments.service.answers import Answers
from deployments.service.background import Job
from ledger.spool import Usage
from tasks.metrics import MetricsRecorder
from tasks.rollout.desk import Desk


def new_query_id() -> str:
    """An id that no other question has."""
    return secrets.token_hex(16)


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The collaborators.

    Attributes:
        manager: the guard.
        store: where the shared state is.
        recorder: counts what is answered.
        answers: answers questions; `None` where there are no passages.
        admin_token: the secret that protected endpoints ask for; without one they answer this machine only.
        settings: every setting by its variable, fit to be shown.
        state: where the shared state is: its `kind` and `place`.
        passages: the file that is searched.
        parts: name and version of the pipeline's parts.
        jobs: what is done again and again while the service runs.
        closing: is done at the end, in turn, when the jobs have ended.
        spool_usage: says how much waits for the ledger.
        query_id: makes the id of a question.
        rollout: the desk from which the rollout is steered; without one its endpoints are not there.
    """

    manager: RedoFallbackManager
    store: StateStore
    recorder: MetricsRecorder
    answers: Answers | None = None
    admin_token: str | None = field(default=None, repr=False)
    settings: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    state: Mapping[str, str] = field(default_factory=dict)
    passages: str | None = None
    parts: Mapping[str, str] = field(default_factory=dict)
    jobs: tuple[Job, ...] = ()
    closing: tuple[Callable[[], object], ...] = ()
    spool_usage: Callable[[], Usage] | None = None
    query_id: Callable[[], str] = new_query_id
    rollout: Desk | None = None

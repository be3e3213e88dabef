"""A service to test with: a guard over a store in memory, and a pipeline of doubles over two sources that disagree."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from concurrent.futures import Executor, Future
from dataclasses import replace
from typing import Any

from starlette.exceptions import StarletteDeprecationWarning

from core.adapters.doubles import FixedDetector, FixedRetriever
from core.adapters.manual_clock import ManualClock
from core.contradictions.lexical import LexicalDetector
from core.fallbacks import FallbackConfig, RedoFallbackManager
from core.model import Passage, Ranking, ScoredPassage
from core.ordering import SupportOrderer
from core.pipeline import Pipeline, PipelineConfig
from core.ports import ContradictionDetector, Retriever
from core.work import CallLimit
from deployments.service.answers import Answers
from deployments.service.app import create_app
from deployments.service.services import Services
from tasks.metrics import MetricsRecorder
from tests.guard_samples import Place

with warnings.catch_warnings():  # it asks for a successor of httpx; Prefect, and so we, have httpx
    warnings.simplefilter("ignore", StarletteDeprecationWarning)
    from fastapi.testclient import TestClient

__all__ = ["TestClient"]  # the one that warns about nothing

HERE = ("127.0.0.1", 50_000)
ON: Mapping[str, object] = {"orchestrator.redo_enabled": True}

COUNCIL = Passage("council", "Arden lies in a valley. The bridge of Arden is 400 metres long.", "council")
GUIDE = Passage("guide", "The bridge of Arden is 500 metres long.", "guide")
MARKET = Passage("market", "The market of Arden is held every Tuesday.", "council")
PASSAGES = (COUNCIL, GUIDE, MARKET)
QUESTION = "How long is the bridge of Arden?"
QUERY_ID = "q-1"


def ranking(*passages: Passage) -> Ranking:
    """A ranking of passages, best first."""
    return Ranking(tuple(ScoredPassage(passage, 1.0 - 0.1 * place) for place, passage in enumerate(passages)))


def a_pipeline(
    *,
    retriever: Retriever | None = None,
    detector: ContradictionDetector | None = None,
    limit: CallLimit | None = None,
) -> Pipeline:
    """The real detector and orderer over fixed passages, unless something else is given."""
    return Pipeline(
        retriever=retriever or FixedRetriever({QUERY_ID: ranking(*PASSAGES)}),
        detector=detector or LexicalDetector(),
        orderer=SupportOrderer(),
        config=PipelineConfig(),
        clock=ManualClock(),
        limit=limit,
    )


def a_plain_pipeline(*passages: Passage) -> Pipeline:
    """One that finds these passages, and no contradictions."""
    return a_pipeline(retriever=FixedRetriever({QUERY_ID: ranking(*passages)}), detector=FixedDetector())


class NeverFree(Executor):
    """Workers that are never free."""

    def submit(self, *_arguments: Any, **_more: Any) -> Future[Any]:
        """Take the work and leave it."""
        return Future()


class Stand:
    """A service with all that it stands on."""

    def __init__(self, config: FallbackConfig | None = None) -> None:
        self.place = Place()
        self.manager: RedoFallbackManager = self.place.guard(config)
        self.recorder = MetricsRecorder(lambda: self.place.store, actor="here")

    def answers(self, pipeline: Pipeline | None = None, *, patience_s: float = 30.0, **workers: Any) -> Answers:
        """Answers by a pipeline; patient, so that a busy machine changes no test."""
        return Answers(
            self.manager, pipeline or a_pipeline(), count=self.recorder.add, patience_s=patience_s, **workers
        )

    def services(self, answers: Answers | None = None, **more: Any) -> Services:
        """The collaborators of an application."""
        services = Services(
            manager=self.manager,
            store=self.place.store,
            recorder=self.recorder,
            answers=answers,
            state={"kind": "memory", "place": "here"},
            query_id=lambda: QUERY_ID,
        )
        return replace(services, **more)

    def client(
        self,
        answers: Answers | None = None,
        *,
        base_url: str = "http://127.0.0.1:8000",
        peer: tuple[str, int] = HERE,
        **more: Any,
    ) -> TestClient:
        """Somebody who asks the service."""
        return TestClient(create_app(self.services(answers, **more)), base_url=base_url, client=peer)


def deep(levels: int) -> bytes:
    """A JSON object of so many levels."""
    return b'{"a":' * levels + b"1" + b"}" * levels

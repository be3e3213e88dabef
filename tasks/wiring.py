"""The composition root: the only place that names concrete adapters."""

from __future__ import annotations

import os
import secrets
import tempfile
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from core.adapters.bm25 import Bm25Retriever
from core.adapters.given_candidates import GivenCandidates
from core.clock import Clock, SystemClock
from core.contradictions.lexical import LexicalDetector
from core.model import Decision, FallbackDecision, Passage, Query, Reason, ScoredPassage
from core.ordering import SupportOrderer
from core.pipeline import Pipeline, PipelineConfig
from core.ports import LedgerStore
from ledger.objects import open_store
from tasks.settings import Settings

CLOCK: Clock = SystemClock()


_FIRST = Query(
    "first",
    "What is the first query?",
    candidates=tuple(
        ScoredPassage(Passage(f"first-{number}", f"The first query has {number} words of 2 texts."), 1.0)
        for number in (3, 4)
    ),
)


@lru_cache(maxsize=4)
def build_pipeline(index: Path | None, config: PipelineConfig) -> Pipeline:
    """The pipeline over an index folder; without one, over the candidates that the queries bring.

    The chunks of a run share it, and with it the index and the passages that were read.

    Raises:
        RetrieverError: the index cannot be opened.
    """
    pipeline = Pipeline(
        retriever=GivenCandidates(None if index is None else Bm25Retriever(index)),
        detector=LexicalDetector(),
        orderer=SupportOrderer(),
        config=config,
        clock=CLOCK,
    )
    pipeline.run([_FIRST], [FallbackDecision(Decision.REDO, Reason.ENABLED)])  # the first query pays for what is lazy
    return pipeline


@lru_cache(maxsize=4)
def ledger_store(uri: str) -> LedgerStore:
    """The ledger's object store. Raises ConfigError for a URI that names none."""
    return open_store(uri)


def hash_key(settings: Settings) -> bytes:
    """The secret that session and user ids are hashed with: the configured one, else one made once in `REDO_HOME`."""
    if settings.hash_key is not None:
        return settings.hash_key.encode()
    path = settings.home_folder / "hash-key"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent)  # readable by its owner only
        with os.fdopen(handle, "w") as stream:
            stream.write(secrets.token_hex(32))
        with suppress(FileExistsError):
            os.link(name, path)  # a whole file or none, and the first process wins
        Path(name).unlink()
    return path.read_bytes()

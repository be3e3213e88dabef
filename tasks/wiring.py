"""The composition root: the only place that names concrete adapters.

An adapter that brings a library with it is imported where it is made. The guide's one-liners come through here, to find
the shared state, and answer in well under a second; Prefect, pyarrow, bm25s and obstore alone take several to import.
"""

from __future__ import annotations

import gc
import getpass
import os
import random
import secrets
import socket
import tempfile
import threading
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from core.adapters.faults import Fault, FaultyDetector
from core.adapters.sqlite_state import SqliteStateStore
from core.breaker.algebra import BreakerConfig
from core.breaker.circuit import CircuitBreaker
from core.bulkhead import Bulkhead
from core.clock import Clock, Deadline, SystemClock
from core.errors import ConfigError
from core.fallbacks.health import Component, Probe
from core.fallbacks.surroundings import Surroundings
from core.model import Decision, FallbackDecision, Passage, Query, Reason, ScoredPassage
from core.pipeline import DetectorKind, Pipeline, PipelineConfig, RetrieverKind
from core.ports import ContradictionDetector, LedgerStore, Retriever, StateStore
from core.work import CallLimit
from ledger.level import Level
from tasks.settings import (
    Models,
    Settings,
    load_environment_flags,
    load_kill_switches,
    load_settings,
    place_variables,
    prefect_api_url,
)

if TYPE_CHECKING:
    from core.adapters.bm25 import Bm25Retriever
    from core.contradictions.entailment_stage import EntailmentModel
    from core.contradictions.stage import DetectionStage
    from ledger.policy import TracePolicy
    from ledger.spool import Spool
    from tasks.metrics import MetricsRecorder

CLOCK: Clock = SystemClock()
_STAGES = Bulkhead(name="redo-stage")
_RETRIEVALS = Bulkhead(name="redo-retrieval")
"""They bound the calls that hang in this process, whichever pipeline they belong to."""
_KEY_BYTES = 64
_MODEL_THREADS = 2
"""Pairs that the entailment model reads at the same time: the cores of the machine that REDO is measured on."""


_FIRST = Query(
    "first",
    "What is the first query?",
    candidates=tuple(
        ScoredPassage(Passage(f"first-{number}", f"The first query has {number} words of 2 texts."), 1.0)
        for number in (3, 4)
    ),
)


def build_pipeline(index: Path | None, config: PipelineConfig) -> Pipeline:
    """The pipeline over an index folder; without one, over the candidates that the queries bring.

    The chunks of a run share it, and with it the index and the passages that were read. An index that was built anew is
    opened anew: reading on in a mapped file that was cut short would kill the process.

    Raises:
        RetrieverError: the index cannot be opened.
    """
    settings = load_settings()
    return _pipeline(index, _generation(index), config, settings.models, settings.fallback_timeout_s, settings.fault)


_GENERATIONS: dict[Path, tuple[int, int]] = {}
"""What `_generation` saw last. An index that is gone can still be read by whoever has it open."""


def _generation(index: Path | None) -> tuple[int, int] | None:
    """Something that changes when the index is built anew."""
    if index is None:
        return None
    with suppress(OSError):
        found = (index / "index.json").stat()
        _GENERATIONS[index] = (found.st_ino, found.st_mtime_ns)
    return _GENERATIONS.get(index)


@lru_cache(maxsize=4)
def _pipeline(
    index: Path | None,
    generation: tuple[int, int] | None,
    config: PipelineConfig,
    models: Models,
    timeout_s: float,
    fault: Fault | None,
) -> Pipeline:
    del generation
    from core.adapters.bm25 import Bm25Retriever  # noqa: PLC0415
    from core.adapters.given_candidates import GivenCandidates  # noqa: PLC0415
    from core.ordering import SupportOrderer  # noqa: PLC0415

    bm25 = None if index is None else Bm25Retriever(index)
    pipeline = Pipeline(
        retriever=GivenCandidates(bm25),
        redo_retriever=_redo_retriever(index, bm25, config.retriever),
        detector=_detector(config.detector, models),
        orderer=SupportOrderer(),
        config=config,
        clock=CLOCK,
        limit=CallLimit(_STAGES, timeout_s),
        retrieval_limit=CallLimit(_RETRIEVALS, timeout_s),
    )
    pipeline.run([_FIRST], [FallbackDecision(Decision.REDO, Reason.ENABLED)])  # the first query pays for what is lazy
    # What is loaded by now stays, and each full collection of garbage would walk it while some query waits.
    # The decision docs/decisions/004 has the figures.
    gc.collect()
    gc.freeze()
    return pipeline if fault is None else replace(pipeline, detector=FaultyDetector(pipeline.detector, fault))


def _detector(kind: DetectorKind, models: Models) -> ContradictionDetector:
    """The cascade, as far as it is to go."""
    from core.contradictions.cascade import CascadeDetector  # noqa: PLC0415
    from core.contradictions.lexical import LexicalDetector  # noqa: PLC0415
    from core.contradictions.slot_stage import SlotStage  # noqa: PLC0415

    rules = LexicalDetector()
    stages: list[DetectionStage] = []
    if kind is not DetectorKind.RULES:
        stages.append(SlotStage())
    if kind is DetectorKind.CASCADE:
        from core.contradictions.entailment_stage import EntailmentStage  # noqa: PLC0415

        stages.append(EntailmentStage(_entailment_model(models.nli)))
    if models.judge_url is not None and models.judge_model is not None:
        stages.append(_judge(models.judge_url, models.judge_model, models))
    return CascadeDetector(rules, stages) if stages else rules


def _entailment_model(folder: Path | None) -> EntailmentModel:
    """The embedded one, another one of REDO's making, or somebody else's."""
    from core.adapters.onnx_folder import OnnxFolder  # noqa: PLC0415 - numpy and hashing, for those who want a model
    from core.adapters.onnx_nli import OnnxNli  # noqa: PLC0415

    if folder is None or (folder / "card.json").is_file():
        return OnnxNli(folder, threads=_MODEL_THREADS)
    return OnnxFolder(folder, threads=_MODEL_THREADS)


def _judge(url: str, model: str, models: Models) -> DetectionStage:
    """The judge, with a breaker that is this process's own: what one process sees of an endpoint is enough for it."""
    from core.adapters.judge import JudgeLimits, JudgeStage  # noqa: PLC0415
    from core.adapters.memory_state import MemoryStateStore  # noqa: PLC0415
    from tasks.chat_client import ChatEndpoint  # noqa: PLC0415 - for those who have a judge

    breaker = CircuitBreaker(
        "breaker-judge",
        store=MemoryStateStore(clock=CLOCK),
        clock=CLOCK,
        random=random.random,
        owner=f"{socket.gethostname()}:{os.getpid()}",
        config=BreakerConfig(lease_s=2 * models.judge_timeout_s),
    )
    client = ChatEndpoint(url, model=model, api_key=models.judge_api_key, clock=CLOCK)
    return JudgeStage(client, breaker=breaker, limits=JudgeLimits(timeout_s=models.judge_timeout_s))


def _redo_retriever(index: Path | None, bm25: Bm25Retriever | None, kind: RetrieverKind) -> Retriever | None:
    """What REDO retrieves with where that is not what legacy has."""
    if index is None or bm25 is None or kind is RetrieverKind.BM25:
        return None
    from core.adapters.embedder import OnnxEmbedder  # noqa: PLC0415
    from core.adapters.hybrid import HybridRetriever  # noqa: PLC0415

    retriever = HybridRetriever(index, bm25, OnnxEmbedder(threads=1))
    retriever.retrieve([_FIRST], 1, [Deadline(_PROBE_BUDGET_S, clock=CLOCK)])  # the first query pays for what is lazy
    return retriever


def ledger_store(uri: str) -> LedgerStore:
    """The ledger's object store, which waits no longer for an answer than any call does.

    Raises:
        ConfigError: the URI names no store.
    """
    return _ledger_store(uri, load_settings().fallback_timeout_s)


@lru_cache(maxsize=4)
def _ledger_store(uri: str, timeout_s: float) -> LedgerStore:
    from ledger.objects import open_store  # noqa: PLC0415

    return open_store(uri, timeout_s=timeout_s)


def trace_spool(settings: Settings) -> Spool:
    """Where traces wait for the ledger."""
    from ledger.spool import Spool  # noqa: PLC0415

    return Spool(settings.home_folder / "spool", max_bytes=settings.spool_max_bytes, clock=CLOCK)


def trace_policy(settings: Settings) -> TracePolicy:
    """How much of a trace the ledger keeps, and what is masked.

    Raises:
        ConfigError: a pattern to mask, or the file of them, cannot be used.
    """
    return _trace_policy(
        settings.ledger_level,
        settings.ledger_sample_rate,
        settings.max_trace_bytes,
        settings.ledger_redact,
        settings.ledger_redact_file,
    )


@lru_cache(maxsize=4)
def _trace_policy(
    level: Level, sample_rate: float, max_trace_bytes: int, patterns: str, file: Path | None
) -> TracePolicy:
    from ledger.policy import TracePolicy  # noqa: PLC0415
    from ledger.redaction import Redaction  # noqa: PLC0415

    return TracePolicy(
        level=level,
        sample_rate=sample_rate,
        max_trace_bytes=max_trace_bytes,
        redaction=Redaction.of(patterns, file=file),
    )


def hash_key(settings: Settings) -> bytes:
    """The secret that session and user ids are hashed with: the configured one, else one made once in `REDO_HOME`.

    Raises:
        ConfigError: the file in `REDO_HOME` holds no key, so that anybody could repeat the hashes.
    """
    if settings.hash_key is not None:
        return settings.hash_key.encode()
    path = settings.home_folder / "hash-key"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent)  # readable by its owner only
        with os.fdopen(handle, "w") as stream:
            stream.write(secrets.token_hex(_KEY_BYTES // 2))
            stream.flush()
            os.fsync(stream.fileno())
        with suppress(FileExistsError):
            os.link(name, path)  # a whole file or none, and the first process wins
        Path(name).unlink()
    key = path.read_bytes()
    if len(key) < _KEY_BYTES:
        raise ConfigError(
            f"{path}: expected {_KEY_BYTES} bytes, got {len(key)}; put it back, or remove it for a new key"
        )
    return key


# --- the guard ----------------------------------------------------------------------------------------------------

_LOCAL_REFRESH_S = 1.0
_API_REFRESH_S = 5.0  # four values, each a request of some 60 ms
_PROBE_BUDGET_S = 5.0  # a probe says whether REDO works, not how fast
_LOCK = threading.Lock()


def state_store() -> StateStore:
    """The store of flags, breakers and health that this process is configured to share.

    Prefect blocks where a Prefect API is configured, else the file `REDO_HOME/state.sqlite`: the same place for flows,
    services and one-liners.

    Raises:
        ConfigError: a setting cannot be used.
    """
    return surroundings().store


@lru_cache(maxsize=1)
def metrics_recorder() -> MetricsRecorder:
    """What this process counts, on its way to the shared state."""
    from tasks.metrics import MetricsRecorder  # noqa: PLC0415

    return MetricsRecorder(state_store, actor=surroundings().owner)


def surroundings() -> Surroundings:
    """What the guard is given; the same object as long as the environment names the same place.

    Raises:
        ConfigError: a setting cannot be used.
    """
    with _LOCK:  # two threads that come first must not get two
        return _surroundings(place_variables())


@lru_cache(maxsize=4)
def _surroundings(place: tuple[str | None, ...]) -> Surroundings:
    del place  # what the environment says about it, read below
    settings, api_url = load_settings(), prefect_api_url()
    store: StateStore
    if api_url is None:
        store = SqliteStateStore(settings.home_folder / "state.sqlite", clock=CLOCK)
    else:
        from tasks.blocks import PrefectStateStore  # noqa: PLC0415

        store = PrefectStateStore(clock=CLOCK, api_url=api_url)
    host = socket.gethostname()
    return Surroundings(
        store=store,
        clock=CLOCK,
        random=secrets.SystemRandom().random,
        actor=f"{_user()}@{host}",
        owner=f"{host}:{os.getpid()}",
        environment_flags=load_environment_flags,
        kill_switches=partial(load_kill_switches, settings.home_folder),
        probes=partial(health_probes, settings, store),
        config=settings.fallback,
        slow_call_s=settings.pipeline.budget_s,
        refresh_s=_LOCAL_REFRESH_S if api_url is None else _API_REFRESH_S,
    )


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run as a user that has no name
        return f"uid-{os.getuid()}"


def health_probes(settings: Settings, store: StateStore, *, index: Path | None = None) -> dict[Component, Probe]:
    """The checks that this process can make.

    Args:
        settings: say where the ledger is, and what the pipeline is told.
        store: the shared state.
        index: the passage index's folder; without one it is not checked.
    """
    # Imported before the probes run, for those have a time limit.
    from core.adapters.bm25 import Bm25Retriever  # noqa: PLC0415
    from ledger.objects import open_store  # noqa: PLC0415

    def probe_orchestrator() -> bool:
        pipeline = build_pipeline(None, replace(settings.pipeline, budget_s=_PROBE_BUDGET_S))
        (result,) = pipeline.run([_FIRST], [FallbackDecision(Decision.REDO, Reason.ENABLED)])
        return result.decision is Decision.REDO

    def probe_index(folder: Path) -> None:
        Bm25Retriever(folder).retrieve([_FIRST], 1, [Deadline(_PROBE_BUDGET_S, clock=CLOCK)])

    probes: dict[Component, Probe] = {
        Component.ORCHESTRATOR: probe_orchestrator,
        Component.LEDGER: lambda: open_store(settings.ledger).ping(),
        Component.STATE: partial(store.load, "flags"),
    }
    if index is not None:
        probes[Component.INDEX] = partial(probe_index, index)
    return probes

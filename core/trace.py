"""What happened to one query, and why. The pipeline writes it; stages never see it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from core.digest import content_digest, text_digest
from core.model import Decision, FallbackDecision, Passage, Query, Ranking, Reason, Selection


class Arm(StrEnum):
    """Which of the two selections a stage or a result belongs to."""

    REDO = "redo"
    LEGACY = "legacy"


@dataclass(frozen=True, slots=True)
class StageRecord:
    """One stage of one query.

    Attributes:
        name: `retrieve`, `detect`, `order` or `select`.
        arm: whose stage it was; retrieval that serves both arms is recorded under `redo` where REDO ran.
        latency_ms: time that the query's own work took, in milliseconds.
        items_in, items_out: how many passages (for `detect`: how many findings) went in and came out.
        complete: false where the stage stopped because time ran out.
    """

    name: str
    arm: Arm
    latency_ms: float
    items_in: int
    items_out: int
    complete: bool = True


@dataclass(frozen=True, slots=True)
class Trace:
    """What each stage received, returned and took, for one query.

    Attributes:
        query: the question.
        guard: the decision that the guard took before any work.
        decision, reason: who answered in the end, and why; differs from the guard's where REDO failed.
        ranking: what was retrieved: for REDO where there is a REDO selection, else for legacy. The two differ only
            where REDO has a retriever of its own.
        legacy, redo: the selection of each arm, where it was computed.
        budget_ms: the time that the query was given.
        latency_ms: the time that the query's own work took, both arms together.
        deadline_hit: whether time ran out.
        stages: the stages in their order.
        error: type and message of the exception that made REDO fall back.
    """

    query: Query
    guard: FallbackDecision
    decision: Decision
    reason: Reason
    ranking: Ranking
    legacy: Selection | None
    redo: Selection | None
    budget_ms: float
    latency_ms: float
    deadline_hit: bool
    stages: tuple[StageRecord, ...]
    error: str | None = None


@dataclass(frozen=True, slots=True)
class QueryResult:
    """What the user's next step reads, and the trace of how it came about."""

    query: Query
    decision: Decision
    reason: Reason
    selection: Selection
    trace: Trace


def passage_digest(passage: Passage) -> str:
    """SHA-256 of the passage's text."""
    return text_digest(passage.text)


def input_digest(query: Query) -> str:
    """SHA-256 of all that the caller sent for this query, its candidates included."""
    candidates = None
    if query.candidates is not None:
        candidates = [[item.passage.passage_id, item.score, passage_digest(item.passage)] for item in query.candidates]
    return content_digest([query.query_id, query.text, query.session_id, query.user_id, candidates])


class Identity(NamedTuple):
    """What a trace is known by.

    Attributes:
        trace_id: 32 hexadecimal digits: the same batch, query, input and configuration give the same ones. A task that
            is run again therefore writes the same ids, and a reader can drop doubles.
        input_digest: digest of the input, see `input_digest`.
    """

    trace_id: str
    input_digest: str


def identify(batch_id: str, query: Query, *, config_digest: str) -> Identity:
    """Identity of the trace of a query."""
    digest = input_digest(query)
    return Identity(content_digest([batch_id, query.query_id, digest, config_digest])[:32], digest)

"""The values that pass between the stages. All are frozen; the words are those of the glossary in CONTRIBUTING.md."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of text that can be evidence.

    Attributes:
        passage_id: unique in its corpus.
        text: what the passage says; never empty.
        source: where it comes from. Passages of one source count once as support.
        published_at: when it was published, in UTC, where known.
        metadata: whatever else the caller sent; carried, never interpreted.
    """

    passage_id: str
    text: str
    source: str | None = None
    published_at: datetime | None = None
    metadata: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ScoredPassage:
    """A passage with the score that a retriever gave it; higher is better, the scale is the retriever's own."""

    passage: Passage
    score: float


@dataclass(frozen=True, slots=True)
class Query:
    """One question of a batch.

    Attributes:
        query_id: unique in its batch.
        text: the question; never empty.
        session_id, user_id: who asked; the rollout bucket hangs on the first that is known.
        metadata: whatever else the caller sent; carried, never interpreted.
        candidates: passages that the caller has already retrieved, best first. `None` asks REDO to retrieve.
    """

    query_id: str
    text: str
    session_id: str | None = None
    user_id: str | None = None
    metadata: Mapping[str, object] = field(default_factory=dict)
    candidates: tuple[ScoredPassage, ...] | None = None


@dataclass(frozen=True, slots=True)
class Ranking:
    """Passages with scores, best first, from one retriever. `complete` is false where time ran out."""

    items: tuple[ScoredPassage, ...]
    complete: bool = True


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of a passage's text, in characters: `text[start:end]`."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Claim:
    """What one passage says: the sentence, and the value in it that the other side disputes.

    Both spans count characters of the passage's text, and `text[span.start:span.end]` is `sentence` or `value`.
    """

    passage_id: str
    sentence: str
    sentence_span: Span
    value: str
    value_span: Span


class ContradictionKind(StrEnum):
    """What two passages disagree about."""

    NUMERIC = "numeric"
    DATE = "date"
    ENTITY = "entity"
    POLARITY = "polarity"
    STATEMENT = "statement"  # the sentences as wholes; no single value differs


@dataclass(frozen=True, slots=True)
class Contradiction:
    """Two passages that cannot both be true.

    Attributes:
        kind: what they disagree about.
        score: how sure the detector is, 0 to 1.
        stage: which stage of the cascade found it.
        left, right: what each passage says; `left` is the one that the retriever ranked higher.
    """

    kind: ContradictionKind
    score: float
    stage: str
    left: Claim
    right: Claim


@dataclass(frozen=True, slots=True)
class Ambiguity:
    """Two passages about two different things of one name. Both can be true: this is no contradiction.

    Attributes:
        name: the shared name.
        score: how sure the detector is, 0 to 1.
        stage: which stage of the cascade found it.
        left, right: what each passage takes the name to mean; `left` is the one that the retriever ranked higher.
    """

    name: str
    score: float
    stage: str
    left: Claim
    right: Claim


@dataclass(frozen=True, slots=True)
class Agreement:
    """Two passages that say the same about one thing; `value` is what they agree on."""

    left_id: str
    right_id: str
    value: str


@dataclass(frozen=True, slots=True)
class Standing:
    """What the other passages' answers say of one passage's answer to the question.

    Attributes:
        passage_id: the passage.
        answered: how likely it answers the question at all, 0 to 1.
        support: independent passages that answer the same, each counted by how likely that is.
        opposition: weight of the strongest passage about the same thing that answers differently.
    """

    passage_id: str
    answered: float
    support: float
    opposition: float


@dataclass(frozen=True, slots=True)
class Detection:
    """What a detector found among the passages of one query.

    Attributes:
        contradictions, ambiguities, agreements: what it found on pairs of passages.
        standings: how each passage's answer stands, in the order of the ranking; empty where answers were not compared.
        complete: false where time ran out.
    """

    contradictions: tuple[Contradiction, ...] = ()
    ambiguities: tuple[Ambiguity, ...] = ()
    agreements: tuple[Agreement, ...] = ()
    standings: tuple[Standing, ...] = ()
    complete: bool = True


@dataclass(frozen=True, slots=True)
class ScoreParts:
    """What a passage's score is the product of. Legacy evidence has its relevance only.

    Attributes:
        relevance: the retriever's score divided by the best one of the ranking, 0 to 1.
        support: at least 1; grows with the number of independent sources that agree.
        contradiction: at most 1; lowered where better supported passages say otherwise.
        recency: at least 1; grows with the date of publication where dates are known.
    """

    relevance: float
    support: float = 1.0
    contradiction: float = 1.0
    recency: float = 1.0

    @property
    def total(self) -> float:
        """The product."""
        return self.relevance * self.support * self.contradiction * self.recency


@dataclass(frozen=True, slots=True)
class Evidence:
    """A passage with its place and why it is there.

    Attributes:
        passage: the passage.
        score: the score that it was ordered by.
        score_parts: what the score is made of.
        rank_in: place in the retriever's ranking, from 1.
        tokens: length by `core.selection.count_tokens`.
        support: how many independent sources say what it says, its own included.
        conflict_group: number of the dispute that it takes part in, from 1; `None` where nobody disputes it.
        disputed_by: passages that say otherwise with about as much support. Such a dispute is open: a reader needs
            both sides.
    """

    passage: Passage
    score: float
    score_parts: ScoreParts
    rank_in: int
    tokens: int
    support: int = 1
    conflict_group: int | None = None
    disputed_by: tuple[str, ...] = ()

    @property
    def disputed(self) -> bool:
        """Whether the passage takes part in an open dispute."""
        return bool(self.disputed_by)


class ExclusionReason(StrEnum):
    """Why a passage was left out."""

    BUDGET = "budget"
    NEAR_DUPLICATE = "near_duplicate"
    DISPUTE_DOES_NOT_FIT = "dispute_does_not_fit"
    TOO_LONG = "too_long"


@dataclass(frozen=True, slots=True)
class Exclusion:
    """A passage left out, and why. `because_of` names the passage that made it superfluous, where there is one."""

    passage_id: str
    reason: ExclusionReason
    because_of: str | None = None


@dataclass(frozen=True, slots=True)
class Selection:
    """The answer to one query.

    Invariants: a passage is in `evidence` or in `exclusions`, once; the tokens of the evidence fit the budget; of an
    open dispute both sides are in, next to each other, or neither.
    """

    evidence: tuple[Evidence, ...] = ()
    exclusions: tuple[Exclusion, ...] = ()
    contradictions: tuple[Contradiction, ...] = ()
    ambiguities: tuple[Ambiguity, ...] = ()

    @property
    def passage_ids(self) -> tuple[str, ...]:
        """Ids of the evidence in its order."""
        return tuple(item.passage.passage_id for item in self.evidence)


class Decision(StrEnum):
    """Who answered: REDO, legacy by choice of the flags, or legacy because REDO could not."""

    REDO = "redo"
    LEGACY = "legacy"
    FALLBACK = "fallback"


class Reason(StrEnum):
    """Why that one answered. The first ones are the guard's, found before any work; the others come of the work."""

    ENABLED = "ENABLED"
    SHADOW = "SHADOW"
    KILL_SWITCH = "KILL_SWITCH"
    FLAG_OFF = "FLAG_OFF"
    NOT_IN_ROLLOUT = "NOT_IN_ROLLOUT"
    DATABASE_UNAVAILABLE = "DATABASE_UNAVAILABLE"  # the passage index or the shared state
    SIMULATED = "SIMULATED"  # somebody simulates that the database fails
    UNHEALTHY = "UNHEALTHY"  # the orchestrator did not pass its self-test
    BREAKER_OPEN = "BREAKER_OPEN"
    BULKHEAD_FULL = "BULKHEAD_FULL"  # too many calls hang: no other one was begun
    TIMEOUT = "TIMEOUT"  # the call was given up; what it may still return is dropped
    ORCHESTRATOR_ERROR = "ORCHESTRATOR_ERROR"
    DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED"
    RETRIEVER_ERROR = "RETRIEVER_ERROR"


@dataclass(frozen=True, slots=True)
class FallbackDecision:
    """The guard's answer for one query, taken before any work.

    Attributes:
        decision: who shall answer.
        reason: why.
        bucket: the rollout bucket of the query's key, 1 to 100.
        shadow: whether both selections are computed though legacy is served.
    """

    decision: Decision
    reason: Reason
    bucket: int | None = None
    shadow: bool = False

    @property
    def runs_redo(self) -> bool:
        """Whether the REDO selection is computed."""
        return self.shadow or self.decision is Decision.REDO

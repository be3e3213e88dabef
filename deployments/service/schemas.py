"""What the endpoints answer: the shapes in the OpenAPI document, and nothing else is sent."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from core.flags import FlagValue
from core.model import ContradictionKind, Decision, Reason
from core.trace import Arm


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Problem(_Answer):
    """Why a request was not served."""

    error: Annotated[str, Field(description="What is wrong, and what was expected.")]
    fields: Annotated[dict[str, str] | None, Field(description="The same for each field that is to blame.")] = None


class Alive(_Answer):
    """The process answers."""

    status: Annotated[str, Field(description="Always `ok`: whoever reads it was answered.")] = "ok"
    version: str
    chat: Annotated[bool, Field(description="Whether there are passages that `/chat` can search.")]


# --- flags --------------------------------------------------------------------------------------------------------


class Flag(_Answer):
    """One flag as it is in force."""

    value: FlagValue
    source: Annotated[
        str, Field(description="Where the value comes from: kill_switch, override, stored, environment or default.")
    ]
    detail: Annotated[str, Field(description="Which kill switch, or whose override.")]
    default: FlagValue
    description: str


class Difference(_Answer):
    """A value before a change and after it. Null: it was not set."""

    before: Any
    after: Any


class Change(_Answer):
    """One entry of the history."""

    version: int
    time: datetime
    actor: str
    reason: str
    changed: Annotated[dict[str, Difference], Field(description="What is stored of each flag, where it changed.")]


class FlagsInForce(_Answer):
    """All flags, and what follows from them."""

    flags: Annotated[dict[str, Flag], Field(description="Every flag by its name, as it is in force now.")]
    kill_switches: Annotated[list[str], Field(description="Kill switches that are on; one turns everything off.")]
    redo_active: Annotated[bool, Field(description="Whether REDO answers the queries that are in the rollout.")]
    reason: Annotated[Reason, Field(description="Why, or why not.")]
    stale_because: Annotated[
        str | None, Field(description="Why what is known of the shared state may be old; null where it is not.")
    ]


class FlagsAnswer(FlagsInForce):
    """All flags, and how they came to be so."""

    history: Annotated[list[Change], Field(description="The newest changes, newest first.")]


class FlagsChanged(FlagsInForce):
    """All flags after a change."""

    changes: Annotated[
        dict[str, Difference],
        Field(description="Each flag of the request, its value in force before and after; `flags` says where from."),
    ]
    actor: Annotated[str, Field(description="Who is in the history.")]


# --- chat ---------------------------------------------------------------------------------------------------------


class Citation(_Answer):
    """Where a sentence of the answer stands."""

    number: Annotated[int, Field(description="As it stands in the answer, in brackets.")]
    passage_id: str
    source: str | None
    published_at: datetime | None
    quote: Annotated[str, Field(description="The sentence as the passage has it.")]
    start: Annotated[int, Field(description="Where it begins, in characters of the passage's text.")]
    end: int


class DisputeSide(_Answer):
    """What one passage says."""

    citation: Annotated[int, Field(description="Number of the citation that quotes it.")]
    passage_id: str
    source: str | None
    sentence: str
    value: Annotated[str, Field(description="What the other side disputes.")]


class Dispute(_Answer):
    """Two passages that cannot both be true, neither better supported than the other."""

    kind: ContradictionKind
    score: Annotated[float, Field(description="How sure REDO is, 0 to 1.")]
    left: DisputeSide
    right: DisputeSide


class ChatAnswer(_Answer):
    """An answer in the words of the evidence."""

    answer: Annotated[
        str | None,
        Field(description="Sentences of the evidence, with the numbers of their citations; null where none is near."),
    ]
    citations: list[Citation]
    disputes: Annotated[list[Dispute], Field(description="Open disputes about what the answer says, both sides.")]
    query_id: str


class Stage(_Answer):
    """One stage of the pipeline."""

    name: str
    arm: Arm
    ms: Annotated[float, Field(description="Time that the stage took, in milliseconds.")]


class TracedEvidence(_Answer):
    """A passage of the selection."""

    passage_id: str
    score: float
    rank_in: Annotated[int, Field(description="Its place in the retriever's ranking, from 1.")]
    tokens: int
    support: int
    conflict_group: int | None
    disputed_by: list[str]


class TracedExclusion(_Answer):
    """A passage that was left out."""

    passage_id: str
    reason: str
    because_of: str | None


class ChatTrace(_Answer):
    """How the answer came about."""

    guard_decision: Annotated[Decision, Field(description="What was decided before any work.")]
    guard_reason: Reason
    retrieved: Annotated[list[str], Field(description="Ids of the retrieved passages, best first.")]
    evidence: Annotated[list[TracedEvidence], Field(description="The selection, in its order.")]
    exclusions: list[TracedExclusion]
    contradictions: Annotated[int, Field(description="How many REDO found, open or not.")]
    budget_ms: float
    latency_ms: Annotated[float, Field(description="Time of the query's own work, waiting not included.")]
    deadline_hit: bool
    error: Annotated[str | None, Field(description="Type of the error that made REDO fall back.")]


class DebuggedAnswer(ChatAnswer):
    """The same with `"debug": true`."""

    orchestration_enabled: Annotated[bool, Field(description="Whether REDO was to work on this query.")]
    orchestration_time_ms: Annotated[float, Field(description="Time of REDO's own stages, in milliseconds.")]
    decision: Annotated[Decision, Field(description="Who answered: redo, legacy by choice, or fallback.")]
    reason: Annotated[Reason, Field(description="Why that one.")]
    bucket: Annotated[int | None, Field(description="The rollout bucket of the session, 1 to 100.")]
    stages: list[Stage]
    trace: ChatTrace


# --- configuration ------------------------------------------------------------------------------------------------


class Setting(_Answer):
    """One setting."""

    value: Annotated[Any, Field(description="As it is in force; a secret is masked.")]
    default: Any
    is_default: Annotated[bool, Field(description="Whether nobody has set it.")]
    description: str


class Configuration(_Answer):
    """What this process works with."""

    version: str
    settings: Annotated[dict[str, Setting], Field(description="Every setting by its variable.")]
    flags: dict[str, Flag]
    kill_switches: list[str]
    state: Annotated[
        dict[str, str],
        Field(description="Where the shared state lives: Prefect blocks at an address, or a SQLite file."),
    ]
    passages: Annotated[str | None, Field(description="The file that `/chat` searches.")]
    parts: Annotated[dict[str, str], Field(description="Name and version of retriever, detector and orderer.")]

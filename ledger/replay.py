"""A stored trace once more, with today's code: what came out then, what comes out now, and where they part.

What was retrieved is taken from the trace, by texts and scores, so that the index of that day is not needed; what is
done anew is everything behind it: contradictions, order, selection. Time plays no part: a replay has as much as it
needs. The pipeline's settings are those of the trace, where it has them (`extra_json`, `pipeline`).

A row whose texts are not all there cannot be replayed, and the answer says why: kept at level min, shortened, masked,
or forgotten.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

import orjson

from core.digest import text_digest
from core.model import (
    Ambiguity,
    Contradiction,
    Decision,
    FallbackDecision,
    Passage,
    Query,
    Reason,
    ScoredPassage,
    Selection,
)
from core.pipeline import DetectorKind, Pipeline, PipelineConfig, RetrieverKind
from core.placement import PlacementPolicy
from core.trace import Arm
from ledger.level import Level

_BUDGET_S: Final = 3_600.0
_ALL: Final = 1_000_000  # whatever was retrieved; one number, so that one pipeline serves all
_SAME: Final = 1e-9
_PARTS: Final = {
    "score_relevance": "relevance",
    "score_support": "support",
    "score_contradiction": "contradiction",
    "score_recency": "recency",
}

_KINDS: Final = {"placement": PlacementPolicy, "retriever": RetrieverKind, "detector": DetectorKind}

PipelineOf = Callable[[PipelineConfig], Pipeline]
"""Gives today's pipeline with the settings of a trace."""


class Outcome(StrEnum):
    """What a replay says."""

    SAME = "same"
    DIFFERENT = "different"
    NOT_REPRODUCIBLE = "not_reproducible"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One thing that is not as it was.

    Attributes:
        about: `order`, `selection`, `conflicts` or `failure`.
        subject: id of the passage, or the two of them; empty for a failure.
        text: what it was and what it is.
    """

    about: str
    subject: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """What became of one trace.

    Attributes:
        trace_id, query_id, batch_id: which one.
        arm: whose selection was compared: `redo` or `legacy`.
        outcome: whether it came out the same.
        differences: what is not as it was.
        because: why it cannot be reproduced, or what may explain a difference: versions, settings, time.
        then, now: ids of the selection, in order.
    """

    trace_id: str
    query_id: str
    batch_id: str
    arm: str
    outcome: Outcome
    differences: tuple[Difference, ...] = ()
    because: tuple[str, ...] = ()
    then: tuple[str, ...] = ()
    now: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """The replay as JSON values."""
        return asdict(self)


def replay(row: Mapping[str, Any], *, pipeline_of: PipelineOf, today: PipelineConfig, code_version: str) -> Replay:
    """Run a stored trace again and compare.

    Args:
        row: all columns of one row of `traces`, maps as dicts, times as datetimes or ISO 8601.
        pipeline_of: today's pipeline.
        today: the settings of today, for a trace that has none.
        code_version: the version that runs now.
    """
    arm, documents = str(row["selection_arm"]), row["documents"]
    then = tuple(found["id"] for found in _selected(documents))
    about = {"trace_id": row["trace_id"], "query_id": row["query_id"], "batch_id": row["batch_id"], "arm": arm}
    obstacles = _obstacles(row)
    if obstacles:
        return Replay(**about, outcome=Outcome.NOT_REPRODUCIBLE, because=obstacles, then=then)
    config, is_stored = _config(row, today)
    pipeline = pipeline_of(replace(config, top_k=_ALL, budget_s=_BUDGET_S))
    wanted = Decision.REDO if arm == Arm.REDO.value else Decision.LEGACY
    reason = Reason.ENABLED if wanted is Decision.REDO else Reason.FLAG_OFF
    (result,) = pipeline.run([_query(row)], [FallbackDecision(wanted, reason)])
    because = _circumstances(row, pipeline, code_version, is_stored=is_stored)
    if result.decision is not wanted:
        failure = Difference(about="failure", subject="", text=f"it fails now: {result.trace.error or result.reason}")
        return Replay(**about, outcome=Outcome.DIFFERENT, differences=(failure,), because=because, then=then)
    selection = result.selection
    differences = (
        *_selection_differences(documents, selection),
        *_order_differences(documents, selection),
        *_conflict_differences(row["conflicts"], selection),
    )
    return Replay(
        **about,
        outcome=Outcome.DIFFERENT if differences else Outcome.SAME,
        differences=differences,
        because=because,
        then=then,
        now=selection.passage_ids,
    )


def _obstacles(row: Mapping[str, Any]) -> tuple[str, ...]:
    """Why the row does not hold what the pipeline was given."""
    if row.get("forgotten_at") is not None:
        return (f"its content was removed at a person's request on {str(row['forgotten_at'])[:10]}",)
    found = []
    if row.get("level") == Level.MIN.value:
        found.append("kept at level min: the passages' texts were not stored")
    if row.get("truncated_fields"):
        found.append(f"shortened to fit LEDGER_MAX_TRACE_BYTES: {', '.join(row['truncated_fields'])}")
    if row.get("redactions"):
        masked = ", ".join(f"{count} x {name}" for name, count in sorted(dict(row["redactions"]).items()))
        found.append(f"masked before it was stored: {masked}")
    if not found and row["query_text"] is None:
        found.append("the query's text was not stored")
    absent = sum(document["content"] is None for document in row["documents"])
    if not found and absent:
        found.append(f"the texts of {absent} of {len(row['documents'])} passages were not stored")
    changed = [
        document["id"]
        for document in row["documents"]
        if document["content"] is not None and text_digest(document["content"]) != document["content_digest"]
    ]
    if not found and changed:
        found.append(f"the stored text of passage {changed[0]} is not the one that was read: its digest differs")
    return tuple(found)


def _config(row: Mapping[str, Any], today: PipelineConfig) -> tuple[PipelineConfig, bool]:
    """The settings of the trace, and whether it has them; what it does not name is as today."""
    try:
        stored = orjson.loads(row.get("extra_json") or "{}")["pipeline"]
        known = {field.name: stored[field.name] for field in fields(PipelineConfig) if field.name in stored}
        known |= {name: kind(known[name]) for name, kind in _KINDS.items() if name in known}
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
        return today, False
    return replace(today, **known), "token_budget" in known


def _query(row: Mapping[str, Any]) -> Query:
    candidates = tuple(
        ScoredPassage(
            Passage(found["id"], found["content"], found["source"], _moment(found["published_at"])), found["score"]
        )
        for found in sorted(row["documents"], key=lambda found: int(found["rank_in"]))
    )
    return Query(row["query_id"], row["query_text"], candidates=candidates)


def _moment(value: object) -> datetime | None:
    return value if value is None or isinstance(value, datetime) else datetime.fromisoformat(str(value))


def _circumstances(
    row: Mapping[str, Any], pipeline: Pipeline, code_version: str, *, is_stored: bool
) -> tuple[str, ...]:
    """What is not as it was, and may explain a difference."""
    found = []
    if not is_stored:
        found.append("the trace does not tell its settings: today's were used")
    before = dict(row["model_versions"])
    for part, version in pipeline.versions.items():
        if part != "retriever" and before.get(part) not in {None, version}:
            found.append(f"{part}: {before[part]} then, {version} now")
    if row["code_version"] != code_version:
        found.append(f"REDO {row['code_version']} then, {code_version} now")
    if row["deadline_hit"] or not all(stage["complete"] for stage in row["stages"]):
        found.append("time ran out then; a replay takes the time that it needs")
    return tuple(found)


def _selected(documents: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return sorted((found for found in documents if found["selected"]), key=lambda found: int(found["rank_out"]))


def _selection_differences(documents: Sequence[Mapping[str, Any]], selection: Selection) -> list[Difference]:
    now = set(selection.passage_ids)
    left_out = {item.passage_id: item for item in selection.exclusions}
    found = []
    for document in documents:
        subject, reason = document["id"], document["exclusion_reason"]
        excluded = left_out.get(subject)
        if document["selected"] and subject not in now:
            text = f"was selected, is left out{f' ({excluded.reason.value})' if excluded else ''}"
        elif subject in now and not document["selected"]:
            text = f"was left out ({reason}), is selected"
        elif excluded is not None and (excluded.reason.value, excluded.because_of) != (
            reason,
            document["excluded_because_of"],
        ):
            text = f"was left out for {reason}, is left out for {excluded.reason.value}"
        else:
            continue
        found.append(Difference(about="selection", subject=subject, text=text))
    return found


def _order_differences(documents: Sequence[Mapping[str, Any]], selection: Selection) -> list[Difference]:
    """Passages that are in both selections and have moved among these, with the parts of the score that changed."""
    now = {item.passage.passage_id: item for item in selection.evidence}
    before = [document for document in _selected(documents) if document["id"] in now]
    kept = {document["id"] for document in before}
    places = {passage_id: place for place, passage_id in enumerate((i for i in now if i in kept), start=1)}
    found = []
    for place, document in enumerate(before, start=1):
        subject = document["id"]
        if places[subject] == place:
            continue
        item = now[subject]
        parts = [
            f"{name} {document[column]:.3f} -> {getattr(item.score_parts, name):.3f}"
            for column, name in _PARTS.items()
            if document[column] is not None and abs(document[column] - getattr(item.score_parts, name)) > _SAME
        ]
        why = f"; {', '.join(parts)}" if parts else ""
        found.append(Difference(about="order", subject=subject, text=f"place {place} -> {places[subject]}{why}"))
    return found


_Finding = tuple[str, str, str, str, str, int, int, float, str, str | None]
"""Kind, both passages, both values, where both sentences begin, score, stage, and the name of an ambiguity."""


def _conflict_differences(stored: Sequence[Mapping[str, Any]], selection: Selection) -> list[Difference]:
    before = Counter(_stored_finding(found) for found in stored)
    findings: tuple[Contradiction | Ambiguity, ...] = (*selection.contradictions, *selection.ambiguities)
    now = Counter(map(_finding, findings))
    gone, come = before - now, now - before
    differences = [(finding, "was found, is not") for finding in gone] + [(finding, "is new") for finding in come]
    return [
        Difference(about="conflicts", subject=f"{finding[1]}, {finding[2]}", text=f"{_in_words(finding)} {text}")
        for finding, text in sorted(differences, key=lambda item: (item[0][:5], item[1]))
    ]


def _stored_finding(found: Mapping[str, Any]) -> _Finding:
    return (
        str(found["kind"]),
        found["left_passage_id"],
        found["right_passage_id"],
        found["left_value"],
        found["right_value"],
        found["left_sentence_start"],
        found["right_sentence_start"],
        found["score"],
        found["stage"],
        found["name"],
    )


def _finding(found: Contradiction | Ambiguity) -> _Finding:
    return (
        "ambiguity" if isinstance(found, Ambiguity) else found.kind.value,
        found.left.passage_id,
        found.right.passage_id,
        found.left.value,
        found.right.value,
        found.left.sentence_span.start,
        found.right.sentence_span.start,
        found.score,
        found.stage,
        found.name if isinstance(found, Ambiguity) else None,
    )


def _in_words(finding: _Finding) -> str:
    return f"{finding[0]} ({finding[7]:.2f}, {finding[8]}): {finding[3]!r} against {finding[4]!r}"

"""The record that the user's next step reads: one a query, the same for the same input. docs/output.md describes it."""

from __future__ import annotations

from core.model import Ambiguity, Claim, Contradiction, Evidence
from core.trace import QueryResult


def output_record(result: QueryResult) -> dict[str, object]:
    """The result as JSON values. It holds no times and no ids of the run, so that equal input gives equal bytes.

    Contradictions and ambiguities are those that touch the evidence; the trace has all of them.
    """
    selection = result.selection
    shown = set(selection.passage_ids)
    return {
        "query_id": result.query.query_id,
        "query": result.query.text,
        "decision": result.decision.value,
        "reason": result.reason.value,
        "evidence": [_evidence(item) for item in selection.evidence],
        "contradictions": [_contradiction(found) for found in selection.contradictions if _touches(found, shown)],
        "ambiguities": [_ambiguity(found) for found in selection.ambiguities if _touches(found, shown)],
    }


def conflict_record(result: QueryResult) -> dict[str, object] | None:
    """All contradictions that REDO found for a query, served or not; nothing where it found none."""
    redo = result.trace.redo
    if redo is None or not redo.contradictions:
        return None
    return {
        "query_id": result.query.query_id,
        "query": result.query.text,
        "contradictions": [_contradiction(found) for found in redo.contradictions],
    }


def _touches(found: Contradiction | Ambiguity, shown: set[str]) -> bool:
    return found.left.passage_id in shown or found.right.passage_id in shown


def _evidence(item: Evidence) -> dict[str, object]:
    passage = item.passage
    return {
        "passage_id": passage.passage_id,
        "text": passage.text,
        "source": passage.source,
        "published_at": None if passage.published_at is None else passage.published_at.isoformat(),
        "score": round(item.score, 6),
        "support": item.support,
        "conflict_group": item.conflict_group,
        "disputed_by": list(item.disputed_by),
        "tokens": item.tokens,
    }


def _contradiction(found: Contradiction) -> dict[str, object]:
    return {
        "kind": found.kind.value,
        "score": found.score,
        "stage": found.stage,
        "left": _claim(found.left),
        "right": _claim(found.right),
    }


def _ambiguity(found: Ambiguity) -> dict[str, object]:
    return {
        "name": found.name,
        "score": found.score,
        "stage": found.stage,
        "left": _claim(found.left),
        "right": _claim(found.right),
    }


def _claim(claim: Claim) -> dict[str, object]:
    return {
        "passage_id": claim.passage_id,
        "sentence": claim.sentence,
        "sentence_start": claim.sentence_span.start,
        "sentence_end": claim.sentence_span.end,
        "value": claim.value,
        "value_start": claim.value_span.start,
        "value_end": claim.value_span.end,
    }

"""`POST /chat`: a question, and an answer in the words of the evidence."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from fastapi import APIRouter, Request, Response

from core.adapters.raw_record import printable
from core.errors import RecordError
from core.model import Query, Selection
from core.records import MAX_ID_CHARS, MAX_QUERY_CHARS, parse_query
from core.trace import Arm, QueryResult, Trace
from deployments.service.answers import NoAnswerError
from deployments.service.extract import extract
from deployments.service.json_body import json_object
from deployments.service.refusals import RefusedError
from deployments.service.schemas import (
    ChatAnswer,
    ChatTrace,
    DebuggedAnswer,
    Problem,
    Stage,
    TracedEvidence,
    TracedExclusion,
)
from deployments.service.services import Services

_FIELDS: Final = ("prompt", "session_id", "user_id", "debug")
_NAME_CHARS: Final = 100
_ID: Final = {"type": "string", "maxLength": MAX_ID_CHARS}
_BODY: Final = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "additionalProperties": False,
                    "required": ["prompt"],
                    "properties": {
                        "prompt": {"type": "string", "minLength": 1, "maxLength": MAX_QUERY_CHARS},
                        "session_id": _ID | {"description": "Questions of one session stay in or out of the rollout."},
                        "user_id": _ID | {"description": "Counts where there is no session."},
                        "debug": {"type": "boolean", "default": False, "description": "Also say how it came about."},
                    },
                },
                "example": {"prompt": "Which Python versions does rich support?", "session_id": "s-17", "debug": True},
            }
        },
    }
}
_PROBLEMS: Final[dict[int | str, dict[str, Any]]] = {
    400: {"model": Problem, "description": "No JSON object, a key twice, or too deep."},
    413: {"model": Problem, "description": "Over 64 KiB."},
    422: {"model": Problem, "description": "A field is missing, unknown, of the wrong type, or too long."},
    503: {"model": Problem, "description": "The service has no passages, or too many questions are waiting."},
}


def chat_routes(services: Services) -> APIRouter:
    """The endpoint."""
    router = APIRouter(tags=["chat"])

    @router.post(
        "/chat",
        summary="Answer a question from the passages",
        response_model=DebuggedAnswer | ChatAnswer,
        openapi_extra=_BODY,
        responses=_PROBLEMS,
    )
    async def chat(request: Request) -> Response:
        """Answer in the words of the evidence, with citations, and with both sides where sources disagree.

        REDO chooses the evidence where the flags say so and it works; else the legacy selection does.
        """
        fields = await json_object(request)
        query, debug = _query(fields, services.query_id())
        if services.answers is None:
            message = "this service has no passages to search; start it with `redo serve --passages PATH`"
            raise RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, message)
        try:
            result = await services.answers.answer(query)
        except NoAnswerError as error:
            raise RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, str(error), headers={"Retry-After": "1"}) from error
        answer = _debugged(result) if debug else _plain(result)
        return Response(answer.model_dump_json(), media_type="application/json")  # it is valid; no second check

    return router


def _query(fields: Mapping[str, object], query_id: str) -> tuple[Query, bool]:
    """The question, and whether its trace is wanted. Raises RefusedError with the field that is wrong."""
    for name in fields:
        if name not in _FIELDS:
            raise _wrong(name, f"unknown, expected one of {', '.join(_FIELDS)}")
    debug = fields.get("debug", False)
    if not isinstance(debug, bool):
        raise _wrong("debug", "wrong type, expected true or false")
    record = {"query_id": query_id, "text": fields.get("prompt")}
    record |= {name: fields.get(name) for name in ("session_id", "user_id")}
    try:
        return parse_query(record), debug
    except RecordError as error:
        raise _wrong("prompt" if error.field == "text" else error.field, error.reason) from None


def _wrong(field: str, reason: str) -> RefusedError:
    fields = {printable(field, _NAME_CHARS): reason}
    return RefusedError(HTTPStatus.UNPROCESSABLE_ENTITY, "the question cannot be used", fields=fields)


def _plain(result: QueryResult) -> ChatAnswer:
    found = extract(result)
    return ChatAnswer(
        answer=found.text,
        citations=list(found.citations),
        disputes=list(found.disputes),
        query_id=result.query.query_id,
    )


def _debugged(result: QueryResult) -> DebuggedAnswer:
    trace = result.trace
    return DebuggedAnswer(
        **dict(_plain(result)),
        orchestration_enabled=trace.guard.runs_redo,
        orchestration_time_ms=_ms(
            sum(s.latency_ms for s in trace.stages if s.arm is Arm.REDO and s.name != "retrieve")
        ),
        decision=result.decision,
        reason=result.reason,
        bucket=trace.guard.bucket,
        stages=[Stage(name=stage.name, arm=stage.arm, ms=_ms(stage.latency_ms)) for stage in trace.stages],
        trace=_trace(trace, result.selection),
    )


def _trace(trace: Trace, selection: Selection) -> ChatTrace:
    return ChatTrace(
        guard_decision=trace.guard.decision,
        guard_reason=trace.guard.reason,
        retrieved=[item.passage.passage_id for item in trace.ranking.items],
        evidence=[
            TracedEvidence(
                passage_id=item.passage.passage_id,
                score=round(item.score, 6),
                rank_in=item.rank_in,
                tokens=item.tokens,
                support=item.support,
                conflict_group=item.conflict_group,
                disputed_by=list(item.disputed_by),
            )
            for item in selection.evidence
        ],
        exclusions=[
            TracedExclusion(passage_id=item.passage_id, reason=item.reason.value, because_of=item.because_of)
            for item in selection.exclusions
        ],
        contradictions=len(selection.contradictions),
        budget_ms=trace.budget_ms,
        latency_ms=_ms(trace.latency_ms),
        deadline_hit=trace.deadline_hit,
        # Its message may name files of this machine, and everybody may ask.
        error=None if trace.error is None else trace.error.partition(":")[0],
    )


def _ms(latency_ms: float) -> float:
    return round(latency_ms, 3)

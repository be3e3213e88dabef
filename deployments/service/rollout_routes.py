"""`/admin/rollout`: where the rollout stands and why, and orders to it. The same verbs as `redo rollout`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Annotated, Any, Final, TypeVar

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, ValidationError

from core.adapters.raw_record import printable
from core.errors import ConfigError
from core.rollout.orders import Outcome
from core.rollout.plan import Plan
from deployments.cli.rollout import event_as_dict, why_as_dict
from deployments.service.access import Access
from deployments.service.flag_routes import PROTECTED, caller_of
from deployments.service.json_body import json_object
from deployments.service.refusals import RefusedError
from deployments.service.rollout_schemas import (
    Advance,
    Approve,
    History,
    Ordered,
    Pause,
    Resume,
    Rollback,
    Start,
    Status,
    Why,
)
from deployments.service.schemas import Problem
from tasks.rollout.desk import Desk
from tasks.rollout.evaluation import GatesError
from tasks.rollout.plans import plan_of
from tasks.rollout.publishing import tell, tell_emergency
from tasks.rollout.words import emergency_as_dict, outcome_as_dict

_NO_REASON: Final = "no reason given"
_MESSAGE_CHARS: Final = 300
_NAME_CHARS: Final = 100

_PROBLEMS: Final[dict[int | str, dict[str, Any]]] = {
    400: {"model": Problem, "description": "No JSON object, a key twice, or too deep."},
    409: {"model": Ordered, "description": "The order cannot be carried out as things are; `reasons` says why."},
    413: {"model": Problem, "description": "Over 64 KiB."},
    422: {"model": Problem, "description": "A field is unknown, of the wrong type or out of range."},
    503: {"model": Problem, "description": "The shared state does not answer, or the gates could not be evaluated."},
}
_Body = TypeVar("_Body", bound=BaseModel)


def rollout_routes(desk: Desk, access: Access) -> APIRouter:
    """The endpoints."""
    router = APIRouter(
        prefix="/admin/rollout", tags=["rollout"], dependencies=[Depends(access.check)], responses=PROTECTED
    )
    _reading(router, desk)
    for path, model, summary, work in (
        ("start", Start, "Begin a rollout at 0 %", _start),
        ("approve", Approve, "Say yes to the step that waits", _approve),
        ("pause", Pause, "Stay at this step", _pause),
        ("resume", Resume, "Go on after a pause or a rollback", _resume),
        ("advance", Advance, "Ask the gates, and take one decision", _advance),
        ("rollback", Rollback, "Take REDO back", _rollback),
    ):
        router.add_api_route(
            f"/{path}",
            _order(desk, model, work),  # type: ignore[arg-type] # each work takes its own model
            methods=["POST"],
            name=path,
            summary=summary,
            description=work.__doc__,
            response_model=Ordered,
            response_model_exclude_none=True,
            responses=_PROBLEMS,
            openapi_extra=_body_of(model),
        )
    return router


def _reading(router: APIRouter, desk: Desk) -> None:
    @router.get("", summary="Where the rollout stands", response_model_exclude_none=True)
    def read() -> Status:
        """Its plan and step, its breakers, and what the gates said last."""
        return Status.model_validate(desk.status())

    @router.get("/why", summary="Why the rollout does not rise")
    def why() -> Why:
        """Every reason, by the newest gate report of the step. No gate is asked anew."""
        return Why.model_validate(why_as_dict(*desk.why()))

    @router.get("/history", summary="What happened to the rollout", response_model_exclude_none=True)
    def history(
        limit: Annotated[int, Query(ge=1, le=1000, description="How many changes of the flags are looked at.")] = 50,
    ) -> History:
        """Who, when, why and on which reports, the newest first."""
        return History.model_validate({"events": [event_as_dict(event) for event in desk.history(limit)]})


def _order(
    desk: Desk, model: type[_Body], work: Callable[[Desk, _Body, str, str], dict[str, Any]]
) -> Callable[[Request, Response], Awaitable[dict[str, Any]]]:
    """The endpoint of one order. `X-Redo-Actor` and `X-Redo-Reason` go into the history."""

    async def endpoint(request: Request, response: Response) -> dict[str, Any]:
        body = await _parsed(request, model)
        actor, reason = caller_of(request)
        told = await run_in_threadpool(work, desk, body, actor, reason or "")
        if told["refused"]:
            response.status_code = HTTPStatus.CONFLICT
        elif told.get("complete") is False:
            response.status_code = HTTPStatus.SERVICE_UNAVAILABLE
        return told

    return endpoint


async def _parsed(request: Request, model: type[_Body]) -> _Body:
    """The body, or nothing at all, which is an empty one."""
    fields = await json_object(request) if await request.body() else {}
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        wrong = {
            printable(".".join(map(str, found["loc"])) or "body", _NAME_CHARS): printable(found["msg"], _MESSAGE_CHARS)
            for found in error.errors()
        }
        raise RefusedError(HTTPStatus.UNPROCESSABLE_ENTITY, "nothing was changed", fields=wrong) from None


# --- the orders ---------------------------------------------------------------------------------------------------


def _start(desk: Desk, asked: Start, actor: str, reason: str) -> dict[str, Any]:
    """Everything is off at first, and runs are shadow runs. It rises by `advance` alone."""
    try:
        plan = (
            Plan.from_dict(asked.plan)
            if asked.plan is not None
            else plan_of(
                percentages=asked.percentages,
                soak_s=asked.soak_s,
                min_samples=asked.min_samples,
                approval=asked.approval,
                rollback_soak_s=asked.rollback_soak_s,
            )
        )
    except ConfigError as error:
        raise RefusedError(
            HTTPStatus.UNPROCESSABLE_ENTITY, "nothing was changed", fields={"plan": str(error)}
        ) from None
    outcome = desk.orders.start(
        plan, actor=actor, reason=reason or _NO_REASON, over_old=asked.over_old, dry_run=asked.dry_run
    )
    return _told(outcome, dry_run=asked.dry_run)


def _approve(desk: Desk, asked: Approve, actor: str, reason: str) -> dict[str, Any]:
    """The next `advance` goes on, if all is still well then. A yes to another step is refused."""
    outcome = desk.approve(
        attempt=asked.attempt, step=asked.step, actor=actor, reason=reason or _NO_REASON, dry_run=asked.dry_run
    )
    return _told(outcome, dry_run=asked.dry_run)


def _pause(desk: Desk, asked: Pause, actor: str, reason: str) -> dict[str, Any]:
    """A guardrail that fails still steps back."""
    outcome = desk.orders.pause(actor=actor, reason=reason or _NO_REASON, dry_run=asked.dry_run)
    return _told(outcome, dry_run=asked.dry_run)


def _resume(desk: Desk, asked: Resume, actor: str, reason: str) -> dict[str, Any]:
    """As a new attempt, on new evidence. Flags that were edited by hand are put back; an emergency ends."""
    outcome = desk.orders.resume(step=asked.step, actor=actor, reason=reason or _NO_REASON, dry_run=asked.dry_run)
    return _told(outcome, dry_run=asked.dry_run)


def _advance(desk: Desk, asked: Advance, actor: str, reason: str) -> dict[str, Any]:
    """One step up, down, or none. The gates are evaluated in a process of their own, which takes some seconds."""
    try:
        decided = desk.advance(limits=asked.limits, actor=actor, reason=reason, dry_run=asked.dry_run)
    except GatesError as error:
        raise RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, str(error)) from error
    report = None if decided.stored is None else decided.stored.report
    told = outcome_as_dict(decided.outcome, dry_run=asked.dry_run)
    if not asked.dry_run:
        tell(decided.outcome, report)
    return told | {"report": None if report is None else report.to_dict()}


def _rollback(desk: Desk, asked: Rollback, actor: str, reason: str) -> dict[str, Any]:
    """From every state, without a gate, and as often as you like. Nothing rises again without `resume`."""
    why, dry_run = reason or _NO_REASON, asked.dry_run
    if asked.part is not None:
        return _told(desk.orders.rollback_part(asked.part, actor=actor, reason=why, dry_run=dry_run), dry_run=dry_run)
    if asked.kind == "gradual":
        return _told(desk.orders.rollback_gradual(actor=actor, reason=why, dry_run=dry_run), dry_run=dry_run)
    if dry_run:
        return _told(desk.emergency_preview(actor=actor, reason=why), dry_run=True)
    reached = desk.orders.rollback_emergency(actor=actor, reason=why)
    tell_emergency(reached)
    return emergency_as_dict(reached)


def _told(outcome: Outcome, *, dry_run: bool) -> dict[str, Any]:
    tell(outcome)
    return outcome_as_dict(outcome, dry_run=dry_run)


def _body_of(model: type[BaseModel]) -> dict[str, Any]:
    return {"requestBody": {"required": False, "content": {"application/json": {"schema": model.model_json_schema()}}}}

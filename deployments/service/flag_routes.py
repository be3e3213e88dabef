"""`/admin/feature-flags`: what the flags are, how they came to be so, and changing them."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Query, Request
from fastapi.concurrency import run_in_threadpool

from core.adapters.raw_record import printable
from core.errors import FlagError
from core.fallbacks import FlagView, RedoFallbackManager
from core.flags import DEFINITIONS, parse_flag
from core.state import Change as StoredChange
from deployments.cli.flags import flags_as_dict
from deployments.service.access import Access
from deployments.service.json_body import json_object
from deployments.service.refusals import RefusedError
from deployments.service.schemas import Change, Difference, Flag, FlagsAnswer, FlagsChanged, FlagsInForce, Problem

_HEADER_CHARS: Final = 200
_MESSAGE_CHARS: Final = 300
_NAME_CHARS: Final = 100

PROTECTED: Final[dict[int | str, dict[str, Any]]] = {
    401: {"model": Problem, "description": "REDO_ADMIN_TOKEN is set, and the bearer token is missing or wrong."},
    403: {"model": Problem, "description": "Asked by a page of another site or, without a token, from elsewhere."},
}
_BODY: Final = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "additionalProperties": False,
                    "minProperties": 1,
                    "properties": {
                        name: {"description": flag.description, "default": flag.default}
                        | (
                            {"type": "boolean"}
                            if isinstance(flag.default, bool)
                            else {"type": "number", "minimum": 0, "maximum": 100, "multipleOf": 0.001}
                        )
                        for name, flag in DEFINITIONS.items()
                    },
                },
                "example": {"orchestrator.redo_enabled": True, "rollout_percentage": 10},
            }
        },
    }
}


def flag_routes(manager: RedoFallbackManager, access: Access) -> APIRouter:
    """The endpoints."""
    router = APIRouter(tags=["flags"], dependencies=[Depends(access.check)], responses=PROTECTED)

    @router.get("/admin/feature-flags", summary="The flags in force and their history")
    def read(
        limit: Annotated[int, Query(ge=0, le=1000, description="How many changes of the history are shown.")] = 20,
    ) -> FlagsAnswer:
        """Every flag with its value in force and where that comes from, and the newest changes."""
        now = _in_force(manager)
        history = [_change(change) for change in manager.flags.history(limit)]
        return FlagsAnswer(**dict(now), history=history)

    @router.post(
        "/admin/feature-flags",
        summary="Change flags for everybody, all or none",
        openapi_extra=_BODY,
        responses={
            400: {"model": Problem, "description": "No JSON object, a key twice, or too deep."},
            413: {"model": Problem, "description": "Over 64 KiB."},
            422: {"model": Problem, "description": "No such flag, or a value that it cannot take; nothing changed."},
            503: {"model": Problem, "description": "The shared state does not answer."},
        },
    )
    async def change(request: Request) -> FlagsChanged:
        """Set flags by name, in one step that every process sees whole.

        The body is read as JSON whatever its content type says. `X-Redo-Actor` and `X-Redo-Reason` go into the history.
        """
        values = await json_object(request)
        _check(values)
        actor, reason = caller_of(request)
        return await run_in_threadpool(_set, manager, values, actor=actor, reason=reason)

    return router


def flags_of(view: FlagView) -> dict[str, Flag]:
    """Each flag as it is in force for everybody."""
    return {name: Flag.model_validate(record) for name, record in flags_as_dict(view)["flags"].items()}


def _in_force(manager: RedoFallbackManager) -> FlagsInForce:
    health = manager.get_health_status()  # reads the shared state
    view = manager.flag_view()
    return FlagsInForce.model_validate(
        {
            "flags": flags_of(view),
            "kill_switches": list(view.killed),
            "redo_active": health["redo_active"],
            "reason": health["reason"],
            "stale_because": health["stale_because"],
        }
    )


def _check(values: Mapping[str, object]) -> None:
    """Look at every field before anything is changed, so that one answer names all that is wrong."""
    if not values:
        raise RefusedError(HTTPStatus.UNPROCESSABLE_ENTITY, f"no flag is named; there are {', '.join(DEFINITIONS)}")
    wrong = {}
    for name, value in values.items():
        try:
            parse_flag(name, value)
        except FlagError as error:
            wrong[printable(name, _NAME_CHARS)] = printable(str(error), _MESSAGE_CHARS)
    if wrong:
        raise RefusedError(HTTPStatus.UNPROCESSABLE_ENTITY, "nothing was changed", fields=wrong)


def _set(manager: RedoFallbackManager, values: Mapping[str, object], *, actor: str, reason: str | None) -> FlagsChanged:
    manager.refresh()
    before = manager.flag_view().flags.as_dict()
    manager.flags.set(values, actor=actor, reason=reason)
    now = _in_force(manager)
    changes = {name: Difference(before=before[name], after=now.flags[name].value) for name in values}
    return FlagsChanged(**dict(now), changes=changes, actor=actor)


def caller_of(request: Request) -> tuple[str, str | None]:
    """Who asks, and why, by `X-Redo-Actor` and `X-Redo-Reason`; else the caller's address, and nothing."""
    actor = _header(request, "x-redo-actor") or f"http:{request.client.host if request.client else 'unknown'}"
    return actor, _header(request, "x-redo-reason")


def _header(request: Request, name: str) -> str | None:
    """A header in one line of bounded length that is safe to print; nothing where it says nothing."""
    raw = request.headers.get(name, "").encode("latin-1")
    return printable(raw.decode(errors="replace"), _HEADER_CHARS).strip() or None


def _change(change: StoredChange) -> Change:
    before, after = change.before or {}, change.after
    names = [name for name in sorted(before.keys() | after.keys()) if before.get(name) != after.get(name)]
    return Change(
        version=change.version,
        time=change.time,
        actor=change.actor,
        reason=change.reason,
        changed={name: Difference(before=before.get(name), after=after.get(name)) for name in names},
    )

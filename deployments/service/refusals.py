"""What a request is answered with where it cannot be served: one shape for every error."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from core.errors import RedoError, StateConflict, StoreError

_LOG: Final = logging.getLogger("redo.service")


class RefusedError(RedoError):
    """A request cannot be served.

    Attributes:
        status: the status of the answer.
        message: what is wrong and what was expected.
        fields: what is wrong with each field that is to blame, by its name.
        headers: headers of the answer.
    """

    def __init__(
        self,
        status: HTTPStatus,
        message: str,
        *,
        fields: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(status, message)
        self.status = status
        self.message = message
        self.fields = dict(fields or {})
        self.headers = dict(headers or {})

    def __str__(self) -> str:
        return self.message


def install(app: FastAPI) -> None:
    """Give every error of the application the same shape: `{"error": ..., "fields": {name: ...}}`."""

    @app.exception_handler(RefusedError)
    def refused(_: Request, error: RefusedError) -> JSONResponse:
        return _answer(error.status, error.message, error.fields, error.headers)

    @app.exception_handler(RequestValidationError)
    def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        fields = {str(found["loc"][-1]): str(found["msg"]) for found in error.errors()}
        return _answer(HTTPStatus.UNPROCESSABLE_ENTITY, "the request cannot be used", fields)

    @app.exception_handler(HTTPException)
    def no_such_thing(_: Request, error: HTTPException) -> JSONResponse:
        return _answer(error.status_code, str(error.detail), headers=error.headers)

    @app.exception_handler(StoreError)
    @app.exception_handler(StateConflict)
    def store_failed(request: Request, error: RedoError) -> JSONResponse:
        _LOG.warning("%s %s: %s", request.method, request.url.path, error)
        message = "the shared state does not answer; as far as it can be told, nothing was changed. Try again"
        return _answer(HTTPStatus.SERVICE_UNAVAILABLE, message)


def _answer(
    status: int, message: str, fields: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    content: dict[str, object] = {"error": message}
    if fields:
        content["fields"] = dict(fields)
    return JSONResponse(content, status, headers)

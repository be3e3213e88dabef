"""The body of a request as a JSON object, within bounds, whatever its content type says.

The rollout guide's curl lines send JSON as a form, because `curl -d` does. What could be read in two ways is refused:
one key twice, numbers that JSON does not have, bytes that are no UTF-8.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Final, NoReturn

from fastapi import Request

from core.adapters.raw_record import printable
from core.records import json_type
from deployments.service.refusals import RefusedError

MAX_BODY_BYTES: Final = 64 * 1024
MAX_DEPTH: Final = 16
_SHOWN_CHARS: Final = 100


class _TwiceError(ValueError):
    """An object has one key twice."""


async def json_object(request: Request) -> dict[str, object]:
    """Read the body of a request.

    Raises:
        RefusedError: 413 where it is over 64 KiB; 400 where it is no JSON object, has a key twice, or is nested deeper
            than 16 levels.
    """
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > MAX_BODY_BYTES:
            raise RefusedError(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body is over {MAX_BODY_BYTES // 1024} KiB, expected less"
            )
    return parse_object(bytes(body))


def parse_object(body: bytes) -> dict[str, object]:
    """Parse a JSON object. Raises RefusedError as `json_object` does."""
    try:
        value = json.loads(body.decode(), object_pairs_hook=_pairs, parse_constant=_no_constant)
    except _TwiceError as error:
        key = printable(str(error), _SHOWN_CHARS)
        raise RefusedError(
            HTTPStatus.BAD_REQUEST, "the body has a key twice, expected once", fields={key: "twice"}
        ) from None
    except RecursionError:
        raise _too_deep() from None
    except ValueError as error:  # bad JSON, bad UTF-8, a number with too many digits
        raise RefusedError(HTTPStatus.BAD_REQUEST, f"the body is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise RefusedError(HTTPStatus.BAD_REQUEST, f"the body is {json_type(value)}, expected an object")
    _check_depth(value)
    return value


def _pairs(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found: dict[str, object] = {}
    for key, value in pairs:
        if key in found:
            raise _TwiceError(key)
        found[key] = value
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def _check_depth(value: object) -> None:
    """Level by level, because a body of brackets alone would exhaust the stack."""
    level: list[object] = [value]
    for _ in range(MAX_DEPTH):
        level = [inner for outer in level for inner in _contents(outer)]
        if not level:
            return
    if any(isinstance(inner, dict | list) for inner in level):
        raise _too_deep()


def _contents(value: object) -> Iterable[object]:
    if isinstance(value, Mapping):
        return value.values()
    return value if isinstance(value, list) else ()


def _too_deep() -> RefusedError:
    return RefusedError(HTTPStatus.BAD_REQUEST, f"the body is nested deeper than {MAX_DEPTH} levels")

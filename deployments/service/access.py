"""Who may change flags and read what the service knows about itself.

With a token, whoever has it. Without one, whoever is on this machine and asks for it by its own name: a page of another
site cannot, neither directly nor by a name of its own that leads here (DNS rebinding), and nobody can through a proxy.
"""

from __future__ import annotations

import hmac
import ipaddress
from http import HTTPStatus
from typing import Annotated, Final
from urllib.parse import urlsplit

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from deployments.service.refusals import RefusedError

_BEARER: Final = HTTPBearer(auto_error=False, description="REDO_ADMIN_TOKEN, where one is set.")
_OWN_PAGES: Final = frozenset({"same-origin", "none"})  # `none`: typed into the address bar
_SIGNS_OF_A_PROXY: Final = ("forwarded", "x-forwarded-for", "x-real-ip")


class Access:
    """The check that protected endpoints depend on.

    Args:
        token: the secret; `None` or empty where none is set.
    """

    def __init__(self, token: str | None) -> None:
        self._token = token.encode() if token else None

    @property
    def needs_token(self) -> bool:
        """Whether a token is set."""
        return self._token is not None

    def check(
        self,
        request: Request,
        credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)] = None,
    ) -> None:
        """Let the request pass.

        Raises:
            RefusedError: 401 where the token is missing or wrong; 403 where a page of another site asks, or, without a
                token, somebody who is not on this machine.
        """
        _refuse_other_sites(request)
        if self._token is None:
            _refuse_other_machines(request)
            return
        given = b"" if credentials is None else credentials.credentials.encode("latin-1", "replace")
        if not hmac.compare_digest(given, self._token):
            raise RefusedError(
                HTTPStatus.UNAUTHORIZED,
                "expected the header `Authorization: Bearer TOKEN` with REDO_ADMIN_TOKEN",
                headers={"WWW-Authenticate": "Bearer"},
            )


def _refuse_other_sites(request: Request) -> None:
    headers = request.headers
    origin = headers.get("origin")
    is_ours = origin is None or _place(origin) == headers.get("host", "").lower()
    if headers.get("sec-fetch-site", "none") not in _OWN_PAGES or not is_ours:
        raise RefusedError(HTTPStatus.FORBIDDEN, "a page of another site may not ask this")


def _refuse_other_machines(request: Request) -> None:
    why = None
    if not _is_loopback(request.client.host if request.client else ""):
        why = "it came from another machine"
    elif any(name in request.headers for name in _SIGNS_OF_A_PROXY):
        why = "it came through a proxy"
    elif not _is_own_name(_host_name(request)):
        why = "its Host header names neither localhost nor a loopback address"
    if why is not None:
        raise RefusedError(
            HTTPStatus.FORBIDDEN, f"{why}; without REDO_ADMIN_TOKEN this is answered on the loopback interface only"
        )


def _place(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return None


def _host_name(request: Request) -> str:
    try:
        return urlsplit(f"//{request.headers.get('host', '')}").hostname or ""
    except ValueError:
        return ""


def _is_own_name(host: str) -> bool:
    return host == "localhost" or _is_loopback(host)


def _is_loopback(address: str) -> bool:
    try:
        known = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = known.ipv4_mapped if isinstance(known, ipaddress.IPv6Address) else None
    return (mapped or known).is_loopback

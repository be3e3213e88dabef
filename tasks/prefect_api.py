"""Block documents over Prefect's HTTP API, each call within a time limit.

Prefect's client waits up to a minute for an answer, tries again up to five times, and after a 503 it sleeps for as long
as the server says. On the way of a query that is a hang. So this client sends its requests through a transport of its
own, which gives up when the caller's time is over. The errors that it raises are none that Prefect's client retries.

Calls are plain blocking HTTP: no event loop is needed or touched, so they work in threads, in sync and async flows and
tasks. Nothing of a flow's own client or context is used.
"""

from __future__ import annotations

import os
import ssl
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final
from uuid import UUID

import certifi
import httpx
from prefect.blocks.core import Block
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import (
    BlockDocumentCreate,
    BlockDocumentUpdate,
    BlockSchemaCreate,
    BlockTypeCreate,
)
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.settings import (
    PREFECT_API_AUTH_STRING,
    PREFECT_API_KEY,
    PREFECT_API_SSL_CERT_FILE,
    PREFECT_API_TLS_INSECURE_SKIP_VERIFY,
    PREFECT_API_URL,
)

from core.clock import SystemClock
from core.errors import StoreError, TransientStoreError

_CLOCK: Final = SystemClock()  # a network takes real time, whatever a test's clock says

# Answers after which the same request may do better at once: SQLite was busy, a proxy had no server. The pauses before
# the next attempts, in seconds, are short against any time limit.
_BUSY: Final = frozenset(
    {
        HTTPStatus.REQUEST_TIMEOUT,
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.BAD_GATEWAY,
        HTTPStatus.SERVICE_UNAVAILABLE,
        HTTPStatus.GATEWAY_TIMEOUT,
    }
)
_PAUSES_S: Final = (0.02, 0.1, 0.3)
# Prefect's server closes a connection that was idle for 5 s.
_KEEP_ALIVE_S: Final = 4.0


@dataclass(frozen=True, slots=True)
class Document:
    """A stored block.

    Attributes:
        document_id: its id.
        name: its name.
        data: its fields.
        updated: when it was last written, by the server's clock: another text after every write.
    """

    document_id: UUID
    name: str
    data: Mapping[str, Any]
    updated: str


class BlockApi:
    """Creates, finds, replaces and deletes block documents. Threads may share one; a forked process gets its own.

    Every method must be called inside `within`. All raise TransientStoreError where a later attempt may succeed (no
    connection, no answer in time, 5xx) and StoreError where it will not.

    Args:
        url: address of the API; without one, that of Prefect's settings.

    Raises:
        StoreError: no address is known. Prefect would start a server of its own; nobody else would see its blocks.
    """

    def __init__(self, url: str | None = None) -> None:
        found = url or PREFECT_API_URL.value()
        if not found:
            raise StoreError("Prefect API: no address; set PREFECT_API_URL")
        self._url = found
        self._auth_string = PREFECT_API_AUTH_STRING.value()
        self._key = PREFECT_API_KEY.value()
        self._lock = threading.Lock()
        self._transport = _Transport(httpx.URL(found))
        self._client: SyncPrefectClient | None = None
        self._process_id = -1
        self._registered: dict[type[Block], tuple[UUID, UUID]] = {}

    def close(self) -> None:
        """Close the connections. The next call opens new ones."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.__exit__(None, None, None)

    @contextmanager
    def within(self, limit_s: float) -> Iterator[None]:
        """Give all calls of the block together so many seconds."""
        with self._transport.within(limit_s):
            yield

    def read(self, kind: type[Block], name: str) -> Document | None:
        """Return the block of this type and name, `None` where there is none."""
        with self._translated():
            try:
                response = self._connected().request(
                    "GET",
                    "/block_types/slug/{slug}/block_documents/name/{block_document_name}",
                    path_params={"slug": kind.get_block_type_slug(), "block_document_name": name},
                )
            except httpx.HTTPStatusError as error:
                if error.response.status_code == HTTPStatus.NOT_FOUND:
                    return None
                raise
            return _document(response.json())

    def find(
        self, kinds: tuple[type[Block], ...], part: str, *, also: UUID | None = None, limit: int, offset: int = 0
    ) -> list[Document]:
        """Return blocks of these types whose name contains `part`, and the one of the id `also`; last name first."""
        with self._translated():
            response = self._connected().request(
                "POST",
                "/block_documents/filter",
                json={
                    "block_documents": {
                        "operator": "or_",
                        "name": {"like_": part},
                        "id": None if also is None else {"any_": [str(also)]},
                        "is_anonymous": None,
                    },
                    "block_types": {"slug": {"any_": [kind.get_block_type_slug() for kind in kinds]}},
                    "sort": "NAME_DESC",
                    "limit": limit,
                    "offset": offset,
                },
            )
            return [_document(found) for found in response.json()]

    def create(self, kind: type[Block], name: str, data: Mapping[str, object], *, listed: bool) -> bool:
        """Create a block if there is none of this type and name; false where there is.

        It is what `Block.save(name, overwrite=False)` asks of the server: one insert under a unique index.

        Args:
            kind: its type, which is registered if need be.
            name: its name.
            data: its fields, which JSON must be able to hold.
            listed: whether the UI's list shows it. Prefect calls a block that it does not show anonymous.
        """
        with self._translated():
            block_type_id, block_schema_id = self._ids(kind)
            try:
                self._connected().create_block_document(
                    BlockDocumentCreate(
                        name=name,
                        data=dict(data),
                        block_type_id=block_type_id,
                        block_schema_id=block_schema_id,
                        is_anonymous=not listed,
                    )
                )
            except ObjectAlreadyExists:
                return False
            return True

    def replace(self, kind: type[Block], document_id: UUID, data: Mapping[str, object]) -> None:
        """Give a block these fields and no others. Nothing happens where it has been deleted."""
        with self._translated():
            _, block_schema_id = self._ids(kind)
            with suppress(ObjectNotFound):
                self._connected().update_block_document(
                    document_id,
                    BlockDocumentUpdate(data=dict(data), block_schema_id=block_schema_id, merge_existing_data=False),
                )

    def delete(self, document_id: UUID) -> None:
        """Delete a block, or find it deleted."""
        with self._translated(), suppress(ObjectNotFound):
            self._connected().delete_block_document(document_id)

    def forget_types(self) -> None:
        """Register the types again before the next write: somebody may have deleted one, or emptied the database."""
        self._registered = {}

    def _ids(self, kind: type[Block]) -> tuple[UUID, UUID]:
        """Ids of the type and of its present schema. `Block.register_type_and_schema` does the same without limit."""
        known = self._registered.get(kind)
        if known is not None:
            return known
        client = self._connected()
        slug = kind.get_block_type_slug()
        try:
            block_type_id = client.read_block_type_by_slug(slug).id
        except ObjectNotFound:
            wanted = BlockTypeCreate(
                name=kind.get_block_type_name(),
                slug=slug,
                description=kind.get_description(),
                code_example=kind.get_code_example(),
            )
            with suppress(ObjectAlreadyExists):  # another process was faster
                client.create_block_type(wanted)
            block_type_id = client.read_block_type_by_slug(slug).id
        schema = client.create_block_schema(  # returns the one that exists
            BlockSchemaCreate(
                fields=kind.model_json_schema(),
                block_type_id=block_type_id,
                capabilities=sorted(kind.get_block_capabilities()),
                version=kind.get_block_schema_version(),
            )
        )
        ids = block_type_id, schema.id
        self._registered = {**self._registered, kind: ids}
        return ids

    def _connected(self) -> SyncPrefectClient:
        with self._lock:
            if self._client is None or self._process_id != os.getpid():
                self._transport.open()
                self._client = SyncPrefectClient(
                    self._url,
                    auth_string=self._auth_string,
                    api_key=self._key,
                    httpx_settings={"transport": self._transport},
                ).__enter__()
                self._process_id = os.getpid()
            return self._client

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except StoreError:
            self.forget_types()
            raise
        except httpx.HTTPStatusError as error:
            self.forget_types()
            kind = TransientStoreError if error.response.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR else StoreError
            raise kind(f"Prefect API {self._transport.place}: {_told(error.response)}") from error
        except (httpx.HTTPError, httpx.InvalidURL, ObjectNotFound, ObjectAlreadyExists, ValueError, KeyError) as error:
            # ValueError: the answer is no JSON, or none that this version of Prefect gives.
            self.forget_types()
            raise StoreError(f"Prefect API {self._transport.place}: {type(error).__name__}: {error}") from error


class _Transport(httpx.BaseTransport):
    """Sends requests until an answer comes or the calling thread's time is over."""

    def __init__(self, url: httpx.URL) -> None:
        self.place = f"{url.scheme}://{url.netloc.decode()}{url.path}"  # without user name and password
        self._url = url
        self._thread = threading.local()
        self._inner: httpx.HTTPTransport | None = None

    def open(self) -> None:
        """Get ready, with no connection yet. As Prefect's client and httpx would: same certificates, same proxy."""
        scheme, host = self._url.scheme, self._url.host
        proxy = None if urllib.request.proxy_bypass(host) else urllib.request.getproxies().get(scheme)
        if proxy and "://" not in proxy:
            proxy = f"http://{proxy}"
        context: ssl.SSLContext | bool = False
        if scheme == "https":
            context = ssl.create_default_context(cafile=PREFECT_API_SSL_CERT_FILE.value() or certifi.where())
            if PREFECT_API_TLS_INSECURE_SKIP_VERIFY.value():
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
        self._inner = httpx.HTTPTransport(
            verify=context, proxy=proxy, limits=httpx.Limits(keepalive_expiry=_KEEP_ALIVE_S), trust_env=False
        )

    @contextmanager
    def within(self, limit_s: float) -> Iterator[None]:
        """Give the requests of this thread so many seconds."""
        before = getattr(self._thread, "ends_at", None)
        self._thread.ends_at = _CLOCK.now() + limit_s
        try:
            yield
        finally:
            self._thread.ends_at = before

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request. Raises TransientStoreError where no answer comes that is worth reading."""
        told = "no time left"
        for pause_s in (*_PAUSES_S, None):
            try:
                response = self._answer(request)
            except (httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError) as error:
                told = f"connection lost: {error}"  # often one that the server closed as idle
            except httpx.TransportError as error:
                raise self._failure(str(error) or type(error).__name__) from error
            else:
                maintenance = response.headers.get("Prefect-Maintenance") == "true"
                if response.status_code not in _BUSY and not maintenance:
                    return response
                told = _told(response)
            if pause_s is None or self._remaining_s() <= pause_s:
                break
            time.sleep(pause_s)
        raise self._failure(told)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        if self._inner is None:
            raise self._failure("closed")
        request.extensions["timeout"] = dict.fromkeys(("connect", "read", "write", "pool"), self._remaining_s())
        response = self._inner.handle_request(request)
        try:
            body = bytearray()
            for part in response.iter_raw():  # each read has the timeout anew, so a trickle needs this check
                body += part
                self._remaining_s()
        finally:
            response.close()
        return httpx.Response(response.status_code, headers=response.headers, content=bytes(body))

    def _remaining_s(self) -> float:
        remaining_s: float = self._thread.ends_at - _CLOCK.now()
        if remaining_s <= 0:
            raise self._failure("no answer in time")
        return remaining_s

    def _failure(self, told: str) -> TransientStoreError:
        return TransientStoreError(f"Prefect API {self.place}: {told}")

    def close(self) -> None:
        """Close all connections."""
        inner, self._inner = self._inner, None
        if inner is not None:
            inner.close()


def _document(found: Mapping[str, Any]) -> Document:
    return Document(UUID(found["id"]), found["name"], found["data"], found["updated"])


def _told(response: httpx.Response) -> str:
    """The status and, where the answer gives one, the reason."""
    detail: object = None
    with suppress(ValueError, AttributeError):
        detail = response.json().get("detail")
    return f"HTTP {response.status_code}" + (f": {detail}" if detail else "")

"""How long the Prefect block store waits, and what it says, when the API is down, slow, busy or none at all."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from typing import TypeAlias

import pytest

from core.adapters.manual_clock import ManualClock
from core.errors import StoreError, TransientStoreError
from tasks.blocks import PrefectStateStore

LIMIT_S = 0.5
SLACK_S = 4.0  # what a loaded machine may add

Behaviour: TypeAlias = Callable[[BaseHTTPRequestHandler, int], None]
Served: TypeAlias = Callable[..., PrefectStateStore]


def answering(status: int, body: str = "[]", **headers: str) -> Behaviour:
    """Answer every request so."""

    def answer(request: BaseHTTPRequestHandler, _: int) -> None:
        request.send_response(status)
        request.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            request.send_header(name.replace("_", "-"), value)
        request.end_headers()
        request.wfile.write(body.encode())

    return answer


def nothing(request: BaseHTTPRequestHandler, _: int) -> None:
    """Close the connection without an answer."""
    request.close_connection = True


def first(behaviour: Behaviour, then: Behaviour) -> Behaviour:
    """Behave differently for the first request."""
    return lambda request, number: (then if number else behaviour)(request, number)


@pytest.fixture
def served() -> Iterator[Served]:
    """Starts a server that behaves as told, except that no block has the name that is asked for, and opens a store."""
    ended = []

    def serve(behaviour: Behaviour, *, limit_s: float = LIMIT_S) -> PrefectStateStore:
        numbers = count()

        class Handler(BaseHTTPRequestHandler):
            """Knows no block; POST is what looks for values."""

            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                """Find nothing. The name is what http.server looks for."""
                answering(422 if "csrf" in self.path else 404, '{"detail": "CSRF protection is disabled."}')(self, 0)

            def do_POST(self) -> None:
                """Behave as told."""
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                behaviour(self, next(numbers))

            def log_message(self, *_: object) -> None:
                """Print nothing."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        store = _store(f"http://127.0.0.1:{server.server_port}/api", limit_s)
        ended.append((store, server, thread))
        return store

    yield serve
    for store, server, thread in ended:
        store.close()
        server.shutdown()
        server.server_close()
        thread.join()


def _store(url: str, limit_s: float = LIMIT_S) -> PrefectStateStore:
    """A store with a short time limit."""
    return PrefectStateStore(clock=ManualClock(), api_url=url, time_limit_s=limit_s)


def _failure(store: PrefectStateStore) -> StoreError:
    """What a load raises. It must come in time."""
    began_at = time.perf_counter()
    with pytest.raises(StoreError) as caught:
        store.load("flags")
    assert time.perf_counter() - began_at < LIMIT_S + SLACK_S
    return caught.value


def test_refused_connection_is_transient_and_known_at_once() -> None:
    """No attempt is repeated; the message has the address without the password in it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    store = _store(f"http://ann:secret@127.0.0.1:{port}/api")
    error = _failure(store)
    assert isinstance(error, TransientStoreError)
    assert str(error).startswith(f"Prefect API http://127.0.0.1:{port}/api: ")
    assert str(error).endswith("Connection refused")
    store.close()


def test_server_that_never_answers_is_transient_in_time() -> None:
    """A connection that is accepted, and then nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        store = _store(f"http://127.0.0.1:{listener.getsockname()[1]}/api")
        assert isinstance(_failure(store), TransientStoreError)
        store.close()


def test_server_that_answers_drop_by_drop_is_transient_in_time(served: Served) -> None:
    """Each byte comes soon; the answer never does."""
    gone = threading.Event()

    def drip(request: BaseHTTPRequestHandler, _: int) -> None:
        request.send_response(200)
        request.send_header("Content-Length", "1000000")
        request.end_headers()
        while not gone.wait(0.02):
            try:
                request.wfile.write(b" ")
            except OSError:
                return

    try:
        error = _failure(served(drip))
    finally:
        gone.set()
    assert isinstance(error, TransientStoreError)
    assert "no answer in time" in str(error)


@pytest.mark.parametrize(
    ("behaviour", "told"),
    [
        (answering(503, '{"detail": "busy"}', Retry_After="3600"), "HTTP 503: busy"),
        (answering(200, Prefect_Maintenance="true"), "HTTP 200"),
        (answering(429, "<html>"), "HTTP 429"),
        (answering(500, '{"detail": "broken"}'), "HTTP 500"),
        (nothing, "connection lost"),
    ],
    ids=["503", "maintenance", "429", "500", "connection closed"],
)
def test_server_that_is_in_trouble_is_transient_in_time(served: Served, behaviour: Behaviour, told: str) -> None:
    """Whatever the server asks for, nobody waits an hour for it."""
    error = _failure(served(behaviour, limit_s=SLACK_S))  # a loaded machine may take long to answer at all
    assert isinstance(error, TransientStoreError)
    assert told in str(error)


@pytest.mark.parametrize("behaviour", [answering(503, Retry_After="3600"), nothing], ids=["busy", "connection closed"])
def test_short_trouble_is_not_noticed(served: Served, behaviour: Behaviour) -> None:
    """The same request is sent again at once."""
    assert served(first(behaviour, then=answering(200))).load("flags") is None


@pytest.mark.parametrize(
    ("behaviour", "told"),
    [
        (answering(401, '{"detail": "Unauthorized"}'), "HTTP 401: Unauthorized"),
        (answering(404, "<html>"), "HTTP 404"),
        (answering(200, "<html>"), "JSONDecodeError"),
        (answering(200, '[{"name": "no block"}]'), "KeyError"),
    ],
    ids=["no rights", "no Prefect", "no JSON", "no block"],
)
def test_answer_that_no_later_attempt_changes_is_no_transient_error(
    served: Served, behaviour: Behaviour, told: str
) -> None:
    """Wrong rights, or something that is no Prefect API."""
    error = _failure(served(behaviour))
    assert not isinstance(error, TransientStoreError)
    assert told in str(error)


def test_history_too_short_for_edits_is_refused() -> None:
    """An edit is held against the change that it was made from, so one change is not enough."""
    with pytest.raises(ValueError, match="keep: 1 is less than 2"):
        PrefectStateStore(clock=ManualClock(), api_url="http://127.0.0.1:1/api", keep=1)

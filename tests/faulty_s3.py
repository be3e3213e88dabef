"""An S3 server (moto, over HTTP) that goes down, fails, is slow, or kills its client: as the test says, each time.

Whether a request fails is drawn from a seed, the request, and how often that request was made: the order in which
threads come decides nothing.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import secrets
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

_UNAVAILABLE = "503 Service Unavailable"
_SLOW_DOWN = (
    b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
)

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class Quiet(WSGIRequestHandler):
    """Keeps connections open, as S3 does, and writes no log."""

    protocol_version = "HTTP/1.1"

    def log(self, type: str, message: str, *args: object) -> None:  # noqa: A002 - werkzeug's name
        """Say nothing."""


@dataclass
class FaultyS3:
    """The server.

    Attributes:
        share: share of the requests that fail, 0 to 1: half of them before anything is done, half after it was done,
            so that only the answer is lost.
        delay_s: so long each request takes at least.
        seed: what failures are drawn from.
        kill: asked for each request, with the verb, the key and whether it was done already: true kills the process
            that `client` names, and the request is not answered.
        client: the process that may be killed.
        requests: how many requests of each verb came.
        failed: how many of them were failed.
    """

    share: float = 0.0
    delay_s: float = 0.0
    seed: int = 0
    kill: Callable[[str, str, bool], bool] = lambda _verb, _key, _done: False
    client: int | None = None
    requests: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    bucket: str = field(default_factory=lambda: f"bucket-{secrets.token_hex(6)}")

    def __post_init__(self) -> None:
        self._moto: Application = DomainDispatcherApplication(create_backend_app)
        self._seen: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._server: BaseWSGIServer | None = None
        self._port = 0
        self._never = threading.Event()

    @property
    def endpoint(self) -> str:
        """Its address; the same after it was down."""
        return f"http://127.0.0.1:{self._port}"

    def go_up(self) -> None:
        """Listen; what was stored before is there."""
        self._server = make_server("127.0.0.1", self._port, self._answer, threaded=True, request_handler=Quiet)
        self._port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def go_down(self) -> None:
        """Listen no more: whoever connects is refused."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def make_bucket(self) -> None:
        """Make the bucket."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        try:
            connection.request("PUT", f"/{self.bucket}")
            assert connection.getresponse().status == http.client.OK
        finally:
            connection.close()

    def _answer(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        verb, key = environ["REQUEST_METHOD"], environ["PATH_INFO"].removeprefix(f"/{self.bucket}").lstrip("/")
        fate = self._drawn(f"{verb} {environ['PATH_INFO']}?{environ['QUERY_STRING']}")
        if self.delay_s:
            self._never.wait(self.delay_s)
        self._maybe_kill(verb, key, done=False)
        if fate < self.share / 2:
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))  # else it is taken for the next request
            return self._unavailable(verb, start)
        answer: list[Any] = []
        body = list(self._moto(environ, lambda *words: answer.append(words)))
        self._maybe_kill(verb, key, done=True)
        if fate < self.share:
            return self._unavailable(verb, start)
        start(*answer[0])
        return body

    def _maybe_kill(self, verb: str, key: str, *, done: bool) -> None:
        if self.client is not None and self.kill(verb, key, done):
            os.kill(self.client, signal.SIGKILL)
            raise ConnectionAbortedError  # werkzeug closes the connection without a word

    def _drawn(self, request: str) -> float:
        """A number from 0 to 1 for this request, another each time that it is made."""
        with self._lock:
            self.requests[request.partition(" ")[0]] += 1
            self._seen[request] += 1
            again = self._seen[request]
        # The names of bucket and port differ from run to run.
        words = f"{self.seed} {request.replace(self.bucket, '')} {again}"
        return int.from_bytes(hashlib.sha256(words.encode()).digest()[:8]) / 2**64

    def _unavailable(self, verb: str, start: Callable[..., Any]) -> Iterable[bytes]:
        with self._lock:
            self.failed[verb] += 1
        start(_UNAVAILABLE, [("Content-Type", "application/xml"), ("Content-Length", str(len(_SLOW_DOWN)))])
        return [_SLOW_DOWN]


@contextmanager
def faulty_s3() -> Iterator[FaultyS3]:
    """A server with a bucket, without a fault yet, and the AWS_* variables set for it."""
    server = FaultyS3()
    server.go_up()
    server.make_bucket()
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT", "AWS_REGION", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
            patch.delenv(name, raising=False)
        patch.setenv("AWS_ACCESS_KEY_ID", "testing")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_ENDPOINT_URL", server.endpoint)
        try:
            yield server
        finally:
            server.go_down()

"""A stand-in for an OpenAI-compatible endpoint, on this machine: answers as a test tells it, and keeps what it got."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple


class Received(NamedTuple):
    """One request."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]


class Reply(NamedTuple):
    """What it answers: a status, bytes, and headers."""

    content: bytes
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()


def says(text: object) -> Reply:
    """A chat completion whose first choice has this text."""
    return Reply(json.dumps({"choices": [{"message": {"role": "assistant", "content": text}}]}).encode())


class JudgeServer:
    """Answers each request with `reply`, a `Reply` or a function of the request.

    Attributes:
        url: its base address.
        received: the requests, in order.
        reply: what it answers.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.received: list[Received] = []
        self.reply: Reply | Callable[[Received], Reply] = says('{"verdict": "unsure"}')
        self.lock = threading.Lock()

    def answer(self, request: Received) -> Reply:
        """Keep the request, and say what is answered."""
        with self.lock:
            self.received.append(request)
        return self.reply if isinstance(self.reply, Reply) else self.reply(request)


@contextmanager
def judge_server() -> Iterator[JudgeServer]:
    """Run one while the block runs."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            reply = judge.answer(Received(self.path, dict(self.headers), body))
            self.send_response(reply.status)
            for name, value in (("Content-Length", str(len(reply.content))), *reply.headers):
                self.send_header(name, value)
            with suppress(OSError):  # the client may have gone away: some tests make it do so
                self.end_headers()
                self.wfile.write(reply.content)

        def log_message(self, *_: object) -> None:
            """Nothing: tests read what was received."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    judge = JudgeServer(f"http://127.0.0.1:{server.server_address[1]}/v1")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield judge
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

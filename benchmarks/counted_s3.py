"""An S3 server (moto) in a process of its own that counts what it is asked.

    python benchmarks/counted_s3.py

prints its port, and then, for each line that it is sent, how many requests came since the last one, by verb. It ends
with its input. Moto keeps objects in memory, beyond 16 MB in a temporary file, and reads a whole object to answer with
a part of it: times over it say more about numbers of requests than about any real store.
"""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

_BUCKET = "benchmark"


class CountedS3:
    """The server, as the benchmark talks to it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.port = int(self._line())

    def uri(self, prefix: str) -> str:
        """A place in it."""
        return f"s3://{_BUCKET}/{prefix}"

    @property
    def environment(self) -> Mapping[str, str]:
        """The AWS_* variables for it."""
        return {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}",
            "AWS_ACCESS_KEY_ID": "benchmark",
            "AWS_SECRET_ACCESS_KEY": "benchmark",
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def counts(self) -> dict[str, int]:
        """Requests since the last call, by verb."""
        assert self._process.stdin is not None  # noqa: S101 - asked for below
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        found: dict[str, int] = json.loads(self._line())
        return found

    def _line(self) -> str:
        assert self._process.stdout is not None  # noqa: S101 - asked for below
        return self._process.stdout.readline()


@contextmanager
def counted_s3() -> Iterator[CountedS3]:
    """Start a server with a bucket, and point this process's AWS_* variables at it."""
    command = [sys.executable, __file__]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            server = CountedS3(process)
            os.environ.update(server.environment)
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
            connection.request("PUT", f"/{_BUCKET}")
            connection.getresponse().read()
            connection.close()
            server.counts()
            yield server
        finally:
            process.terminate()


def _serve() -> None:
    from moto.moto_server.werkzeug_app import (  # noqa: PLC0415 - seconds that only the server needs
        DomainDispatcherApplication,
        create_backend_app,
    )
    from werkzeug.serving import WSGIRequestHandler, make_server  # noqa: PLC0415 - as above

    class Quiet(WSGIRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = -1  # head and body of an answer leave together

        def log(self, type: str, message: str, *args: object) -> None:  # noqa: A002 - werkzeug's name
            pass

    moto, lock = DomainDispatcherApplication(create_backend_app), threading.Lock()
    counts: Counter[str] = Counter()

    def counted(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        verb = environ["REQUEST_METHOD"]
        with lock:
            counts["LIST" if verb == "GET" and "list-type" in environ["QUERY_STRING"] else verb] += 1
        answer: Iterable[bytes] = moto(environ, start)
        return answer

    server = make_server("127.0.0.1", 0, counted, threaded=True, request_handler=Quiet)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_port, flush=True)
    for _ in sys.stdin:
        with lock:
            print(json.dumps(counts), flush=True)
            counts.clear()


if __name__ == "__main__":
    _serve()

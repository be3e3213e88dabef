"""How long `POST /chat` takes while many ask at once: a real server process over the installed-docs corpus.

    python benchmarks/service.py [--requests 2000] [--clients 20]

Each client has one connection and asks its next question as soon as it has an answer. Clients and server share the
machine, so the times are those of a busy one. The goal is a 99th percentile of at most 500 ms with 20 clients on 2
cores, for both arms; the exit code says whether it was met without an error.
"""

from __future__ import annotations

import argparse
import http.client
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from http import HTTPStatus
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.machine import describe

_GOAL_MS = 500.0
_TIMEOUT_S = 30
_WARM_UP = 50
_ARMS: Mapping[str, Mapping[str, object]] = {
    "legacy": {"orchestrator.redo_enabled": False},
    "redo": {"orchestrator.redo_enabled": True, "rollout_percentage": 100},
}


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=2000, help="how many questions to ask of each arm")
    parser.add_argument("--clients", type=int, default=20, help="how many ask at once")
    arguments = parser.parse_args(argv)
    print(describe("redo", "fastapi", "starlette", "uvicorn", "pydantic", "bm25s", "numpy"), flush=True)
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(io.StringIO()) as told:
        from examples.installed_docs import main as build  # noqa: PLC0415 - it reads every installed package

        build([folder])
        questions = [json.loads(line) for line in (Path(folder) / "queries.jsonl").read_text().splitlines()]
        with _server(Path(folder)) as port:
            rows = {arm: _asked(arm, port, questions, arguments) for arm in _ARMS}
    print(f"corpus    {told.getvalue().strip().partition(': ')[2]}")
    print(f"load      {arguments.clients} clients, {arguments.requests:,} questions of each arm\n")
    print(f"{'arm':8} {'q/s':>6} {'p50':>7} {'p95':>7} {'p99':>7} {'max':>7} {'errors':>7}  decisions")
    for arm, row in rows.items():
        times = " ".join(f"{row.quantile(share):7.1f}" for share in (0.5, 0.95, 0.99, 1.0))
        decisions = ", ".join(f"{name} {count:,}" for name, count in row.decisions.items())
        print(f"{arm:8} {len(row.latencies_ms) / row.seconds:6.0f} {times} {row.errors:7,}  {decisions}")
    is_met = all(row.quantile(0.99) <= _GOAL_MS and row.errors == 0 for row in rows.values())
    print(f"\ngoal: p99 of at most {_GOAL_MS:.0f} ms and no error: {'met' if is_met else 'missed'}")
    return 0 if is_met else 1


class _Row(NamedTuple):
    """What was measured of one arm."""

    latencies_ms: Sequence[float]
    seconds: float
    errors: int
    decisions: Mapping[str, int]

    def quantile(self, share: float) -> float:
        """The latency, in milliseconds, that this share of the questions did not exceed."""
        return self.latencies_ms[min(len(self.latencies_ms) - 1, int(share * len(self.latencies_ms)))]


@contextmanager
def _server(folder: Path) -> Iterator[int]:
    """A service process of its own, on a port that is free."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("REDO_", "ORCHESTRAT", "PREFECT_"))
    }
    command = [sys.executable, "-m", "deployments.service", "--port", "0", "--passages", str(folder / "passages.jsonl")]
    environment = kept | {"REDO_HOME": str(folder / "home"), "PREFECT_API_URL": ""}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        try:
            assert process.stderr is not None  # noqa: S101 - asked for above
            found = next((m for line in process.stderr if (m := re.search(r"http://[^ ]*:(\d+)", line))), None)
            if found is None:
                raise RuntimeError("the service did not start")
            yield int(found[1])
        finally:
            process.terminate()


def _asked(arm: str, port: int, questions: Sequence[Mapping[str, Any]], arguments: argparse.Namespace) -> _Row:
    """Ask the questions of one arm, all clients at once."""
    _post(http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_S), "/admin/feature-flags", _ARMS[arm])
    bodies = [
        {"prompt": question["text"], "session_id": f"s-{number}", "debug": True}
        for number, question in enumerate(
            (questions * (arguments.requests // len(questions) + 1))[: arguments.requests]
        )
    ]
    _ask(port, bodies[:_WARM_UP], clients=arguments.clients)
    return _ask(port, bodies, clients=arguments.clients)


def _ask(port: int, bodies: Sequence[Mapping[str, object]], *, clients: int) -> _Row:
    left, lock = iter(bodies), threading.Lock()
    latencies_ms: list[float] = []
    decisions: Counter[str] = Counter()

    def client() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_S)
        while True:
            with lock:
                body = next(left, None)
            if body is None:
                return
            begun = time.perf_counter()
            try:
                decision = _post(connection, "/chat", body)["decision"]
            except (OSError, http.client.HTTPException, RuntimeError):
                decision = "error"
                connection.close()
            with lock:
                latencies_ms.append(1e3 * (time.perf_counter() - begun))
                decisions[decision] += 1

    threads = [threading.Thread(target=client) for _ in range(clients)]
    begun = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return _Row(sorted(latencies_ms), time.perf_counter() - begun, decisions.pop("error", 0), decisions)


def _post(connection: http.client.HTTPConnection, path: str, body: Mapping[str, object]) -> dict[str, Any]:
    connection.request("POST", path, json.dumps(body))
    answer = connection.getresponse()
    content = answer.read()
    if answer.status != HTTPStatus.OK:
        raise RuntimeError(f"{path}: {answer.status} {content[:200]!r}")
    decoded: dict[str, Any] = json.loads(content)
    return decoded


if __name__ == "__main__":
    raise SystemExit(main())

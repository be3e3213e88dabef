"""A Prefect server of its own, started as its users start it, and a run against it.

Versions that install together need not work together: a server that dies at its start is seen by no check of versions.
This test is what lets a dependency be raised.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.batch_samples import write_batch

pytestmark = [pytest.mark.server, pytest.mark.process]

BIN = Path(sys.executable).parent
LIMIT_S = 240.0
POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class Server:
    """Where it is, and what its process's environment is."""

    api_url: str
    variables: dict[str, str]


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def answers(url: str) -> bool:
    """Whether the server says that it is well."""
    try:
        return httpx.get(f"{url}/health", timeout=5).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """`prefect server start` on a free port, with a database of its own."""
    folder = tmp_path_factory.mktemp("server")
    port = free_port()
    url = f"http://127.0.0.1:{port}/api"
    variables = os.environ | {
        "PREFECT_HOME": str(folder),
        "PREFECT_SERVER_API_PORT": str(port),
        "PREFECT_API_URL": url,
        "PREFECT_UI_API_URL": url,
    }
    log = folder / "server.log"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [BIN / "prefect", "server", "start", "--host", "127.0.0.1"],
            stdout=stream,
            stderr=subprocess.STDOUT,
            env=variables,
        )
    try:
        give_up_at = time.monotonic() + LIMIT_S
        while not answers(url):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < give_up_at, log.read_text()
            time.sleep(POLL_S)
        yield Server(url, variables)
    finally:
        process.terminate()
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def test_a_run_is_seen_on_the_server(server: Server, redo_home: Path, tmp_path: Path) -> None:
    """`redo run` completes; the server has the run by the batch's id, its chunks, and its artifacts."""
    files = write_batch(tmp_path)
    command: list[str | Path] = [BIN / "redo", "run", "--queries", files.queries, "--passages", files.passages]
    process = subprocess.run(
        [*command, "--batch-id", "seen", "--shadow", "--chunk-size", "2", "--json"],
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT_S,
        env=server.variables | {"REDO_HOME": str(redo_home)},
    )
    assert process.stderr == ""
    assert process.returncode == 0
    assert json.loads(process.stdout)["ledger"]["rows"] == 5

    with httpx.Client(base_url=server.api_url) as client:
        (flow_run,) = client.post("/flow_runs/filter", json={}).raise_for_status().json()
        task_runs = client.post("/task_runs/filter", json={}).raise_for_status().json()
        artifacts = client.post("/artifacts/filter", json={}).raise_for_status().json()
    assert (flow_run["name"], flow_run["state_type"]) == ("seen", "COMPLETED")
    assert {run["state_type"] for run in task_runs} == {"COMPLETED"}
    names = sorted(run["name"] for run in task_runs if run["name"].startswith(("chunk-", "traces-")))
    assert names == [f"{what}-{number:05d}" for what in ("chunk", "traces") for number in range(3)]
    assert {artifact["key"] for artifact in artifacts} == {"redo-batch", "redo-latency", "redo-conflicts"}

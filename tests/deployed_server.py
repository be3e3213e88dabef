"""A Prefect server with our deployments and a worker, in processes of their own, for the tests of deployments."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

BIN = Path(sys.executable).parent
ROOT = Path(__file__).parents[1]
LIMIT_S = 240.0
POLL_S = 0.2


@dataclass(frozen=True, slots=True)
class Server:
    """A Prefect server: its API, and the environment of those who use it."""

    api: httpx.Client
    variables: Mapping[str, str]

    def deploy(self) -> dict[str, Any]:
        """What `redo deploy --json` prints."""
        command: list[str | Path] = [BIN / "redo", "deploy", "--file", ROOT / "prefect.yaml", "--json"]
        process = subprocess.run(
            command, env=self.variables, capture_output=True, text=True, check=False, timeout=LIMIT_S
        )
        assert process.returncode == 0, process.stdout + process.stderr
        report: dict[str, Any] = json.loads(process.stdout)
        return report

    def deployment(self, name: str) -> dict[str, Any]:
        """A deployment as the server has it."""
        found: dict[str, Any] = self.api.get(f"/deployments/name/{name}/{name}").raise_for_status().json()
        return found

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """The answer to a POST."""
        return self.api.post(path, json=body).raise_for_status().json()

    def run(self, name: str, **parameters: Any) -> httpx.Response:
        """Ask for a run of a deployment, as the run form does."""
        body = {"parameters": parameters, "state": {"type": "SCHEDULED"}}
        return self.api.post(f"/deployments/{self.deployment(name)['id']}/create_flow_run", json=body)

    def ended(self, run: httpx.Response) -> dict[str, Any]:
        """The run, once it has ended."""
        run_id = run.raise_for_status().json()["id"]
        found: dict[str, Any] = {}

        def is_over() -> bool:
            nonlocal found
            found = self.api.get(f"/flow_runs/{run_id}").raise_for_status().json()
            return found["state_type"] in {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}

        until(is_over)
        return found

    def program(self, text: str) -> str:
        """What a Python program prints that uses the same server."""
        process = subprocess.run(
            [sys.executable, "-c", text],
            env=self.variables,
            capture_output=True,
            text=True,
            check=True,
            timeout=LIMIT_S,
        )
        return process.stdout


class _Patient(httpx.HTTPTransport):
    """Asks again where the server says that it is busy: its database has one writer at a time."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        give_up_at = time.monotonic() + LIMIT_S
        while True:
            response = super().handle_request(request)
            if response.status_code != httpx.codes.SERVICE_UNAVAILABLE or time.monotonic() > give_up_at:
                return response
            response.close()
            time.sleep(POLL_S)


def until(holds: Callable[[], bool]) -> None:
    """Ask again and again, for a limited time."""
    give_up_at = time.monotonic() + LIMIT_S
    while not holds():
        assert time.monotonic() < give_up_at
        time.sleep(POLL_S)


@contextmanager
def running(command: list[str | Path], log: Path, variables: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A process, until the block ends."""
    with log.open("wb") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=subprocess.STDOUT, env=variables)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def deployed_server(folder: Path, **more: str) -> Iterator[Server]:
    """A server with a database of its own, with our deployments, whose schedules are off, and a worker.

    Args:
        folder: where all of it lies; `REDO_HOME` is `redo` in it.
        more: environment variables of all processes.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}/api"
    variables = os.environ | {
        "PREFECT_HOME": str(folder),
        "PREFECT_SERVER_API_PORT": str(port),
        "PREFECT_API_URL": url,
        "PREFECT_UI_API_URL": url,
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "REDO_HOME": str(folder / "redo"),
        **more,
    }
    prefect: list[str | Path] = [BIN / "prefect"]
    with (
        httpx.Client(base_url=url, timeout=30, transport=_Patient()) as api,
        running([*prefect, "server", "start", "--host", "127.0.0.1"], folder / "server.log", variables) as process,
    ):

        def answers() -> bool:
            assert process.poll() is None, (folder / "server.log").read_text()
            try:
                return api.get("/health").status_code == httpx.codes.OK
            except httpx.TransportError:
                return False

        until(answers)
        found = Server(api, variables)
        first = found.deploy()
        assert all(item["is_new"] for item in first["deployments"])
        assert set(first["automations"].values()) == {"created"}
        for item in first["deployments"]:  # nothing runs but what a test asks for
            for schedule in found.deployment(item["name"])["schedules"]:
                api.patch(
                    f"/deployments/{found.deployment(item['name'])['id']}/schedules/{schedule['id']}",
                    json={"active": False},
                ).raise_for_status()
        with running([*prefect, "worker", "start", "--pool", "redo"], folder / "worker.log", variables):
            yield found

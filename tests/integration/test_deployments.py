"""The deployments on a real Prefect server, with a worker: deployed twice, toggled in between, run, refused."""

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
import pytest

pytestmark = [pytest.mark.server, pytest.mark.process]

BIN = Path(sys.executable).parent
ROOT = Path(__file__).parents[2]
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


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with a database of its own, with our deployments, and a worker."""
    folder = tmp_path_factory.mktemp("deployments")
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
    }
    prefect: list[str | Path] = [BIN / "prefect"]
    with (
        httpx.Client(base_url=url, timeout=30) as api,
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


def test_toggles_outlive_a_deployment(server: Server) -> None:
    """A schedule that was switched off stays off, a deployment that was paused stays paused. Nothing is made twice."""
    health, batch = server.deployment("check-health"), server.deployment("run-batch")
    assert [schedule["active"] for schedule in health["schedules"]] == [False]
    server.api.post(f"/deployments/{batch['id']}/pause_deployment").raise_for_status()
    automations = server.post("/automations/filter", {})
    server.api.patch(f"/automations/{automations[0]['id']}", json={"enabled": False}).raise_for_status()

    again = server.deploy()

    assert not any(item["is_new"] for item in again["deployments"])
    assert set(again["automations"].values()) == {"unchanged"}
    after = server.deployment("check-health")
    assert [(schedule["id"], schedule["active"]) for schedule in after["schedules"]] == [
        (health["schedules"][0]["id"], False)
    ]
    assert server.deployment("run-batch")["paused"] is True
    assert [item["enabled"] for item in server.post("/automations/filter", {})].count(False) == 1
    assert len(server.post("/automations/filter", {})) == len(automations)


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("set-flags", {"redo_enabled": "maybe", "why": "test"}, "'maybe' is not one of"),
        ("set-flags", {"rollout_percentage": 101, "why": "test"}, "101 is greater than the maximum of 100"),
        ("set-flags", {"redo_enabled": "on"}, "why"),
        ("run-batch", {"queries": "q.jsonl", "chunk_size": 501}, "501"),
        ("failure-drill", {"scenarios": ["nonsense"]}, "nonsense"),
    ],
)
def test_the_server_refuses(server: Server, name: str, parameters: dict[str, Any], message: str) -> None:
    """What a parameter cannot be is refused before a run exists, with a message for who filled in the form."""
    answer = server.run(name, **parameters)
    assert answer.status_code in {httpx.codes.CONFLICT, httpx.codes.UNPROCESSABLE_ENTITY}
    assert message in answer.text


def test_flags_set_by_a_run_hold_for_everybody(server: Server) -> None:
    """The run completes with who and why in the history, and leaves the flags before and after for people."""
    given = {"redo_enabled": "on", "rollout_percentage": 25, "why": "phase 2", "who": "ann"}
    changed, nothing_to_run = server.run("set-flags", **given), server.run("run-batch")
    assert server.ended(changed)["state_type"] == "COMPLETED"
    refused = server.ended(nothing_to_run)["state"]
    assert refused["type"] == "FAILED"
    assert "no file of queries: fill it in, or set REDO_QUERIES" in refused["message"]
    program = """
        import json
        from core.fallbacks import get_fallback_manager
        manager = get_fallback_manager()
        change = manager.flags.history(1)[0]
        print(json.dumps([change.actor, change.reason, manager.flag_view().flags.as_dict()]))
    """
    actor, reason, flags = json.loads(server.program("\n".join(line.strip() for line in program.splitlines())))
    assert (actor, reason) == ("ann", "phase 2")
    assert flags == {"orchestrator.redo_enabled": True, "ledger.enabled": False, "rollout_percentage": 25}
    (artifact,) = server.post("/artifacts/filter", {"artifacts": {"key": {"any_": ["redo-flags"]}}})
    assert "| rollout_percentage | 100 % | **25 %** | stored |" in artifact["data"]


def test_a_breaker_that_opened_is_told(server: Server) -> None:
    """The next health check sends the event, and the automation that waits for it has the components checked again."""
    server.program("from core.fallbacks import simulate_orchestrator_failure; simulate_orchestrator_failure()")
    (rule,) = [item for item in server.post("/automations/filter", {}) if item["name"] == "REDO: a breaker opened"]
    server.api.patch(f"/automations/{rule['id']}", json={"enabled": True}).raise_for_status()
    health = server.deployment("check-health")["id"]
    first = server.ended(server.run("check-health"))
    assert first["state_type"] == "COMPLETED"

    def sent() -> list[dict[str, Any]]:
        wanted = {"filter": {"event": {"name": ["redo.breaker.opened"]}, "occurred": {"since": first["created"]}}}
        events: list[dict[str, Any]] = server.post("/events/filter", wanted)["events"]
        return events

    until(lambda: bool(sent()))
    (event,) = sent()
    assert event["resource"]["prefect.resource.id"] == "redo.breaker.orchestrator"
    assert event["payload"]["cause"] == "failures"
    until(lambda: server.post("/flow_runs/count", {"deployments": {"id": {"any_": [health]}}}) == 2)

"""The deployments on a real Prefect server, with a worker: deployed twice, toggled in between, run, refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.deployed_server import Server, deployed_server, until

pytestmark = [pytest.mark.server, pytest.mark.process]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with a database of its own, with our deployments, and a worker."""
    with deployed_server(tmp_path_factory.mktemp("deployments")) as found:
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

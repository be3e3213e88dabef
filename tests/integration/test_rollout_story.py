"""The story of a rollout on a real Prefect server with a worker: up to everybody, a fault at 25 %, an emergency.

Runs of the deployments are what the story is about; where one of a kind has been shown, its likes run in one process
that is kept, because a worker starts a process for each run, which takes most of a run's time.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.batch_samples import passage_rows, query_rows, write_jsonl
from tests.deployed_server import Server, deployed_server, until

pytestmark = [pytest.mark.server, pytest.mark.process, pytest.mark.slow]

QUERIES = 160
PROGRAM = """
import contextlib, io, json, sys
from deployments.cli.main import app
from flows.advance_rollout import advance_rollout
from flows.run_batch import run_batch
from flows.steer_rollout import steer_rollout
known = {"run-batch": run_batch, "advance-rollout": advance_rollout, "steer-rollout": steer_rollout}
for line in sys.stdin:
    name, parameters = json.loads(line)
    if name == "redo":
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            app(parameters["words"], standalone_mode=False)
        print(json.dumps({"type": "COMPLETED", "message": printed.getvalue()}), flush=True)
        continue
    state = known[name](**parameters, return_state=True)
    print(json.dumps({"type": state.type.value, "name": state.name, "message": state.message}), flush=True)
"""
DEMONSTRATION: dict[str, Any] = {"limits": "demonstration"}


class Kept:
    """A process that runs flows on the server, one after the other."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def run(self, name: str, **parameters: Any) -> str:
        """Run a flow to its end, and return the message of its state; or a command, and return what it prints."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([name, parameters]) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "the process has ended"
        state = json.loads(line)
        assert state["type"] == "COMPLETED", state
        return str(state["message"])


@contextmanager
def kept_process(variables: Mapping[str, str], log: Path) -> Iterator[Kept]:
    """The process, until the block ends."""
    quiet = {**variables, "PREFECT_LOGGING_LEVEL": "WARNING"}
    with (
        log.open("w") as errors,
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            env=quiet,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        ) as process,
    ):
        try:
            yield Kept(process)
        finally:
            process.terminate()


class Story:
    """What the tests look at: the server, the worker's runs, the shared state."""

    def __init__(self, server: Server, kept: Kept, batch: Mapping[str, str]) -> None:
        self.server = server
        self.kept = kept
        self._batch = dict(batch)

    def batch(self, **more: Any) -> None:
        """Run a batch."""
        self.kept.run("run-batch", **self._batch, **more)

    def deployed(self, name: str, *, env: Mapping[str, str] | None = None, **parameters: Any) -> dict[str, Any]:
        """Have the worker run a deployment, to its end. Returns the run."""
        body: dict[str, Any] = {"parameters": parameters, "state": {"type": "SCHEDULED"}}
        if env is not None:
            body["job_variables"] = {"env": dict(env)}
        place = f"/deployments/{self.server.deployment(name)['id']}/create_flow_run"
        return self.server.ended(self.server.api.post(place, json=body))

    def events(self, name: str, since: str) -> list[dict[str, Any]]:
        """The events of a name."""
        wanted = {"filter": {"event": {"name": [name]}, "occurred": {"since": since}}}
        found: list[dict[str, Any]] = self.server.post("/events/filter", wanted)["events"]
        return found

    def artifacts(self, key: str, run: Mapping[str, Any]) -> list[Any]:
        """What a run has left under a key."""
        wanted = {"artifacts": {"key": {"any_": [key]}, "flow_run_id": {"any_": [run["id"]]}}}
        return [found["data"] for found in self.server.post("/artifacts/filter", wanted)]

    def redo(self, *words: str) -> Any:
        """What a command prints as JSON, for a person at another terminal."""
        return json.loads(self.kept.run("redo", words=[*words, "--json"]))


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """A server with a worker, and a batch of sessions of their own."""
    folder = tmp_path_factory.mktemp("story")
    rows = [{**row, "session_id": f"s-{place}"} for place, row in enumerate(query_rows(QUERIES))]
    batch = {
        "queries": str(write_jsonl(folder / "queries.jsonl", rows)),
        "passages": str(write_jsonl(folder / "passages.jsonl", passage_rows())),
    }
    with (
        deployed_server(folder, REDO_QUERIES=batch["queries"], REDO_PASSAGES=batch["passages"]) as server,
        kept_process(server.variables, folder / "kept.log") as kept,
    ):
        yield Story(server, kept, batch)


def test_up_to_everybody_back_from_a_fault_and_everything_off(story: Story) -> None:
    """Start, 10, 25, 50, 100 on evidence; a fault at 25 % takes it back to 10; the emergency turns everything off."""
    story.kept.run("steer-rollout", action="start", why="the story", who="ann", soak_minutes=0, min_samples=5)

    # Up. In the first step runs are shadow runs by themselves; the worker does the step from 10 to 25 %.
    story.batch()
    assert story.kept.run("advance-rollout", **DEMONSTRATION).startswith("promoted to gradual 10 %")
    assert story.deployed("run-batch")["state_type"] == "COMPLETED"
    promoted = story.deployed("advance-rollout", **DEMONSTRATION)
    assert promoted["state"]["message"].startswith("promoted to gradual 25 %: gradual 10 % passed")
    (gates,) = story.artifacts("redo-gates", promoted)
    assert {row["gate"] for row in json.loads(gates)} >= {"evidence", "failure_rate", "canary_failures"}
    (page,) = story.artifacts("redo-rollout", promoted)
    assert "data:image/svg+xml;base64," in page
    for reached in ("promoted to gradual 50 %", "promoted to full 100 %", "complete at full 100 %"):
        story.batch()
        assert story.kept.run("advance-rollout", **DEMONSTRATION).startswith(reached)
    assert story.redo("rollout", "status")["status"] == "complete"
    assert story.redo("flags", "list")["flags"]["ledger.enabled"]["value"] is True

    # Once more, with a fault at 25 %: REDO raises on each query.
    story.kept.run("steer-rollout", action="start", why="again", soak_minutes=0, min_samples=5, replace_old=True)
    story.batch()
    story.kept.run("advance-rollout", **DEMONSTRATION)
    story.batch()
    assert story.kept.run("advance-rollout", **DEMONSTRATION).startswith("promoted to gradual 25 %")
    assert story.deployed("run-batch", env={"REDO_FAULT": "raise"})["state_type"] == "COMPLETED"  # nobody went without
    failed = story.deployed("advance-rollout", **DEMONSTRATION)
    assert failed["state"]["message"].startswith("stepped back to gradual 10 %: failed: ")
    assert (failed["state_type"], failed["state_name"]) == ("FAILED", "Stepped back")
    assert "failure_rate" in failed["state"]["message"]
    (gates,) = story.artifacts("redo-gates", failed)
    assert json.loads(gates)[0]["verdict"] == "✗ fail"
    status = story.redo("rollout", "status")
    assert (status["status"], status["percentage"]) == ("rolled_back", 10)
    until(lambda: bool(story.events("redo.gate.failed", failed["created"])))
    until(lambda: bool(story.events("redo.rollout.rolled-back", failed["created"])))
    (told,) = story.events("redo.rollout.rolled-back", failed["created"])
    assert "failure_rate" in told["payload"]["failed"]
    assert story.kept.run("advance-rollout", **DEMONSTRATION).startswith("held at gradual 10 %")  # nothing rises

    # Everything off, from the deployment's run form.
    refused = story.server.run("rollback", kind="everything", why="a typo")
    assert refused.status_code in {httpx.codes.CONFLICT, httpx.codes.UNPROCESSABLE_ENTITY}
    off = story.deployed("rollback", kind="emergency", why="the story ends", who="bob")
    assert (off["state_type"], off["state_name"]) == ("COMPLETED", "Everything off")
    health = story.redo("status")
    assert (health["redo_active"], health["circuit_breaker"]["mode"]) == (False, "forced_open")
    assert [event["kind"] for event in story.redo("rollout", "history", "--limit", "1")] == ["emergency"]
    story.batch()
    (rollback,) = [each for each in story.redo("rollout", "checklist")["checklists"] if "Rollback" in each["name"]]
    assert [item["answer"] for item in rollback["items"]][1:2] == ["yes"]  # legacy answers everybody

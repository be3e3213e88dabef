"""The service as a process: what docs/http.md and the rollout guide print, and state that other processes share."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[2]
GUIDE = ROOT.parent / "shared" / "rollout-guide.md"
PASSAGES = ROOT / "examples" / "towns" / "passages.jsonl"
CURL = "curl --silent --show-error --fail-with-body"
_TIMEOUT_S = 60


@dataclass(frozen=True, slots=True)
class Server:
    """A service that runs.

    Attributes:
        url: its address.
        process: the process.
        environment: what it and all that belongs to it are given.
    """

    url: str
    process: subprocess.Popen[str]
    environment: Mapping[str, str]

    def curl(self, line: str) -> str:
        """Run a curl line in a shell, as it is printed; an answer that is an error fails the test."""
        done = subprocess.run(
            ["bash", "-c", line], env=self.environment, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def get(self, path: str) -> Any:
        """The JSON at a path."""
        return json.loads(self.curl(f"{CURL} {self.url}{path}"))

    def chat(self, prompt: str) -> Any:
        """The answer to a question."""
        return json.loads(self.curl(f"""{CURL} -d '{{"prompt": "{prompt}", "debug": true}}' {self.url}/chat"""))

    def python(self, program: str) -> str:
        """What a program prints that another process runs."""
        return subprocess.run(
            [sys.executable, "-c", program],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=True,
        ).stdout


def environment(home: Path, **more: str) -> dict[str, str]:
    """An environment with a home of its own and no Prefect server."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_API", "REDO_"))}
    return kept | {"REDO_HOME": str(home), "PYTHONPATH": str(ROOT)} | more


@contextmanager
def serving(home: Path, *arguments: str, **more: str) -> Iterator[Server]:
    """A service on a port that is free."""
    command = [sys.executable, "-m", "deployments.service", "--port", "0", *arguments]
    given = environment(home, **more)
    with subprocess.Popen(command, cwd=ROOT, env=given, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            lines = iter(process.stderr.readline, "")
            yield Server(next(found[0] for line in lines if (found := re.search(r"http://\S+", line))), process, given)
        finally:
            process.kill()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One service for the tests that read and set flags one after the other."""
    with serving(tmp_path_factory.mktemp("service"), "--passages", str(PASSAGES)) as started:
        yield started


def curl_lines(page: Path, language: str) -> list[str]:
    """The curl commands of a page's code blocks, each as one line."""
    blocks = re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    joined = "\n".join(blocks).replace("\\\n", " ")
    return [line.strip() for line in joined.splitlines() if line.startswith("curl ")]


def test_every_line_of_the_page_works(server: Server) -> None:
    """Each endpoint has one, and each is answered."""
    lines = curl_lines(ROOT / "docs" / "http.md", "sh")
    documented = {path for path in server.get("/openapi.json")["paths"] if any(path in line for line in lines)}
    assert documented == set(server.get("/openapi.json")["paths"])
    for line in lines:
        command, _, refusal = line.replace("http://127.0.0.1:8000", server.url).partition("  # ")
        if refusal:
            told = "curl --silent --output /dev/null --write-out '%{http_code}'"
            status = server.curl(command.replace("curl", told, 1))
            assert refusal.startswith(status), line
        else:
            server.curl(command.replace("curl", CURL, 1))


@pytest.mark.skipif(not GUIDE.exists(), reason="the rollout guide is not beside this repository")
def test_every_line_of_the_guide_works(server: Server) -> None:
    """As it is printed, with the address put in front."""
    lines = curl_lines(GUIDE, "bash")
    assert len(lines) >= 12
    for line in lines:
        answer = server.curl(re.sub(r" (/[a-z])", rf" {server.url}\1", line.replace("curl", CURL, 1), count=1))
        if "/chat" in line:
            assert {"orchestration_enabled", "orchestration_time_ms"} <= set(json.loads(answer))


def test_another_process_sees_a_change(server: Server) -> None:
    """The guide's own one-liner."""
    server.curl(
        f"""{CURL} -d '{{"ledger.enabled": true, "rollout_percentage": 42}}' {server.url}/admin/feature-flags"""
    )
    printed = server.python("from feature_flags import get_all_flags; print(get_all_flags())")
    assert "'ledger.enabled': True, 'rollout_percentage': 42}" in printed


def test_a_change_by_another_process_is_seen(server: Server) -> None:
    """With who made it."""
    server.python("from feature_flags import set_feature_flag; set_feature_flag('rollout_percentage', 7, actor='ann')")
    answer = server.get("/admin/feature-flags")
    assert answer["flags"]["rollout_percentage"]["value"] == 7
    assert answer["history"][0]["actor"] == "ann"


def test_a_failure_simulated_by_another_process(server: Server) -> None:
    """The guide's drill: legacy answers while it lasts, and REDO again after the reset."""
    flags = '{"orchestrator.redo_enabled": true, "rollout_percentage": 100}'
    server.curl(f"{CURL} -d '{flags}' {server.url}/admin/feature-flags")
    server.python("from core.fallbacks import simulate_orchestrator_failure as fail; fail()")
    assert server.get("/debug/fallback-health")["circuit_breaker"]["state"] == "open"
    answer = server.chat("When was the Elmford bridge built?")
    assert (answer["decision"], answer["reason"]) == ("fallback", "BREAKER_OPEN")
    assert (len(answer["citations"]), answer["disputes"]) == (1, [])
    server.python("from core.fallbacks import reset_fallback_state; reset_fallback_state()")
    assert server.get("/debug/fallback-health")["circuit_breaker"]["state"] == "closed"
    answer = server.chat("When was the Elmford bridge built?")
    assert (answer["decision"], len(answer["disputes"])) == ("redo", 1)


@pytest.mark.parametrize("fault", ["raise", "hang", "garbage"])
def test_it_answers_while_the_orchestrator_fails(tmp_path: Path, fault: str) -> None:
    """Each question gets its legacy answer, and the self-test or the breaker keeps REDO out."""
    settings = {"REDO_FAULT": fault, "REDO_FALLBACK_TIMEOUT": "0.5", "ORCHESTRATOR_REDO_ENABLED": "true"}
    with serving(tmp_path / "home", "--passages", str(PASSAGES), **settings) as server:
        answers = [server.chat("When was the Elmford bridge built?") for _ in range(5)]
        assert [(answer["decision"], len(answer["citations"])) for answer in answers] == [("fallback", 1)] * 5
        own = "TIMEOUT" if fault == "hang" else "ORCHESTRATOR_ERROR"
        assert {answer["reason"] for answer in answers} <= {own, "UNHEALTHY", "BREAKER_OPEN"}
        assert answers[-1]["reason"] in {"UNHEALTHY", "BREAKER_OPEN"}
        assert "redo_fallback_activations_total 5.0" in server.curl(f"{CURL} {server.url}/debug/metrics")


def test_it_ends_in_order_and_loses_no_count(tmp_path: Path) -> None:
    """What was answered a moment before the end is in the shared state."""
    with serving(tmp_path / "home", "--passages", str(PASSAGES)) as server:
        server.chat("When was the Elmford bridge built?")
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(_TIMEOUT_S) == 0
        assert server.process.stderr is not None
        assert "Traceback" not in server.process.stderr.read()
        program = (
            "from tasks.metrics import load; from tasks.wiring import state_store; print(load(state_store()).queries)"
        )
        assert server.python(program) == "1\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--passages", "nothing.jsonl"), "redo: --passages nothing.jsonl: there is no such file\n"),
        (("--host", "256.0.0.1"), "redo: cannot listen on 256.0.0.1"),
        (("--port", "99999"), "less than or equal to 65535"),
    ],
)
def test_what_cannot_be_used_is_said_in_a_line(tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    """And the exit code is 2."""
    command = [sys.executable, "-m", "deployments.service", *arguments]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=environment(tmp_path) | {"COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_that_is_taken_is_named(server: Server, tmp_path: Path) -> None:
    """Before anything else is done."""
    port = server.url.rpartition(":")[2]
    command = [sys.executable, "-m", "deployments.service", "--port", port]
    given = environment(tmp_path) | {"COLUMNS": "200"}
    done = subprocess.run(command, cwd=ROOT, env=given, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    assert (done.returncode, done.stderr) == (
        2,
        f"redo: cannot listen on 127.0.0.1, port {port}: Address already in use\n",
    )

# ruff: noqa: INP001 - a script, run by path
"""Does what the rollout guide prints work here? Runs each of its commands as it stands, and reports.

    python docs/check_guide.py [GUIDE]

Without an argument it is `shared/rollout-guide.md` beside the repository; where there is none, nothing is checked.
Every block begins in an empty `REDO_HOME`. Python blocks run in a process of their own, bash blocks command by command,
with this Python first on the path. A curl line gets the address of a service put in front of its path. `export` lines
must arrive in `redo config`. Alert rules must be in deployments/monitoring/alerts.yml as they are. Where a command says
what must be so afterwards, that is checked too. Exits with 1 if anything fails.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import yaml
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

ROOT: Final = Path(__file__).resolve().parents[1]
_FENCE: Final = re.compile(r"^```(\w*)\s*$")
_INLINE: Final = re.compile(r"`((?:curl|python3) [^`]+)`")
_ADDRESS: Final = re.compile(r"http://\S+")
_PATH: Final = re.compile(r"(?<=\s)/\S+")
_SET_FLAG: Final = re.compile(r'^set_feature_flag\("([^"]+)", (True|False)\)', re.MULTILINE)
_NOT_OURS: Final = ("REDO_", "LEDGER_", "ORCHESTRAT", "PREFECT_", "AWS_")
_HEADING_WIDTH: Final = 26
_TIME_S: Final = 300
_START_S: Final = 60

# What a command that contains the first text must print.
_PRINTS: Final = (
    ("tests/test_fallbacks.py", " passed"),
    ("print('REDO active:', is_redo_active())", "REDO active: False"),
    ("print('REDO active:', is_redo_active(flags))", "REDO active: True"),
    ("After DB failure:", "After DB failure: False\nAfter orchestrator failure: False"),
    ("Feature flags:", "'orchestrator.redo_enabled': False"),
    ("Health status:", "'orchestrator_healthy': True"),
    ("Orchestrator healthy:", "Orchestrator healthy: True\nLedger healthy: True\nConsecutive failures: 0"),
    ("/debug/fallback-health", '"consecutive_failures":0'),
    ("/debug/config", '"orchestrator.redo_enabled":'),
    ("/debug/metrics", "\nredo_orchestrator_failures_total 0.0"),
    ("/debug/metrics", "\nredo_fallback_activations_total 0.0"),
    ("/debug/metrics", "\nredo_circuit_breaker_open 0.0"),
    ("/chat", '"orchestration_enabled":'),
    ("/chat", '"orchestration_time_ms":'),
)


class GuideError(Exception):
    """What the guide says is not so here."""


@dataclass(frozen=True, slots=True)
class Block:
    """A code block, or a command inside a sentence."""

    heading: str
    language: str
    text: str


def blocks(page: str) -> Iterator[Block]:
    """The code blocks of a page, and the commands that stand in its sentences, in order."""
    heading, language, lines = "", None, list[str]()
    for line in page.splitlines():
        fence = _FENCE.match(line)
        if fence is not None and language is None:
            language, lines = fence[1], []
        elif fence is not None:
            yield Block(heading, str(language), "\n".join(lines))
            language = None
        elif language is not None:
            lines.append(line)
        elif line.startswith("#"):
            heading = line.lstrip("# ")
        else:
            yield from (Block(heading, "bash", command) for command in _INLINE.findall(line))


def commands(text: str) -> Iterator[str]:
    """The commands of a bash block: each goes on until its quotes are closed and no line is to be continued."""
    lines: list[str] = []
    for line in text.splitlines():
        if not lines and (not line.strip() or line.lstrip().startswith("#")):
            continue
        lines.append(line)
        command = "\n".join(lines)
        if not line.endswith("\\") and _is_closed(command):
            yield command
            lines = []
    if lines:
        raise GuideError(f"this command has no end: {lines[0]}")


def _is_closed(command: str) -> bool:
    try:
        shlex.split(command)
    except ValueError:
        return False
    return True


class Bench:
    """An empty place for one block."""

    def __init__(self, home: Path) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(_NOT_OURS)}
        (home / ".curlrc").write_text("silent\nshow-error\nfail-with-body\n")
        places = {"HOME": home, "CURL_HOME": home, "REDO_HOME": home / "redo", "PREFECT_HOME": home / "prefect"}
        path = f"{Path(sys.executable).parent}{os.pathsep}{kept.get('PATH', os.defpath)}"
        self.environment = kept | {name: str(place) for name, place in places.items()} | {"PATH": path}
        self._log = home / "service.log"

    def run(self, *words: str, **more: str) -> str:
        """Run a command in the repository and return what it prints. Raises GuideError where it fails."""
        environment = self.environment | more
        done = subprocess.run(  # noqa: S603 - the guide's own commands
            words, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=_TIME_S, check=False
        )
        if done.returncode:
            raise GuideError(f"exit code {done.returncode}\n{done.stdout}{done.stderr}".strip())
        return done.stdout

    def redo(self, *words: str, **more: str) -> Any:  # noqa: ANN401 - JSON
        """What a `redo` command answers."""
        return json.loads(
            self.run(sys.executable, "-c", "from deployments.cli.main import main; main()", *words, **more)
        )

    @contextmanager
    def service(self) -> Iterator[str]:
        """The address of a service that runs here. Raises GuideError where it does not start."""
        command = (sys.executable, "-m", "deployments.service", "--port", "0", "--passages")
        passages = str(ROOT / "examples" / "towns" / "passages.jsonl")
        with self._log.open("wb") as log:
            server = subprocess.Popen(  # noqa: S603 - our own service
                [*command, passages], cwd=ROOT, env=self.environment, stdout=log, stderr=log
            )
        try:
            yield self._address(server)
        finally:
            server.terminate()
            server.wait()

    def _address(self, server: subprocess.Popen[bytes]) -> str:
        give_up_at = time.monotonic() + _START_S
        while server.poll() is None and time.monotonic() < give_up_at:
            found = _ADDRESS.search(self._log.read_text())
            if found is not None:
                return found[0]
            time.sleep(0.05)
        raise GuideError(f"the service did not start\n{self._log.read_text()}")


def check(block: Block, bench: Bench) -> Iterator[tuple[str, str]]:
    """Run a block. Yields each command with what went wrong, or nothing."""
    if block.language == "python":
        yield block.text, _tried(partial(_check_python, block.text, bench))
    elif block.language == "yaml":
        for rule in yaml.safe_load(block.text):
            yield f"alert: {rule['alert']}", _tried(partial(_check_rule, rule))
    elif block.language == "bash":
        yield from _check_bash(block.text, bench)
    else:
        yield block.text, f"nobody knows how to check a block of {block.language or 'no language'}"


def _check_bash(text: str, bench: Bench) -> Iterator[tuple[str, str]]:
    try:
        typed = tuple(commands(text))
        with bench.service() if any(command.startswith("curl ") for command in typed) else nullcontext("") as address:
            for command in typed:
                attempt = partial(_check_command, command, bench, address)
                if command.startswith("export "):
                    attempt = partial(_check_export, command, bench)
                yield command, _tried(attempt)
    except GuideError as error:
        yield text, str(error)


def _tried(attempt: Callable[[], None]) -> str:
    try:
        attempt()
    except (GuideError, subprocess.TimeoutExpired) as error:
        return str(error)
    return ""


def _check_python(code: str, bench: Bench) -> None:
    _check_output(code, bench.run(sys.executable, "-c", code))
    _check_flags({name: value == "True" for name, value in _SET_FLAG.findall(code)}, bench)


def _check_command(command: str, bench: Bench, address: str) -> None:
    is_curl = command.startswith("curl ")
    typed = _PATH.sub(lambda path: address + path[0], command, count=1) if is_curl else command
    _check_output(command, bench.run("bash", "-c", typed))
    if is_curl and "/admin/feature-flags" in command:
        words = shlex.split(command)
        _check_flags(json.loads(words[words.index("-d") + 1]), bench)


def _check_output(command: str, printed: str) -> None:
    for part, expected in _PRINTS:
        if part in command and expected not in printed:
            raise GuideError(f"expected {expected!r} in the output, got\n{printed}")


def _check_flags(expected: Mapping[str, object], bench: Bench) -> None:
    """The flags are so for another process."""
    if expected:
        flags = bench.redo("flags", "list", "--json")["flags"]
        found = {name: flags[name]["value"] for name in expected}
        if found != dict(expected):
            raise GuideError(f"expected the flags {dict(expected)}, got {found}")


def _check_export(line: str, bench: Bench) -> None:
    """The variable arrives, and its value is the default, which the guide says by naming it."""
    name, value = shlex.split(line)[1].split("=", 1)
    report = bench.redo("config", "--json", **{name: value})
    by_flag = {"ORCHESTRATOR_REDO_ENABLED": "orchestrator.redo_enabled", "LEDGER_ENABLED": "ledger.enabled"}
    known = report["flags"].get(by_flag.get(name, ""), report["settings"].get(name))
    if known is None:
        raise GuideError(f"`redo config` does not know {name}")
    if known.get("source", "environment") != "environment" or known.get("is_default"):
        raise GuideError(f"{name} was set and not read: {known}")
    if not known["value"] == known["default"] == json.loads(value):
        raise GuideError(f"expected {value} as value and default, got {known}")


def _check_rule(rule: Mapping[str, object]) -> None:
    groups = yaml.safe_load((ROOT / "deployments" / "monitoring" / "alerts.yml").read_text())["groups"]
    if rule not in [known for group in groups for known in group["rules"]]:
        raise GuideError(f"deployments/monitoring/alerts.yml does not have it as it is: {rule}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Check the guide and print the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("guide", type=Path, nargs="?", default=ROOT.parent / "shared" / "rollout-guide.md")
    guide: Path = parser.parse_args(arguments).guide
    console = Console(highlight=False)
    if not guide.is_file():
        console.print(Text(f"{guide} is not there: nothing was checked"), soft_wrap=True)
        return 0
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, expand=True)
    table.add_column("block", no_wrap=True, width=_HEADING_WIDTH)
    table.add_column("command", no_wrap=True, ratio=1)
    table.add_column("result", no_wrap=True, width=len("result"))
    failures: list[Text] = []
    for number, block in enumerate(blocks(guide.read_text()), start=1):
        with tempfile.TemporaryDirectory() as home:
            for command, problem in check(block, Bench(Path(home))):
                result = Text("failed", "red") if problem else Text("works", "green")
                table.add_row(Text(f"{number:2} {block.heading}"), Text(_short(command)), result)
                if problem:
                    failures.append(Text(f"\n{number} {block.heading}\n{command}\n\n{problem}"))
    console.print(table)
    for failure in failures:
        console.print(failure, soft_wrap=True)
    console.print(f"{table.row_count} commands, {len(failures)} failed")
    return 1 if failures or not table.row_count else 0


def _short(command: str) -> str:
    lines = [line.strip(" \\") for line in command.splitlines()]
    return " ".join(line for line in lines if line and not line.startswith("#"))


if __name__ == "__main__":
    raise SystemExit(main())

"""What the documentation prints works: its commands run, its variables exist, its example is what a run writes."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from core.flags import DEFINITIONS
from tasks.settings import Settings

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
NOT_RUN = {"make test": "it is what runs this test"}
SERVE = ".venv/bin/redo serve "
"""What starts the service: it does not end, so a fixture runs it beside the others."""


def blocks(page: Path, language: str) -> list[str]:
    """The code blocks of one language on a page."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


def shell_commands(text: str) -> list[str]:
    """The commands of a block, each in one line."""
    lines = text.replace("\\\n", " ").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]


def commands(page: Path) -> list[str]:
    """The shell commands of a page, in their order."""
    return [command for block in blocks(page, "bash") for command in shell_commands(block)]


def steps(page: Path) -> Iterator[list[str]]:
    """All that a page lets its reader run, in its order: shell commands and Python blocks, as words."""
    text = page.read_text()
    for language, block in re.findall(r"^```(bash|python)\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        if language == "python":
            yield [sys.executable, "-c", block]
        else:
            yield from (["bash", "-c", command] for command in shell_commands(block))


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """An environment of its own for the commands of one page after the other. In it curl fails on an error."""
    home = tmp_path_factory.mktemp("docs")
    (home / ".curlrc").write_text("fail-with-body\n")
    cleared = ("REDO_", "LEDGER_", "ORCHESTRAT", "PREFECT_", "AWS_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(cleared)}
    places = {"REDO_HOME": str(home / "redo"), "PREFECT_HOME": str(home / "prefect"), "CURL_HOME": str(home)}
    return kept | places | {"OUT": str(home)}


@pytest.fixture(scope="module")
def served(shell: Mapping[str, str]) -> Iterator[Mapping[str, str]]:
    """The environment while the service runs that the pages start, with its address as REDO_URL."""
    (printed,) = {command for page in PAGES for command in commands(page) if command.startswith(SERVE)}
    words = [*shlex.split(printed), "--port", "0"]
    with subprocess.Popen(words, cwd=ROOT, env=shell, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            said = iter(process.stderr.readline, "")
            address = next((found[0] for line in said if (found := re.search(r"http://\S+", line))), None)
            assert address is not None, "the service did not start"
            yield {**shell, "REDO_URL": address}
        finally:
            process.terminate()


@pytest.mark.process
@pytest.mark.server
@pytest.mark.skipif(
    not (ROOT / ".venv" / ".ready").exists(), reason="the commands use .venv, which `make install` makes"
)
def test_every_command_runs(served: Mapping[str, str], tmp_path: Path) -> None:
    """Each command of each page exits with 0, in the order in which a reader types them."""
    written = tmp_path / "answers.parquet"
    for page in PAGES:
        for words in steps(page):
            command = words[-1]
            if command not in NOT_RUN and not command.startswith(SERVE):
                typed = [*words[:-1], command.replace("answers.parquet", str(written))]
                done = subprocess.run(typed, cwd=ROOT, env=served, capture_output=True, text=True, check=False)
                assert done.returncode == 0, f"{page.name}: {command}\n{done.stdout}\n{done.stderr}"
    assert written.exists()


def test_the_commands_not_run_are_in_the_docs() -> None:
    """The list of exceptions holds nothing that nobody prints."""
    printed = {command for page in PAGES for command in commands(page)}
    assert set(NOT_RUN) <= printed


def test_every_setting_is_in_the_readme_and_back() -> None:
    """The README's table has each variable that is read, and no other."""
    table = set(re.findall(r"^\| `([A-Z_]+)` \|", (ROOT / "README.md").read_text(), re.MULTILINE))
    settings = {str(field.alias) for field in Settings.model_fields.values()}
    flags = {flag.environment_variable for flag in DEFINITIONS.values() if flag.environment_variable}
    assert settings | flags == table


def test_the_prompt_of_the_docs_works() -> None:
    """The function in docs/output.md turns the record beside it into a prompt that names the dispute."""
    page = ROOT / "docs" / "output.md"
    record: dict[str, Any] = json.loads(blocks(page, "json")[0])
    other = record["evidence"][0] | {"passage_id": "gazette", "source": "gazette", "text": "It was built in 1871."}
    record["evidence"].append(other)
    names: dict[str, Any] = {}
    exec(compile(blocks(page, "python")[0], str(page), "exec"), names)  # noqa: S102 - our own page
    prompt = names["prompt"](record)
    assert "[1] says '1869', [2] says '1871'" in prompt

"""The Dockerfile, as far as it can be checked without Docker: what it copies exists, and what it runs is ours."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "deployments" / "Dockerfile").read_text()
INSTRUCTIONS = [
    line.split(maxsplit=1)
    for line in re.sub(r"\\\n", " ", re.sub(r"^\s*#.*\n", "", TEXT, flags=re.MULTILINE)).splitlines()
    if line.strip()
]


def arguments(instruction: str) -> list[str]:
    """What stands behind each instruction of this name, in order."""
    return [words[1] for words in INSTRUCTIONS if words[0] == instruction]


def test_what_it_copies_exists() -> None:
    """Every source is in the repository, or comes from the first stage."""
    copied = [words.split() for words in arguments("COPY") if not words.startswith("--from=build")]
    sources = [source for words in copied for source in words[:-1]]
    assert sources
    assert [source for source in sources if not (ROOT / source).exists()] == []


def test_it_copies_the_whole_wheel() -> None:
    """All that the wheel holds is there to build it."""
    built = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    copied = {source for words in arguments("COPY") for source in words.split()[:-1]}
    assert set(built["only-include"]) <= copied
    assert {"pyproject.toml", "README.md", "requirements.lock", "prefect.yaml"} <= copied


def test_it_installs_what_was_tested() -> None:
    """The locked versions, then REDO alone. Every version is pinned in the lock, which holds no address."""
    installs = [command for command in arguments("RUN") if "pip install" in command]
    assert "--constraint requirements.lock --requirement needed.txt" in installs[0]
    assert installs[-1] == "/opt/redo/bin/python -m pip install --no-deps ."
    lock = (ROOT / "requirements.lock").read_text()
    assert "://" not in lock
    assert "[" not in lock, "a constraint may have no extras"


def test_the_list_of_what_it_needs() -> None:
    """The program in the Dockerfile prints the dependencies of the project, one a line."""
    (program,) = re.findall(r'python -c "(.+?)" > needed.txt', TEXT)
    process = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert process.stdout.splitlines() == project["dependencies"]


def test_it_runs_as_nobody_special() -> None:
    """The last user is not root, and owns the folder of the data."""
    assert arguments("USER") == ["redo"]
    assert "--owner redo --group redo /var/lib/redo" in TEXT
    assert "REDO_HOME=/var/lib/redo" in TEXT
    assert arguments("VOLUME") == ["/var/lib/redo"]


def test_a_worker_copies_little() -> None:
    """It copies its working folder for each run: that is no folder with data, and holds one file."""
    last_stage = TEXT[TEXT.rindex("\nFROM ") :]
    (folder,) = re.findall(r"^WORKDIR (.+)$", last_stage, re.MULTILINE)
    assert folder == "/app"
    assert re.findall(r"^COPY (?!--from)(.+)$", last_stage, re.MULTILINE) == ["prefect.yaml ./"]

"""The import rules of pyproject.toml hold, and they are there to be checked."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RULES = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]


@pytest.mark.process
def test_import_rules_hold() -> None:
    """Imports point one way: import-linter finds no broken contract."""
    program = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    done = subprocess.run(
        [sys.executable, "-c", program, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"Contracts: {len(RULES['contracts'])} kept, 0 broken." in done.stdout


def test_every_package_is_under_the_rules() -> None:
    """The rules cover each of our packages, and the layers of `core` each of its modules."""
    packages = {folder.name for folder in ROOT.iterdir() if (folder / "__init__.py").is_file()}
    assert packages == set(RULES["root_packages"])
    (inside,) = (contract for contract in RULES["contracts"] if contract.get("containers") == ["core"])
    assert inside["exhaustive"] is True
    (between,) = (
        contract for contract in RULES["contracts"] if contract["type"] == "layers" and contract is not inside
    )
    assert set(between["layers"]) == packages

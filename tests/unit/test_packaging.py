"""Our top-level names are ours alone, and nothing in our folders shadows another module."""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import importlib.util
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NAMES = ["core", "flows", "tasks", "ledger", "deployments"]
OPTIONAL_NAMES = ["feature_flags"]
FOLDERS = ["flows", "tasks", "deployments", "tests", "examples", "benchmarks"]


def owners() -> dict[str, list[str]]:
    """Which distributions own each top-level name of this environment."""
    return {name: list(found) for name, found in importlib.metadata.packages_distributions().items()}


@pytest.mark.parametrize("name", NAMES)
def test_name_is_imported_from_here(name: str) -> None:
    """Each top-level package is the repository's own, not one that happens to be installed."""
    module = importlib.import_module(name)
    assert module.__file__ is not None
    assert Path(module.__file__).resolve() == (ROOT / name / "__init__.py").resolve()


@pytest.mark.parametrize("name", OPTIONAL_NAMES)
def test_module_is_imported_from_here(name: str) -> None:
    """A top-level module of ours, where it exists, is found in the repository."""
    spec = importlib.util.find_spec(name)
    found = None if spec is None or spec.origin is None else Path(spec.origin).resolve()
    expected = (ROOT / f"{name}.py").resolve()
    assert found == (expected if expected.exists() else None)


@pytest.mark.parametrize("name", [*NAMES, *OPTIONAL_NAMES])
def test_no_other_distribution_owns_the_name(name: str) -> None:
    """No installed distribution brings a package of this name."""
    assert set(owners().get(name, [])) <= {"redo"}


def test_the_check_sees_distributions() -> None:
    """The list of owners is not empty, so that the check above can fail."""
    assert "pytest" in owners()["pytest"]
    assert len(owners()) > 50


def test_wheel_holds_our_names() -> None:
    """What is packed is exactly the names that are checked here."""
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    packed = {name.removesuffix(".py") for name in build["only-include"]}
    assert set(NAMES) <= packed <= {*NAMES, *OPTIONAL_NAMES}


@pytest.mark.parametrize("folder", FOLDERS)
def test_nothing_is_shadowed(folder: str) -> None:
    """A name directly inside these folders is that of no other module: the folder may stand first on the path."""
    inside = {
        path.stem
        for path in (ROOT / folder).iterdir()
        if path.suffix == ".py" or (path.is_dir() and any(path.glob("*.py")))
    } - {"__init__", "__main__"}
    taken = {*sys.stdlib_module_names, *owners(), *NAMES, *OPTIONAL_NAMES, "examples", "benchmarks"} - {folder}
    assert inside
    assert sorted(inside & taken) == []


def test_core_imports_nothing() -> None:
    """`core/__init__.py` holds a docstring alone."""
    (only,) = ast.parse((ROOT / "core" / "__init__.py").read_text()).body
    assert isinstance(only, ast.Expr)


@pytest.mark.process
def test_importing_core_is_light() -> None:
    """Importing `core` loads none of its modules and none of the libraries."""
    program = "import sys; before = set(sys.modules); import core; print(sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['core']"

"""prefect.yaml: what it names exists, and what it gives a flow is what the flow takes."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect import Flow
from prefect.utilities.schema_tools import is_valid_schema, validate

PLACE = Path(__file__).parents[2] / "prefect.yaml"
CONTENT: dict[str, Any] = yaml.safe_load(PLACE.read_text())
DEPLOYMENTS: list[dict[str, Any]] = CONTENT["deployments"]
BY_NAME = {deployment["name"]: deployment for deployment in DEPLOYMENTS}


def flow_of(deployment: dict[str, Any]) -> Flow[..., Any]:
    """The flow that an entrypoint names."""
    module, _, name = deployment["entrypoint"].rpartition(".")
    found = getattr(importlib.import_module(module), name)
    assert isinstance(found, Flow)
    return found


@pytest.fixture(params=DEPLOYMENTS, ids=list(BY_NAME))
def deployment(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Each deployment in turn."""
    given: dict[str, Any] = request.param
    return given


def test_the_entrypoint_is_a_module_path(deployment: dict[str, Any]) -> None:
    """A file path would put flows/ first on the path, where it shadows packages. Flow and deployment share a name."""
    assert ":" not in deployment["entrypoint"]
    assert "/" not in deployment["entrypoint"]
    assert flow_of(deployment).name == deployment["name"]


def test_its_parameters_are_the_flows(deployment: dict[str, Any]) -> None:
    """Every one that is given exists, and passes the check that the server makes."""
    schema = flow_of(deployment).parameters.model_dump_for_openapi()
    is_valid_schema(schema)
    given = {
        name: "file.jsonl" if "{{" in str(value) else value for name, value in deployment.get("parameters", {}).items()
    }
    assert set(given) <= set(schema["properties"])
    assert validate(given, schema, ignore_required=True) == []


def test_every_parameter_is_described(deployment: dict[str, Any]) -> None:
    """The run form shows what it is. Prefect takes that from the docstring."""
    for name, field in flow_of(deployment).parameters.properties.items():
        assert field.get("description"), f"{deployment['name']}: parameter {name} has no line under Args"


def test_it_reads_well_in_the_ui(deployment: dict[str, Any]) -> None:
    """A description, our tag, which finds ours among others, and the one work pool."""
    assert deployment["description"].strip()
    assert "redo" in deployment["tags"]
    assert deployment["work_pool"] == {"name": "redo"}


def test_a_scheduled_flow_can_run_by_itself(deployment: dict[str, Any]) -> None:
    """What it needs is given, and it does not run beside itself."""
    if deployment.get("schedules"):
        required = set(flow_of(deployment).parameters.model_dump_for_openapi().get("required", []))
        assert required <= set(deployment.get("parameters", {}))
        assert deployment["concurrency_limit"]["limit"] == 1


def test_schedules_keep_a_toggle() -> None:
    """Each has a slug and says nothing about `active`: Prefect leaves the toggle alone then."""
    schedules = [schedule for deployment in DEPLOYMENTS for schedule in deployment.get("schedules", [])]
    assert schedules
    assert all("slug" in schedule and "active" not in schedule for schedule in schedules)
    assert not any("paused" in deployment for deployment in DEPLOYMENTS)


def test_there_is_a_deployment_for_each_flow() -> None:
    """Every flow of flows/ has one."""
    flows = {path.stem for path in (PLACE.parent / "flows").glob("*.py")} - {"__init__"}
    assert {deployment["entrypoint"].split(".")[1] for deployment in DEPLOYMENTS} == flows


def test_nothing_is_fetched() -> None:
    """Workers have REDO installed; no folder of the machine that deployed is remembered."""
    assert CONTENT["pull"] == []

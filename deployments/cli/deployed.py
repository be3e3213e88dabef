"""Registering the deployments with a Prefect server, without undoing what was toggled in its UI.

`prefect deploy --all` keeps a schedule that somebody has switched off, because prefect.yaml gives each schedule a slug
and says nothing about `active`. It does not keep a deployment that is paused as a whole; that is put back here.
docs/decisions/006-toggles-outlive-deployments.md has the details.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterTags
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL, temporary_settings

from core.errors import ConfigError
from deployments.cli.children import ChildError
from tasks.automations import apply_automations

POOL: Final = "redo"
"""The work pool of all deployments."""

ROOT: Final = Path(__file__).resolve().parents[2]
_TAG: Final = "redo"
_TAIL_LINES: Final = 15
_MESSAGE_CHARS: Final = 400
_PAGE: Final = 200
_TIME_S: Final = 180


class DeployError(ChildError):
    """Prefect did not take the deployments. Those before the one that failed are registered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployed:
    """One deployment as it is now.

    Attributes:
        name: its name.
        is_new: whether it was created just now.
        paused: whether it is paused as a whole; its schedules rest then, whatever they say.
        schedules: for each schedule its slug and whether it is on.
        url: where its page is.
    """

    name: str
    is_new: bool
    paused: bool
    schedules: Mapping[str, bool]
    url: str

    def as_dict(self) -> dict[str, Any]:
        """The deployment as JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class DeployReport:
    """What was registered: the deployments, and what became of each automation."""

    deployments: tuple[Deployed, ...]
    automations: Mapping[str, str]

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON values."""
        return {"deployments": [item.as_dict() for item in self.deployments], "automations": dict(self.automations)}


def prefect_file(given: Path | None) -> Path:
    """The file of the deployments: the given one, that of the present folder, that of the repository.

    Raises:
        ConfigError: there is none.
    """
    places = [given] if given is not None else [Path("prefect.yaml"), ROOT / "prefect.yaml"]
    for place in places:
        if place.is_file():
            return place.resolve()
    raise ConfigError(f"{places[0]}: no such file; run this in the repository, or give --file")


def deploy_all(
    file: Path,
    *,
    api_url: str,
    variables: Mapping[str, str],
    notify: str | None = None,
    off_at_first: Sequence[str] = (),
) -> DeployReport:
    """Register every deployment of the file, its work pool where there is none yet, and the automations.

    Args:
        file: prefect.yaml.
        api_url: address of the Prefect API.
        variables: what the file may name as `{{ $NAME }}`, beside the environment.
        notify: the notification block of the automations, as `slack-webhook/redo`.
        off_at_first: deployments whose schedules are switched off when they are created.

    Raises:
        DeployError: Prefect refused one; the message has what it said.
        ConfigError: there is no such notification block.
    """
    ui_url = api_url.rstrip("/").removesuffix("/api")
    with temporary_settings({PREFECT_API_URL: api_url}), get_client(sync_client=True) as client:
        _ensure_pool(client)
        before = {found.name: found for found in _ours(client)}
        _run_prefect(file, {**os.environ, **variables, "PREFECT_API_URL": api_url})
        deployed = []
        for found in _ours(client):
            known = before.get(found.name)
            paused = known is not None and bool(known.paused)
            if paused:
                client.pause_deployment(found.id)
            is_off = known is None and found.name in off_at_first
            if is_off:
                _switch_off(client, found)
            deployed.append(_deployed(found, ui_url, is_new=known is None, paused=paused, is_off=is_off))
        return DeployReport(tuple(deployed), apply_automations(client, notify=notify))


def _run_prefect(file: Path, environment: Mapping[str, str]) -> None:
    process = subprocess.run(  # noqa: S603 - Prefect's own command line
        [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all", "--prefect-file", str(file)],
        cwd=file.parent,
        env=dict(environment),
        capture_output=True,
        text=True,
        check=False,
        timeout=_TIME_S,
    )
    if process.returncode:
        said = (process.stdout + process.stderr).strip().splitlines()
        last = said[-1][:_MESSAGE_CHARS] if said else "it said nothing"
        raise DeployError(f"prefect deploy: {last}", "\n".join(said[-_TAIL_LINES:-1]))


def _ensure_pool(client: SyncPrefectClient) -> None:
    """Make the work pool, for workers that start processes, unless somebody has made it, of whatever type."""
    try:
        client.read_work_pool(POOL)
    except ObjectNotFound:
        client.create_work_pool(WorkPoolCreate(name=POOL, type="process", description="Where REDO's flows run."))


def _ours(client: SyncPrefectClient) -> list[DeploymentResponse]:
    ours = DeploymentFilter(tags=DeploymentFilterTags(all_=[_TAG]))
    return sorted(client.read_deployments(deployment_filter=ours, limit=_PAGE), key=lambda found: found.name)


def _switch_off(client: SyncPrefectClient, found: DeploymentResponse) -> None:
    for schedule in found.schedules:
        client.update_deployment_schedule(found.id, schedule.id, active=False)


def _deployed(found: DeploymentResponse, ui_url: str, *, is_new: bool, paused: bool, is_off: bool) -> Deployed:
    return Deployed(
        name=found.name,
        is_new=is_new,
        paused=paused,
        schedules={schedule.slug or "schedule": bool(schedule.active) and not is_off for schedule in found.schedules},
        url=f"{ui_url}/deployments/deployment/{found.id}",
    )

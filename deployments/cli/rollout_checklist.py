"""`redo rollout checklist`: the guide's two checklists, computed from evidence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.padding import Padding
from rich.text import Text

from core.errors import StoreError
from core.rollout.description import headline
from deployments.cli.rollout import rollout_app
from deployments.cli.shared_state import Json, guard
from deployments.cli.terminal import OUT
from tasks.rollout.checklist import Answer, Checklist, rollback_success, rollout_success
from tasks.rollout.desk import Desk, open_desk
from tasks.rollout.evidence import gather
from tasks.settings import load_settings

_MONITORING: Final = Path(__file__).parents[1] / "monitoring"
_SIGNS: Final = {Answer.YES: ("[x]", "green"), Answer.NO: ("[-]", "bold red"), Answer.UNKNOWN: ("[?]", "yellow")}


@rollout_app.command()
def checklist(
    *,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 1 unless every item of rollout success holds.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Compute the guide's two checklists, item by item, from evidence."""
    manager = guard()
    desk = open_desk(manager)
    evidence = gather(
        desk,
        home=load_settings().home_folder,
        health=manager.get_health_status(),
        metrics=_counted(desk),
        monitoring=_MONITORING if _MONITORING.is_dir() else None,
    )
    lists = (rollout_success(evidence), rollback_success(evidence))
    if as_json:
        told = {"rollout": headline(evidence.state), "checklists": [each.to_dict() for each in lists]}
        print(json.dumps(told))  # noqa: T201 - exactly this, whatever the terminal
    else:
        OUT.print(Text.assemble(("rollout  ", "dim"), headline(evidence.state)))
        for each in lists:
            _show(each)
        OUT.print(Text("\n[x] holds   [-] does not hold   [?] not known: no tick without evidence", "dim"))
    if strict and not lists[0].holds:
        raise typer.Exit(1)


def _counted(desk: Desk) -> int | None:
    from tasks.metrics import load  # noqa: PLC0415 - a Prometheus client, which no other command needs

    try:
        return load(desk.store).queries
    except StoreError:
        return None


def _show(each: Checklist) -> None:
    held = sum(item.answer is Answer.YES for item in each.items)
    OUT.print()
    OUT.print(Text.assemble((each.name, "bold"), (f"  {held} of {len(each.items)}", "dim")))
    for item in each.items:
        sign, style = _SIGNS[item.answer]
        OUT.print(Text.assemble((sign, style), " ", item.title))
        for finding in item.findings:
            mark = "" if finding.answer is item.answer else f"{finding.answer.value}: "
            OUT.print(Padding(Text(f"{mark}{finding.text}", "dim"), (0, 0, 0, 4)))

"""What `set-flags` leaves in the Prefect UI: the flags before and after, and what holds now."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from prefect.artifacts import create_markdown_artifact

from core.fallbacks import RedoFallbackManager

KILL_SWITCH = "kill switch"


@dataclass(frozen=True, slots=True)
class FlagsSeen:
    """The flags in force at one moment.

    Attributes:
        values: each flag's value.
        sources: where each value comes from, as in `core.flags.FlagSource`.
        kill_switches: names of the kill switches that are on.
    """

    values: dict[str, object]
    sources: dict[str, str]
    kill_switches: tuple[str, ...]

    @property
    def shown(self) -> dict[str, str]:
        """The values and the kill switch, for people."""
        switches = ", ".join(self.kill_switches)
        return {
            **{name: _shown(value) for name, value in self.values.items()},
            KILL_SWITCH: f"on ({switches})" if switches else "off",
        }

    def as_dict(self) -> dict[str, Any]:
        """The flags as JSON values."""
        return asdict(self) | {"kill_switches": list(self.kill_switches)}


def seen_flags(manager: RedoFallbackManager) -> FlagsSeen:
    """The flags that are in force now."""
    manager.refresh()
    view = manager.flag_view()
    return FlagsSeen(
        dict(view.flags.as_dict()), {flag.name: flag.source.value for flag in view.resolved}, tuple(view.killed)
    )


def flag_markdown(before: FlagsSeen, after: FlagsSeen, *, actor: str, reason: str) -> str:
    """The change in Markdown: a row a flag, what is new in bold."""
    rows = []
    for (name, old), new in zip(before.shown.items(), after.shown.values(), strict=True):
        source = after.sources.get(name, "").replace("_", " ")
        rows.append(f"| {name} | {old} | {new if old == new else f'**{new}**'} | {source} |")
    changed = "The flags were changed" if before.shown != after.shown else "Nothing was changed"
    note = ""
    if after.kill_switches:
        note = "\nA kill switch is on: until it is lifted everything is off, whatever the flags say.\n"
    return (
        f"## {changed}\n\nBy {_plain(actor)}: {_plain(reason)}\n{note}\n"
        "| flag | before | now in force | comes from |\n|---|---|---|---|\n" + "\n".join(rows) + "\n"
    )


def publish_flags(before: FlagsSeen, after: FlagsSeen, *, actor: str, reason: str) -> None:
    """Leave the artifact `redo-flags`."""
    create_markdown_artifact(
        key="redo-flags",
        markdown=flag_markdown(before, after, actor=actor, reason=reason),
        description="The flags before and after the last run of set-flags.",
    )


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:g} %"


def _plain(text: str) -> str:
    """What somebody typed, as text: nothing in it is taken for Markdown."""
    return "".join(f"\\{sign}" if sign in r"\`*_{}[]()#+!|<>~&" else sign for sign in " ".join(text.split()))

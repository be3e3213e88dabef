"""What the commands about the guard have in common: the guard itself, where its state lives, how its values look."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated
from urllib.parse import urlsplit, urlunsplit

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from core.fallbacks import RedoFallbackManager, get_fallback_manager
from core.flags import DEFINITIONS
from deployments.cli.terminal import ERRORS
from tasks.settings import load_settings, prefect_api_url, prepare_prefect_environment

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
Actor = Annotated[str | None, typer.Option(help="Who does it. Default: this user on this host.")]
Why = Annotated[str | None, typer.Option("--reason", help="Why, for the history.")]

HIDDEN = "********"
"""What is printed in the place of a secret."""


def guard() -> RedoFallbackManager:
    """The guard of this process, over the state that it is configured to share.

    Raises:
        ConfigError, FlagError: the environment has a setting or a flag that cannot be used.
    """
    prepare_prefect_environment(PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL="CRITICAL")
    return get_fallback_manager()


@dataclass(frozen=True, slots=True)
class StatePlace:
    """Where flags, breakers and health are: `prefect_blocks` at an address, or a `sqlite_file` at a path."""

    kind: str
    place: str

    def as_dict(self) -> dict[str, str]:
        """The place as JSON has it."""
        return {"kind": self.kind, "place": self.place}

    def __str__(self) -> str:
        return f"{'Prefect blocks at' if self.kind == 'prefect_blocks' else 'SQLite file'} {self.place}"


def state_place() -> StatePlace:
    """Where this process is configured to share its state; a password in an address is hidden.

    Raises:
        ConfigError: a setting cannot be used.
    """
    url = prefect_api_url()
    if url is None:
        return StatePlace("sqlite_file", str(load_settings().home_folder / "state.sqlite"))
    return StatePlace("prefect_blocks", without_password(url))


def without_password(url: str) -> str:
    """The address with its user and password hidden, where it has any."""
    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{HIDDEN}@{host}")) if at and user else url


def flag_table(rows: Iterable[tuple[str, object, str]], *, with_default: bool = False) -> Table:
    """Flags with their values and where each comes from."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("flag", no_wrap=True)
    table.add_column("value", justify="right", no_wrap=True)
    if with_default:
        table.add_column("default", justify="right", no_wrap=True, style="dim")
    table.add_column("from", overflow="fold")
    for name, value, source in rows:
        default = [shown(DEFINITIONS[name].default)] if with_default else []
        table.add_row(name, shown(value), *default, Text(source))
    return table


def shown(value: object) -> str:
    """A value as the command line takes it."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def moment(text: str) -> str:
    """A time in ISO 8601, for people: in UTC, to the second."""
    return f"{datetime.fromisoformat(text).astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def warn_if_stale(because: object) -> None:
    """Say that what was printed may be old, and why."""
    if because is not None:
        ERRORS.print(Text(f"this may be old: {because}", "yellow"))

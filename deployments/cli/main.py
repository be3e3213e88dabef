"""The `redo` command: its options, its errors, its exit codes.

0    done
1    the run failed; what was done is kept, and the same batch id takes it up
2    what was given cannot be used: one line says what, where, and what was expected
130  interrupted; as 1
143  ended by SIGTERM; as 1
"""

from __future__ import annotations

import sys
from importlib.metadata import version
from typing import Annotated

import typer

import deployments.cli.ledger_drain  # each adds its commands to ledger_app or rollout_app
import deployments.cli.ledger_forget
import deployments.cli.ledger_replay
import deployments.cli.ledger_upkeep
import deployments.cli.rollout_checklist
import deployments.cli.rollout_orders  # noqa: F401 - the last one is what Ruff counts as unused
from core.errors import InputError, RedoError
from deployments.cli.batches import demo, run
from deployments.cli.config import config
from deployments.cli.deploy import deploy
from deployments.cli.flags import flags_app
from deployments.cli.ledger import ledger_app
from deployments.cli.rollout import rollout_app
from deployments.cli.serve import serve
from deployments.cli.status import reset, status
from deployments.cli.terminal import ERRORS, show_error
from deployments.cli.up import up

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(demo)
app.command()(run)
app.command()(serve)
app.command()(up)
app.command()(deploy)
app.command()(status)
app.command()(config)
app.command()(reset)
app.add_typer(flags_app, name="flags")
app.add_typer(ledger_app, name="ledger")
app.add_typer(rollout_app, name="rollout")


class _Debug:
    """Whether a failure shows its traceback; set by `--debug` alone."""

    on = False


def _print_version(asked: bool) -> None:  # noqa: FBT001 - called by Typer
    if asked:
        typer.echo(f"redo {version('redo')}")
        raise typer.Exit


@app.callback()
def options(
    *,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of a failure.")] = False,
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """REDO chooses the evidence that a language model should read, and records every decision."""
    _Debug.on = debug


def main() -> None:
    """Run the command line; the entry point of `redo`."""
    try:
        app()
    except RedoError as error:
        if _Debug.on:
            raise
        show_error(str(error))
        sys.exit(2 if isinstance(error, InputError) else 1)
    except Exception as error:
        if _Debug.on:
            raise
        show_error(f"{type(error).__name__}: {error}")
        ERRORS.print("`redo --debug` before the command shows where it came from.", style="dim")
        sys.exit(1)

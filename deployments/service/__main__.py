"""`python -m deployments.service`: the same as `redo serve`, for images that have no scripts."""

from __future__ import annotations

import sys

import typer

from core.errors import InputError, RedoError
from deployments.cli.serve import serve
from deployments.cli.terminal import show_error

if __name__ == "__main__":
    app = typer.Typer(pretty_exceptions_enable=False, rich_markup_mode=None)
    app.command()(serve)
    try:
        app()
    except RedoError as error:
        show_error(str(error))
        sys.exit(2 if isinstance(error, InputError) else 1)

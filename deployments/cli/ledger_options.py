"""Options that the commands of `redo ledger` share."""

from __future__ import annotations

from datetime import date
from typing import Annotated

import typer

from core.errors import InputError

Ledger = Annotated[str | None, typer.Option(help="s3://bucket/prefix or a path. Default: LEDGER_URI.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]
Since = Annotated[
    str | None,
    typer.Option(metavar="YYYY-MM-DD", help="Look at batches of this day and later only; opens no other file."),
]


def day(text: str | None) -> date | None:
    """The day of `--since`. Raises InputError where it is none."""
    try:
        return None if text is None else date.fromisoformat(text)
    except ValueError:
        raise InputError(f"--since {text!r}: expected a day, as 2026-11-25") from None

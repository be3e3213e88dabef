"""`redo run` and `redo demo`: a batch through the same flow that the deployments run."""

from __future__ import annotations

import io
import json
import secrets
from collections.abc import Mapping
from contextlib import nullcontext, redirect_stdout
from dataclasses import asdict
from importlib.metadata import version
from typing import Annotated, Any

import typer

from core.clock import SystemClock
from core.digest import content_digest, text_digest
from core.errors import FlagError, InputError
from core.flags import FlagValue, parse_flag_text
from deployments.cli.interrupts import leaving_at_once
from deployments.cli.progress import progress_of
from deployments.cli.terminal import ERRORS, show_error, show_summary
from tasks.run_folder import RunFolder
from tasks.run_spec import RunRequest
from tasks.settings import Settings, load_settings, prepare_prefect_environment

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
Verbose = Annotated[bool, typer.Option("--verbose", help="Show Prefect's log instead of the progress bar.")]


def run(  # noqa: PLR0913 - one parameter an option
    *,
    queries: Annotated[str, typer.Option(help="Queries: JSONL, CSV or Parquet; a path or s3://.")],
    passages: Annotated[
        str | None, typer.Option(help="Passages to search: JSONL or Parquet. Without them queries bring candidates.")
    ] = None,
    labels: Annotated[str | None, typer.Option(help="Labels, to measure the quality of both arms.")] = None,
    batch_id: Annotated[
        str | None, typer.Option(help="Names the batch; an unfinished one is taken up. Default: a new id.")
    ] = None,
    output: Annotated[
        str | None, typer.Option(help="Where the output goes: .jsonl or .parquet. Default: the run's folder.")
    ] = None,
    ledger: Annotated[str | None, typer.Option(help="Where traces go. Default: LEDGER_URI.")] = None,
    chunk_size: Annotated[int | None, typer.Option(min=1, max=500, help="Queries of one task run.")] = None,
    shadow: Annotated[
        bool, typer.Option("--shadow", help="Compute both selections, serve legacy, trace both.")
    ] = False,
    flag: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="A flag for this run only; may be repeated.")
    ] = None,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Choose evidence for every query of a batch."""
    request = RunRequest(
        batch_id=batch_id or _new_batch_id(),
        queries=queries,
        passages=passages,
        labels=labels,
        output=output,
        ledger=ledger,
        chunk_size=chunk_size,
        shadow=shadow,
        flags=dict(_flag(text) for text in flag or ()),
    )
    _run(request, load_settings(), as_json=as_json, verbose=verbose)


def demo(*, as_json: Json = False, verbose: Verbose = False) -> None:
    """Answer questions about the packages installed here, from their own documentation, in shadow.

    The batch's id comes from its content and the settings: the demo, run again, takes up what is left, or finds nothing
    to do.
    """
    try:
        from examples.installed_docs import main as build  # noqa: PLC0415 - only here, and only in the repository
    except ModuleNotFoundError:
        raise InputError("the demo needs the repository: an installed package has no examples") from None
    settings = load_settings()
    folder = settings.home_folder / "demo"
    batch = {name: folder / f"{name}.jsonl" for name in ("queries", "passages", "labels")}
    with ERRORS.status("reading the documentation of the installed packages"), redirect_stdout(io.StringIO()):
        code = build([str(folder)])
    if code:
        raise InputError(f"the documentation of the installed packages could not be read into {folder}")
    content = [text_digest(path.read_text()) for path in batch.values()]
    digest = content_digest([content, asdict(settings.pipeline), version("redo")])
    request = RunRequest(
        batch_id=f"demo-{digest[:8]}",
        queries=str(batch["queries"]),
        passages=str(batch["passages"]),
        labels=str(batch["labels"]),
        shadow=True,
    )
    _run(request, settings, as_json=as_json, verbose=verbose)


def _run(request: RunRequest, settings: Settings, *, as_json: bool, verbose: bool) -> None:
    request.check()  # before Prefect starts, which takes seconds
    prepare_prefect_environment(
        PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL="INFO" if verbose else "CRITICAL",
        PREFECT_SERVER_LOGGING_LEVEL="CRITICAL",
    )
    quiet = as_json or verbose
    folder = RunFolder.of(settings.home_folder, request.batch_id)
    with leaving_at_once(request.batch_id), nullcontext() if quiet else progress_of(folder, console=ERRORS):
        summary = _run_flow(request)
    for note in summary["notes"] if as_json else ():
        show_error(note)
    if as_json:
        print(json.dumps(summary))  # noqa: T201 - exactly this, whatever the terminal
    else:
        show_summary(summary, default_ledger=settings.ledger)


def _run_flow(request: RunRequest) -> Mapping[str, Any]:
    from flows.run_batch import run_batch  # noqa: PLC0415 - Prefect takes seconds to import and reads the environment

    summary: Mapping[str, Any] = run_batch(**asdict(request))
    return summary


def _flag(text: str) -> tuple[str, FlagValue]:
    name, separator, value = text.partition("=")
    if not separator:
        raise FlagError(f"--flag {text}: expected NAME=VALUE")
    return name, parse_flag_text(name, value)


def _new_batch_id() -> str:
    return f"{SystemClock().utc_now():%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"

"""`redo up`: everything on this machine with one command: Prefect server, worker, deployments and the HTTP service."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, Final

import typer
from rich.table import Table
from rich.text import Text

from core.clock import SystemClock
from core.errors import InputError
from deployments.cli.children import Children, showing_the_tail
from deployments.cli.deploy import BATCH_FILES, batch_files, show_deployments
from deployments.cli.shared_state import Json
from deployments.cli.terminal import ERRORS, OUT
from tasks.settings import PREFECT_DEFAULTS, load_settings

_SERVER_S: Final = 180.0  # the first start makes the tables: 25 s on two cores, and more under load
_START_S: Final = 90.0
_POOL: Final = "redo"
_EXAMPLE: Final = Path(__file__).resolve().parents[2] / "examples" / "towns"


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """Where everything is."""

    ui: str
    api: str
    service: str

    @classmethod
    def of(cls, host: str, *, prefect_port: int, port: int) -> Addresses:
        """The addresses on this machine."""
        prefect = f"http://{host}:{prefect_port}"
        return cls(ui=prefect, api=f"{prefect}/api", service=f"http://{host}:{port}")


def up(
    *,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65_535, help="Port of the HTTP service.")] = 8000,
    prefect_port: Annotated[int, typer.Option(min=1, max=65_535, help="Port of Prefect's UI and API.")] = 4200,
    passages: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Passages that /chat searches. Default: the example's.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Start Prefect's server, a worker, the deployments and the HTTP service, until Ctrl-C."""
    if passages is not None and not passages.is_file():
        raise InputError(f"passages file not found: {passages}")
    for number, option in ((prefect_port, "--prefect-port"), (port, "--port")):
        _check_free(host, number, option)
    home = load_settings().home_folder
    there = Addresses.of(host, prefect_port=prefect_port, port=port)
    environment = _environment(there, home, prefect_port)
    os.environ.update(environment)  # before Prefect is imported here, which reads its settings then
    children = Children(home / "logs", SystemClock())
    with showing_the_tail(), _ending(children):
        report = _start(children, there, environment, passages)
        if as_json:
            print(json.dumps(report | {"logs": str(children.logs)}), flush=True)  # noqa: T201 - exactly this
        else:
            _announce(there, children.logs)
        children.watch()


def _start(
    children: Children, there: Addresses, environment: Mapping[str, str], passages: Path | None
) -> dict[str, Any]:
    """Start everything, in the order in which one needs the other."""
    prefect = [sys.executable, "-m", "prefect"]
    host, _, port = there.ui.removeprefix("http://").rpartition(":")
    with ERRORS.status("starting Prefect's server; the first time takes half a minute"):
        server = children.start("server", [*prefect, "server", "start", "--host", host, "--port", port], environment)
        children.wait_for(server, lambda: _answers(f"{there.api}/health"), limit_s=_SERVER_S)
    with ERRORS.status("deploying"):
        report = _deploy(there)
    with ERRORS.status("starting the worker and the service"):
        worker = [*prefect, "worker", "start", "--pool", _POOL, "--name", "redo-up"]
        children.start("worker", worker, environment)
        searched = passages or (_EXAMPLE / "passages.jsonl")
        more = ["--passages", str(searched)] if searched.is_file() else []
        host, _, port = there.service.removeprefix("http://").rpartition(":")
        serve = [sys.executable, "-m", "deployments.service", "--host", host, "--port", port, *more]
        service = children.start("service", serve, environment)
        children.wait_for(service, lambda: _answers(f"{there.service}/healthz"), limit_s=_START_S)
    return report | {"urls": asdict(there)}


def _deploy(there: Addresses) -> dict[str, Any]:
    from deployments.cli.deployed import deploy_all, prefect_file  # noqa: PLC0415 - Prefect takes seconds to import

    example = {
        name: _EXAMPLE / file for name, file in zip(BATCH_FILES, ("queries.jsonl", "passages.jsonl"), strict=True)
    }
    files = batch_files({name: path for name, path in example.items() if path.is_file()})
    off = ["check-health"]  # the service checks too, and a process every 30 s is much for a laptop
    if not files[BATCH_FILES[0]]:
        off.append("run-batch")
    report = deploy_all(prefect_file(None), api_url=there.api, variables=files, off_at_first=off)
    show_deployments(report, console=ERRORS)
    return report.as_dict()


def _environment(there: Addresses, home: Path, prefect_port: int) -> dict[str, str]:
    """The environment of all processes. Prefect's files go to REDO_HOME unless the user has said where."""
    ours = {
        "PREFECT_API_URL": there.api,
        "PREFECT_UI_API_URL": there.api,
        "PREFECT_SERVER_API_PORT": str(prefect_port),
        "REDO_HOME": str(home),
    }
    wished = {"PREFECT_HOME": str(home / "prefect"), "PREFECT_WORKER_QUERY_SECONDS": "2", **PREFECT_DEFAULTS}
    return wished | os.environ | ours


@contextmanager
def _ending(children: Children) -> Iterator[None]:
    """End all processes when the block ends, however it ends: Ctrl-C and SIGTERM are orders, not failures."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    except KeyboardInterrupt:
        ERRORS.print(Text("\nstopping"), style="dim")
    finally:
        for number in before:
            signal.signal(number, signal.SIG_IGN)  # one order is enough
        children.end()
        for number, handler in before.items():
            signal.signal(number, handler)


def _check_free(host: str, port: int, option: str) -> None:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise InputError(
                f"cannot listen on {host}, port {port}: {error.strerror or error}; {option} takes another port"
            ) from None


def _answers(url: str) -> bool:
    """Whether a GET is answered with 200."""
    host, _, path = url.removeprefix("http://").partition("/")
    connection = http.client.HTTPConnection(host, timeout=5)
    try:
        connection.request("GET", f"/{path}")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _announce(there: Addresses, logs: Path) -> None:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    table.add_row("Prefect UI", Text(f"{there.ui}/deployments", "bold"))
    table.add_row("service", Text(there.service, "bold"))
    table.add_row("logs", Text(str(logs)))
    OUT.print()
    OUT.print(table)
    OUT.print(Text("\nIn another terminal, so that `redo` speaks to the same flags:", "dim"))
    OUT.print(Text(f"  export PREFECT_API_URL={there.api}", "cyan"), soft_wrap=True)
    OUT.print(Text("\nCtrl-C ends all of it.", "dim"))

"""`redo serve`: the HTTP service."""

from __future__ import annotations

import socket
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.text import Text

from core.errors import InputError
from deployments.cli.terminal import ERRORS

_SHUTDOWN_S: Final = 10


def serve(
    *,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port; 0 takes any that is free.")] = 8000,
    passages: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Passages that /chat searches: JSONL or Parquet.")
    ] = None,
) -> None:
    """Serve flags, health, metrics and answers over HTTP until Ctrl-C."""
    import uvicorn  # noqa: PLC0415 - together a second that other commands do not need

    from deployments.service.app import create_app  # noqa: PLC0415
    from deployments.service.wired import wired  # noqa: PLC0415

    with _bound(host, port) as listener:  # an address that is taken shows before an index is built, which takes minutes
        services = wired(passages)
        server = uvicorn.Server(
            uvicorn.Config(
                create_app(services),
                log_level="warning",
                access_log=False,
                proxy_headers=False,  # who asks is who has connected, whatever a header says
                server_header=False,
                timeout_graceful_shutdown=_SHUTDOWN_S,
            )
        )
        listener.listen()  # so that whoever reads the next line can connect
        _announce(listener, has_token=services.admin_token is not None, has_passages=services.answers is not None)
        with suppress(KeyboardInterrupt):  # it has ended in order by then
            server.run(sockets=[listener])


def _bound(host: str, port: int) -> socket.socket:
    """A socket at the address, which nobody can connect to before the server listens.

    Raises:
        InputError: the address cannot be had.
    """
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        raise InputError(f"cannot listen on {host}, port {port}: {error.strerror or error}") from None
    return bound


def _announce(listener: socket.socket, *, has_token: bool, has_passages: bool) -> None:
    """Say where it answers: a line for people and for who has asked for any port."""
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    ERRORS.print(Text.assemble(("redo: ", "bold"), f"http://{shown}:{port}", "  Ctrl-C ends it"), soft_wrap=True)
    if not has_passages:
        ERRORS.print("/chat has nothing to search; --passages PATH gives it passages", style="yellow")
    if not has_token:
        ERRORS.print("REDO_ADMIN_TOKEN is not set: /admin and /debug answer this machine only", style="dim")

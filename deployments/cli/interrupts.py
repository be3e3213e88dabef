"""Ctrl-C and SIGTERM while a batch runs: leave at once, and leave nothing behind.

What is done is in the run's folder, so there is nothing to wind up. Without a Prefect server of its own, Prefect starts
a temporary one for the run. Ctrl-C in a terminal reaches that server too, and Prefect then spends minutes on telling it
what happened; SIGTERM leaves it running for good. So it is stopped here, and the process ends. Where a server is
configured Prefect is left to tell it, unless the user asks twice.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from rich.text import Text

from deployments.cli.terminal import ERRORS


@contextmanager
def leaving_at_once(batch_id: str) -> Iterator[None]:
    """Handle both signals so until the block ends. The exit code is 130 after Ctrl-C, 143 after SIGTERM."""
    asked_before = False

    def leave(number: int, _frame: FrameType | None) -> None:
        nonlocal asked_before
        server = sys.modules.get("prefect.server.api.server")
        temporary = None if server is None else server.SubprocessASGIServer()
        if not asked_before and number == signal.SIGINT and (temporary is None or not temporary.running):
            asked_before = True
            raise KeyboardInterrupt
        ERRORS.show_cursor()
        hint = f" interrupted; what is done is kept, and the same command takes it up (--batch-id {batch_id})"
        ERRORS.print(Text.assemble("\n", ("redo:", "bold red"), hint), soft_wrap=True)
        if temporary is not None:
            temporary.stop()
        os._exit(128 + number)

    before = {number: signal.signal(number, leave) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

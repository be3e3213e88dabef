"""The progress of a run, read from its folder while the flow works: the folder says how far it is, whoever works."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from core.errors import RedoError
from tasks.run_folder import RunFolder, read_json
from tasks.run_spec import RunSpec

_EVERY_S = 0.2


class _Rate(ProgressColumn):
    """Queries a second."""

    def render(self, task: Task) -> Text:
        """The speed as text."""
        return Text("" if task.speed is None else f"{task.speed:,.0f}/s", "dim")


@contextmanager
def progress_of(folder: RunFolder, *, console: Console) -> Iterator[None]:
    """Show how far the run in this folder is, until the block ends."""
    done = Event()
    with Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TextColumn("queries"),
        _Rate(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    ) as progress:
        watcher = Thread(target=_watch, args=(folder, progress, done), daemon=True)
        watcher.start()
        try:
            yield
        finally:
            done.set()
            watcher.join()


def _watch(folder: RunFolder, progress: Progress, done: Event) -> None:
    task = progress.add_task("starting Prefect, reading the batch", total=None)
    spec: RunSpec | None = None
    counted: set[int] = set()
    while not done.wait(_EVERY_S):
        if spec is None:
            spec = _spec(folder)
            if spec is None:
                continue
            progress.reset(task, total=spec.queries, description="choosing evidence")
        for number in range(spec.chunks):
            if number not in counted and folder.chunk(number).done.exists():
                counted.add(number)
                progress.advance(task, read_json(folder.chunk(number).done)["queries"])


def _spec(folder: RunFolder) -> RunSpec | None:
    try:
        return RunSpec.load(folder.spec)
    except (FileNotFoundError, RedoError):  # not loaded yet; a bad one is the flow's to report
        return None

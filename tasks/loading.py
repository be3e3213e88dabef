"""Loading a batch: read and check the input, build the passage index, lay the chunks out."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from importlib.metadata import version
from itertools import islice
from pathlib import Path

from core.adapters.bm25 import ensure_index, index_key
from core.adapters.intake import read_passages, read_queries
from core.adapters.quarantine import QuarantinedRecord, QuarantineFile
from core.clock import Clock
from core.errors import BatchError
from core.flags import KillSwitches, resolve
from core.model import Passage, Query
from core.records import query_record
from ledger.location import parse_location
from ledger.objects import download
from tasks.run_folder import RunFolder, read_rows, write_rows
from tasks.run_spec import RunRequest, RunSpec
from tasks.settings import Settings, load_environment_flags
from tasks.wiring import build_pipeline

_PASSAGE_QUARANTINE = "quarantine.jsonl"


def load_batch(request: RunRequest, settings: Settings, *, clock: Clock) -> RunSpec:
    """Read the input and lay the chunks out in the run's folder; a batch that is laid out already is taken up.

    Raises:
        BatchError: the input cannot be used, or the batch id belongs to other input or another configuration.
    """
    request.check()
    folder = RunFolder.of(settings.home_folder, request.batch_id)
    folder.path.mkdir(parents=True, exist_ok=True)
    queries = _local(request.queries, folder)
    passages = None if request.passages is None else _local(request.passages, folder)
    inputs = {"queries": _file_digest(queries)}
    if passages is not None:
        inputs["passages"] = _file_digest(passages)
    if folder.spec.exists():
        return _taken_up(RunSpec.load(folder.spec), request, settings, inputs)

    with QuarantineFile(folder.quarantine) as quarantine:
        index = None
        if passages is not None:
            index = _index(passages, Path(str(request.passages)).name, settings.home_folder / "indexes")
            _report_passages(index, quarantine)
        bad_passages = quarantine.count
        usable = read_queries(
            queries, quarantine=quarantine, name=Path(request.queries).name, need_candidates=passages is None
        )
        chunk_size = request.chunk_size or settings.chunk_size
        counts = _lay_out(usable, folder, chunk_size)
        quarantined = {"passage": bad_passages, "query": quarantine.count - bad_passages}
    flags = resolve(
        kill=KillSwitches(),
        run=request.flags,
        overrides=(),
        stored={},
        environment=load_environment_flags(),
        now=clock.utc_now(),
    ).flags
    spec = RunSpec(
        batch_id=request.batch_id,
        inputs=inputs,
        index=None if index is None else str(index),
        config=asdict(settings.pipeline),
        versions=build_pipeline(index, settings.pipeline).versions,
        flags=flags.as_dict(),
        shadow=request.shadow,
        ledger=(request.ledger or settings.ledger) if flags.ledger_enabled or request.shadow else None,
        chunk_size=chunk_size,
        chunks=len(counts),
        queries=sum(counts),
        quarantined=quarantined,
        started_at=clock.utc_now().isoformat(),
        code_version=version("redo"),
    )
    spec.save(folder.spec)
    return spec


def _taken_up(spec: RunSpec, request: RunRequest, settings: Settings, inputs: dict[str, str]) -> RunSpec:
    """The batch as it was begun, if the request asks for the same; flags and ledger stay as they were pinned."""
    differs = [
        what
        for what, same in (
            ("queries", spec.inputs["queries"] == inputs["queries"]),
            ("passages", spec.inputs.get("passages") == inputs.get("passages")),
            ("settings", spec.config == asdict(settings.pipeline)),
            ("--shadow", spec.shadow == request.shadow),
            ("--chunk-size", request.chunk_size in {None, spec.chunk_size}),
            ("--flag", all(spec.flags[name] == value for name, value in request.flags.items())),
            ("--ledger", request.ledger in {None, spec.ledger}),
        )
        if not same
    ]
    if differs:
        raise BatchError(
            f"batch id {spec.batch_id!r} was begun with other {', '.join(differs)}; "
            "choose another id, or repeat the run as it was begun to take it up"
        )
    return spec


def _local(place: str, folder: RunFolder) -> Path:
    """A local copy of an input; one that is local already is read where it lies."""
    location = parse_location(place)
    if isinstance(location, Path):
        return location
    copy = folder.path / "inputs" / Path(place).name
    download(place, copy)
    return copy


def _file_digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _index(passages: Path, name: str, indexes: Path) -> Path:
    """The passage index, which keeps the records that could not be used beside it for the next run's report."""

    def build(making: Path) -> Iterator[Passage]:
        with QuarantineFile(making / _PASSAGE_QUARANTINE) as quarantine:
            yield from read_passages(passages, quarantine=quarantine, name=name)

    return ensure_index(indexes, index_key(passages), build)


def _report_passages(index: Path, quarantine: QuarantineFile) -> None:
    kept = index / _PASSAGE_QUARANTINE
    if kept.exists():
        for row in read_rows(kept):
            quarantine.add(QuarantinedRecord(**row))


def _lay_out(queries: Iterable[Query], folder: RunFolder, chunk_size: int) -> list[int]:
    """Write the chunks' queries; returns how many each has. Nothing is seen until all are written."""
    source = iter(queries)
    final = folder.path / "chunks"
    making = RunFolder(Path(tempfile.mkdtemp(prefix=".chunks-", dir=folder.path)))
    try:
        counts: list[int] = []
        while chunk := list(islice(source, chunk_size)):
            write_rows(making.chunk(len(counts)).queries, map(query_record, chunk))
            counts.append(len(chunk))
        shutil.rmtree(final, ignore_errors=True)  # left by a run that was killed before it had loaded
        (making.path / "chunks").rename(final)
    finally:
        shutil.rmtree(making.path, ignore_errors=True)
    return counts

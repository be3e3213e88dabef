"""Loading a batch: read and check the input, build the passage index, lay the chunks out."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

from core.adapters.intake import read_queries
from core.adapters.quarantine import QuarantineFile
from core.clock import Clock
from core.errors import BatchError, StoreError
from core.fallbacks import get_fallback_manager
from core.fallbacks.stored_flags import FLAGS
from core.flags import Flags
from core.model import Query
from core.records import query_record
from core.rollout.state import RolloutState, Status, rollout_of
from ledger.level import Level
from ledger.location import parse_location
from ledger.objects import download
from tasks.passage_index import passage_index
from tasks.run_folder import RunFolder, write_rows
from tasks.run_spec import RunRequest, RunSpec
from tasks.settings import Settings
from tasks.wiring import build_pipeline, hash_key, state_store, trace_policy

_UNDER_WAY = (Status.RUNNING, Status.AWAITING_APPROVAL)


def load_batch(request: RunRequest, settings: Settings, *, clock: Clock) -> RunSpec:
    """Read the input and lay the chunks out in the run's folder; a batch that is laid out already is taken up.

    Raises:
        BatchError: the input cannot be used, or the batch id belongs to other input or another configuration.
        ConfigError: the ledger is on, and what it masks, or hashes with, cannot be used.
    """
    request.check()
    folder = RunFolder.of(settings.home_folder, request.batch_id)
    folder.path.mkdir(parents=True, exist_ok=True)
    queries = _local(request.queries, folder, "queries")
    passages = None if request.passages is None else _local(request.passages, folder, "passages")
    inputs = {"queries": _file_digest(queries)}
    if passages is not None:
        inputs["passages"] = _file_digest(passages)
    if folder.spec.exists():
        return _taken_up(folder, request, settings, inputs, passages)

    with QuarantineFile(folder.quarantine) as quarantine:
        index = None if passages is None else _index(passages, request, settings, quarantine)
        bad_passages = quarantine.count
        usable = read_queries(
            queries, quarantine=quarantine, name=Path(request.queries).name, need_candidates=passages is None
        )
        chunk_size = request.chunk_size or settings.chunk_size
        counts = _lay_out(usable, folder, chunk_size)
        quarantined = {"passage": bad_passages, "query": quarantine.count - bad_passages}
    manager = get_fallback_manager()
    manager.refresh()  # they hold for the whole run: what another run of this process has seen may be old
    flags = manager.flag_view(request.flags).flags
    rollout = _rollout()
    shadow = request.shadow or (not request.flags and _wants_shadow(rollout))
    has_ledger = settings.ledger_level is not Level.OFF and (flags.ledger_enabled or shadow)
    if has_ledger:  # what is wrong with them shows now, not when the first traces are lost
        trace_policy(settings)
        hash_key(settings)
    spec = RunSpec(
        batch_id=request.batch_id,
        inputs=inputs,
        index=None if index is None else str(index),
        config=asdict(settings.pipeline),
        versions=build_pipeline(index, settings.pipeline).versions,
        flags=flags.as_dict(),
        shadow=shadow,
        rollout=None if rollout is None else _where_it_stands(rollout, flags),
        ledger=_ledger(request, settings) if has_ledger else None,
        chunk_size=chunk_size,
        chunks=len(counts),
        queries=sum(counts),
        quarantined=quarantined,
        started_at=clock.utc_now().isoformat(),
        code_version=version("redo"),
    )
    spec.save(folder.spec)
    return spec


def _taken_up(
    folder: RunFolder, request: RunRequest, settings: Settings, inputs: dict[str, str], passages: Path | None
) -> RunSpec:
    """The batch as it was begun, if the request asks for the same; flags and ledger stay as they were pinned."""
    spec = RunSpec.load(folder.spec)
    same_ledger = spec.ledger is None or request.ledger is None or spec.ledger == _ledger(request, settings)
    _refuse(
        spec,
        {
            "queries": spec.inputs["queries"] == inputs["queries"],
            "passages": spec.inputs.get("passages") == inputs.get("passages"),
            "settings": spec.config == asdict(settings.pipeline),
            "--shadow": spec.shadow or not request.shadow,
            "--chunk-size": request.chunk_size in {None, spec.chunk_size},
            "--flag": all(spec.flags[name] == value for name, value in request.flags.items()),
            "--ledger": same_ledger,
        },
    )
    if passages is not None:  # indexes are a cache: this one may be gone, or have moved with REDO_HOME
        with tempfile.TemporaryDirectory() as known, QuarantineFile(Path(known) / folder.quarantine.name) as quarantine:
            index = str(_index(passages, request, settings, quarantine))
        if index != spec.index:
            spec = replace(spec, index=index)
            spec.save(folder.spec)
    versions = build_pipeline(None if spec.index is None else Path(spec.index), settings.pipeline).versions
    _refuse(spec, {"version of REDO": (spec.versions, spec.code_version) == (versions, version("redo"))})
    return spec


def _refuse(spec: RunSpec, same: Mapping[str, bool]) -> None:
    differs = [what for what, is_same in same.items() if not is_same]
    if differs:
        raise BatchError(
            f"batch id {spec.batch_id!r} was begun with other {', '.join(differs)}; "
            "choose another id, or repeat the run as it was begun to take it up"
        )


def _rollout() -> RolloutState | None:
    """The rollout that is under way; none where it cannot be read, for no run fails because of it."""
    try:
        stored = state_store().load(FLAGS)
        return None if stored is None else rollout_of(stored.value)
    except StoreError:
        return None


def _wants_shadow(rollout: RolloutState | None) -> bool:
    """Whether the rollout stands at a step that gets its evidence from shadow runs."""
    return rollout is not None and rollout.at.shadow and rollout.status in _UNDER_WAY


def _where_it_stands(rollout: RolloutState, flags: Flags) -> dict[str, Any]:
    """What the gates go by: what a run says of a step counts for that step alone."""
    return {
        "phase": rollout.phase.value,
        "attempt": rollout.attempt,
        "step": rollout.step,
        "percentage": flags.rollout_percentage,
    }


def _ledger(request: RunRequest, settings: Settings) -> str:
    """Where the ledger is, as a place that other processes find from any folder."""
    return str(parse_location(request.ledger or settings.ledger))


def _local(place: str, folder: RunFolder, what: str) -> Path:
    """A local copy of an input; one that is local already is read where it lies."""
    location = parse_location(place)
    if isinstance(location, Path):
        return location
    copy = folder.input(what, place)
    download(place, copy)
    return copy


def _file_digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _index(passages: Path, request: RunRequest, settings: Settings, quarantine: QuarantineFile) -> Path:
    name = Path(str(request.passages)).name
    return passage_index(
        passages, home=settings.home_folder, name=name, quarantine=quarantine, retriever=settings.retriever
    )


def _lay_out(queries: Iterable[Query], folder: RunFolder, chunk_size: int) -> list[int]:
    """Write the chunks' queries; returns how many each has. Nothing is seen until all are written."""
    source = iter(queries)
    final = folder.path / "chunks"
    for left in folder.path.glob(".chunks-*"):  # by a run that was killed here
        shutil.rmtree(left)
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

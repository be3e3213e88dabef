"""What a run is asked to do, and what it is once its input has been read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from pathlib import Path
from typing import Any

from core.digest import content_digest
from core.errors import BatchError
from core.flags import Flags, FlagValue, parse_flag
from core.pipeline import DetectorKind, PipelineConfig, RetrieverKind
from core.placement import PlacementPolicy
from ledger.location import parse_location
from tasks.run_folder import check_batch_id, read_json, write_json

QUERY_SUFFIXES = (".jsonl", ".ndjson", ".csv", ".parquet")
PASSAGE_SUFFIXES = (".jsonl", ".ndjson", ".parquet")
LABEL_SUFFIXES = QUERY_SUFFIXES
OUTPUT_SUFFIXES = (".jsonl", ".ndjson", ".parquet")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """What a run is asked to do.

    Attributes:
        batch_id: names the batch; a run with the id of an unfinished batch takes it up.
        queries, passages, labels: local paths or s3:// URIs. Without passages the queries bring candidates.
        output: where the output goes; the run's folder by default.
        ledger: where traces go; the configured ledger by default.
        chunk_size: queries of one chunk.
        shadow: compute both selections, serve legacy, trace both.
        flags: flags for this run only, by name.
    """

    batch_id: str
    queries: str
    passages: str | None = None
    labels: str | None = None
    output: str | None = None
    ledger: str | None = None
    chunk_size: int | None = None
    shadow: bool = False
    flags: Mapping[str, FlagValue] = field(default_factory=dict)

    def check(self) -> None:
        """Find what can be known to be wrong before anything is read.

        Raises:
            BatchError: an id, a file or a place that cannot be used; the message names it.
            FlagError: a flag that does not exist or cannot take its value.
            ConfigError: a URI of an unknown scheme.
        """
        check_batch_id(self.batch_id)
        _check_input("queries", self.queries, QUERY_SUFFIXES)
        if self.passages is not None:
            _check_input("passages", self.passages, PASSAGE_SUFFIXES)
        if self.labels is not None:
            _check_input("labels", self.labels, LABEL_SUFFIXES)
        if self.output is not None:
            self._check_output(self.output)
        if self.ledger is not None:
            parse_location(self.ledger)
        if self.chunk_size is not None and not 1 <= self.chunk_size <= 500:  # noqa: PLR2004 - as in the design
            raise BatchError(f"chunk size {self.chunk_size}: expected 1 to 500 queries")
        for name, value in self.flags.items():
            parse_flag(name, value)

    def _check_output(self, output: str) -> None:
        location = parse_location(output)
        _check_suffix("output", output, OUTPUT_SUFFIXES)
        for what, place in (("queries", self.queries), ("passages", self.passages), ("labels", self.labels)):
            if place is not None and parse_location(place) == location:
                raise BatchError(f"output: {output} is the {what} file, expected a place of its own")
        if not isinstance(location, Path):
            return
        if location.is_dir():
            raise BatchError(f"output: {output} is a folder, expected a file")
        nearest = next(parent for parent in location.parents if parent.exists())
        if not nearest.is_dir():
            raise BatchError(f"output: {nearest} is a file, expected a folder")


def _check_input(what: str, place: str, suffixes: tuple[str, ...]) -> None:
    location = parse_location(place)
    if isinstance(location, Path):
        if not location.exists():
            raise BatchError(f"{what} file not found: {place}")
        if location.is_dir():
            raise BatchError(f"{what}: {place} is a folder, expected a file")
    _check_suffix(what, place, suffixes)


def _check_suffix(what: str, place: str, suffixes: tuple[str, ...]) -> None:
    if not place.lower().endswith(suffixes):
        raise BatchError(f"{what}: {place} has an unknown ending, expected one of {', '.join(suffixes)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSpec:
    """A batch whose input has been read. It is kept in the run's folder, and every chunk works by it.

    Attributes:
        batch_id: names the batch.
        inputs: SHA-256 of each input file, by what it is.
        index: the passage index's folder; `None` where the queries bring candidates.
        config: what the pipeline is told.
        versions: version of each replaceable part.
        flags: the flags of the run, pinned when it began.
        shadow: whether it is a shadow run.
        rollout: the phase, attempt, step and percentage of the rollout that was under way when the run began; `None`
            where none was.
        ledger: where traces go; `None` where the ledger is off.
        chunk_size: queries of a chunk.
        chunks, queries: how many there are.
        quarantined: records that could not be used, by kind.
        started_at: when the batch was begun; its day is the ledger's partition.
        code_version: version of REDO that began it.
    """

    batch_id: str
    inputs: dict[str, str]
    index: str | None
    config: dict[str, Any]
    versions: dict[str, str]
    flags: dict[str, FlagValue]
    shadow: bool
    rollout: dict[str, Any] | None
    ledger: str | None
    chunk_size: int
    chunks: int
    queries: int
    quarantined: dict[str, int]
    started_at: str
    code_version: str

    @property
    def config_digest(self) -> str:
        """SHA-256 of all that shapes the results beside the queries: part of each trace's identity."""
        return content_digest([self.inputs, self.config, self.versions, self.flags, self.shadow])

    @property
    def pipeline_config(self) -> PipelineConfig:
        """What the pipeline is told."""
        kinds = {
            "placement": PlacementPolicy(self.config["placement"]),
            "retriever": RetrieverKind(self.config.get("retriever", RetrieverKind.BM25)),
            "detector": DetectorKind(self.config.get("detector", DetectorKind.RULES)),
        }
        return PipelineConfig(**{**self.config, **kinds})

    @property
    def run_flags(self) -> Flags:
        """The flags as the guard takes them."""
        redo_enabled, ledger_enabled, percentage = (self.flags[name] for name in Flags().as_dict())
        return Flags(bool(redo_enabled), bool(ledger_enabled), percentage)

    @property
    def started(self) -> datetime:
        """When the batch was begun, in UTC."""
        return datetime.fromisoformat(self.started_at)

    def save(self, path: Path) -> None:
        """Write it where `load` finds it."""
        write_json(path, asdict(self))

    @classmethod
    def load(cls, path: Path) -> RunSpec:
        """Read a saved one. Raises BatchError where it was written by a REDO that knew other fields."""
        record = read_json(path)
        if set(record) != {known.name for known in fields(cls)}:
            raise BatchError(f"{path} was written by another version of REDO; choose a new batch id")
        return cls(**record)

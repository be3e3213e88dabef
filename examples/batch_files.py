"""The three files of a batch with labels, as the example builders write them.

`queries.jsonl` and `passages.jsonl` are what `redo run` reads; `labels.jsonl` is read by the evaluation only.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Candidate:
    """A passage that a query brings along."""

    passage_id: str
    text: str


@dataclass(frozen=True, slots=True)
class Query:
    """One line of queries.jsonl. What is `None` or empty is left out of the line."""

    query_id: str
    text: str
    metadata: Mapping[str, object] = field(default_factory=dict)
    candidates: tuple[Candidate, ...] | None = None


@dataclass(frozen=True, slots=True)
class Passage:
    """One line of passages.jsonl. What is `None` or empty is left out of the line."""

    passage_id: str
    text: str
    source: str | None = None
    published_at: str | None = None
    metadata: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Label:
    """One line of labels.jsonl: `correct`, `misinfo` or `noise`, and the answer that the passage gives."""

    query_id: str
    passage_id: str
    label: str
    answer: str


@dataclass(frozen=True, slots=True)
class Batch:
    """The three files, each sorted by id."""

    queries: tuple[Query, ...]
    passages: tuple[Passage, ...]
    labels: tuple[Label, ...]

    def __str__(self) -> str:
        kinds = Counter(label.label for label in self.labels)
        by_kind = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
        counts = f"{len(self.queries)} queries, {len(self.passages)} passages, {len(self.labels)} labels"
        return f"{counts} ({by_kind})" if by_kind else counts


def content_id(*parts: str) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of the parts, one a line."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def hash_order(*parts: str) -> str:
    """A sort key that says nothing about the parts but which they are."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _lines(rows: Iterable[Query | Passage | Label]) -> str:
    """Rows as JSONL. An empty answer stays, as it is part of a label."""
    kept = ({name: value for name, value in asdict(row).items() if value not in (None, {})} for row in rows)
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in kept)


def write(batch: Batch, folder: Path) -> None:
    """Write the three files into a folder, which is made where it is missing.

    Each file appears whole or not at all, and none appears before all three are written beside their places.

    Raises:
        OSError: the folder cannot be made or written to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files: dict[str, Sequence[Query | Passage | Label]] = {
        "queries.jsonl": batch.queries,
        "passages.jsonl": batch.passages,
        "labels.jsonl": batch.labels,
    }
    unfinished = {name: folder / f".{name}.{os.getpid()}" for name in files}
    try:
        for name, rows in files.items():
            unfinished[name].write_text(_lines(rows), encoding="utf-8", newline="\n")
        for name, path in unfinished.items():
            path.replace(folder / name)
    finally:
        for path in unfinished.values():
            path.unlink(missing_ok=True)

"""A small batch for the tests of runs: questions about bridges, with two sources that disagree about each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import orjson

TOWNS = ("Arden", "Brixley", "Corve", "Dunmore", "Elstow", "Farleigh", "Glenby", "Hexton", "Inchcape", "Jarrold")
"""Each has a bridge; town number n's is 400 + 10 n metres long, or 100 metres longer, depending on who is asked."""


@dataclass(frozen=True, slots=True)
class BatchFiles:
    """The three files of a batch, as a user names them."""

    queries: Path
    passages: Path
    labels: Path


def query_rows(count: int) -> list[dict[str, object]]:
    """As many questions as asked for, `q-0000` and on, from two sessions."""
    return [
        {
            "query_id": f"q-{number:04d}",
            "text": f"How long is the bridge of {TOWNS[number % len(TOWNS)]}?",
            "session_id": f"s-{number % 2}",
        }
        for number in range(count)
    ]


def passage_rows() -> list[dict[str, object]]:
    """Three passages for each town: what the council says, what a guide says otherwise, and something else."""
    rows: list[dict[str, object]] = []
    for number, town in enumerate(TOWNS):
        length = 400 + 10 * number
        rows += [
            {
                "passage_id": f"{town}-council",
                "text": f"The bridge of {town} is {length} metres long.",
                "source": "council",
                "published_at": "2024-05-01",
            },
            {
                "passage_id": f"{town}-guide",
                "text": f"The bridge of {town} is {length + 100} metres long.",
                "source": "guide",
                "published_at": "2024-05-01",
            },
            {"passage_id": f"{town}-market", "text": f"The market of {town} is held every Tuesday.", "source": "guide"},
        ]
    return rows


def label_rows(count: int) -> list[dict[str, object]]:
    """The council is right."""
    rows: list[dict[str, object]] = []
    for query in query_rows(count):
        town = str(query["text"]).removeprefix("How long is the bridge of ").removesuffix("?")
        for source, label in (("council", "correct"), ("guide", "misinfo"), ("market", "noise")):
            rows.append({"query_id": query["query_id"], "passage_id": f"{town}-{source}", "label": label})
    return rows


def write_jsonl(path: Path, rows: Iterable[Mapping[str, object]]) -> Path:
    """Write rows as JSON lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    return path


def read_jsonl(path: Path) -> list[dict[str, object]]:
    """Read JSON lines."""
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


def write_batch(folder: Path, *, queries: int = 5) -> BatchFiles:
    """Write a batch of so many questions."""
    return BatchFiles(
        queries=write_jsonl(folder / "queries.jsonl", query_rows(queries)),
        passages=write_jsonl(folder / "passages.jsonl", passage_rows()),
        labels=write_jsonl(folder / "labels.jsonl", label_rows(queries)),
    )

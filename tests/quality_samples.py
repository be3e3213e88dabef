"""Made-up data in the form of the sets that benchmarks/quality.py reads."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

TOWNS = ("Arwick", "Belford", "Corston", "Denholm", "Elmbury", "Farleigh", "Garstang", "Hexley", "Ilmer", "Jarrow")


def write_ramdocs(folder: Path) -> Path:
    """Ten questions: two passages with the right year, one near-copy with a wrong one, and one that says nothing."""
    lines = []
    for number, town in enumerate(TOWNS):
        right, wrong = str(1801 + number), str(1901 + number)
        texts = (
            (f"{town} is a market town. {town} was founded in {right} by monks on the river bank.", "correct", right),
            (f"The charter of {town} says that the town was founded in {right}.", "correct", right),
            (f"{town} is a market town. {town} was founded in {wrong} by monks on the river bank.", "misinfo", wrong),
            (f"The football club of {town} plays in blue. Its ground in {town} holds 400 people.", "noise", "unknown"),
        )
        documents = [{"text": text, "type": kind, "answer": answer} for text, kind, answer in texts]
        lines.append(json.dumps({"question": f"When was {town} founded?", "documents": documents}))
    path = folder / "ramdocs" / "ramdocs-dev.jsonl"
    path.parent.mkdir(parents=True)
    path.write_text("\n".join(lines) + "\n")
    return folder


def write_pairs(folder: Path, name: str, pairs: list[tuple[str, str, str]]) -> Path:
    """A file of sentence pairs: premise, hypothesis and label."""
    path = folder / "nli" / f"{name}.tsv.gz"
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt", encoding="utf-8") as stream:
        stream.write("premise\thypothesis\tlabel\n")
        stream.writelines("\t".join(pair) + "\n" for pair in pairs)
    return folder

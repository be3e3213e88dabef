"""Train the slot reader: `python -m training.slots --data FOLDER [--out FILE]`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import core.contradictions.slots as package
from core.contradictions.slots.weights import FILE
from training.slots.data import load
from training.slots.fit import train

VERSION = "slots-1"


def main() -> None:
    """Train on all questions of the data folder and write the weights' file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with ramdocs/ramdocs-dev.jsonl")
    parser.add_argument("--out", type=Path, default=Path(package.__path__[0]) / FILE)
    given = parser.parse_args()
    content = train(load(given.data), VERSION)
    given.out.write_text(json.dumps(content, separators=(",", ":")) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

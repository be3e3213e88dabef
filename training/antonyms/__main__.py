"""Compile the detector's table of opposites: `python -m training.antonyms --wordnet FOLDER`.

FOLDER holds WordNet 3.0's `data.*`, `index.*` and `*.exc` (Debian: package `wordnet-base`, folder /usr/share/wordnet).
Writes `core/contradictions/antonyms.txt`: a line has a stem, then the stems of its opposites that sort after it. Lines
are sorted, so the same files give the same bytes. `antonyms.NOTICE.txt` beside it has WordNet's licence.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from training.antonyms.table import antonym_table

TABLE = Path("core/contradictions/antonyms.txt")


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(prog="python -m training.antonyms", description="Compile the table of opposites.")
    parser.add_argument("--wordnet", type=Path, required=True, help="folder with data.noun, index.noun, noun.exc, ...")
    parser.add_argument("--out", type=Path, default=TABLE)
    given = parser.parse_args()
    table = antonym_table(given.wordnet)
    given.out.write_text(table, encoding="ascii", newline="\n")
    print(f"{given.out}: {table.count(chr(10)):,} stems, {len(table):,} bytes")


if __name__ == "__main__":
    main()

"""The file of records that could not be read: one JSON line each, with where it stood and why."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import orjson

_PLACE_IN_LIST = re.compile(r"\[\d+\]")


@dataclass(frozen=True, slots=True)
class QuarantinedRecord:
    """One record that could not be used, as its line in the file says it.

    Attributes:
        file: name of the file that it came from.
        kind: `query`, `passage` or `label`.
        line: number of its line, from 1; in Parquet of its row.
        id: its id, where it has one that can be read.
        reason: what is wrong and what was expected.
        excerpt: its beginning, safe to print.
    """

    file: str
    kind: str
    line: int
    id: str | None
    reason: str
    excerpt: str


class QuarantineFile:
    """Collects the records of one reading that could not be used.

    Each line is the JSON form of a `QuarantinedRecord`; it is flushed at once, so that a run that is killed leaves what
    it found. The file is made with the first record; one that an earlier reading left is removed on entering, so that a
    batch that is run again does not count its records twice. One process writes it.

    Args:
        path: where to write; folders are made as needed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: BinaryIO | None = None
        self._reasons: Counter[str] = Counter()

    def __enter__(self) -> Self:
        self.path.unlink(missing_ok=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def add(self, record: QuarantinedRecord) -> None:
        """Write one record."""
        if self._file is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("ab" if self.count else "wb")
        self._file.write(orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE))
        self._file.flush()
        self._reasons[reason_class(record.reason)] += 1

    def close(self) -> None:
        """Close the file. A record that is added later opens it again, behind those that are there."""
        if self._file is not None:
            self._file.close()
            self._file = None

    @property
    def count(self) -> int:
        """How many records were added."""
        return self._reasons.total()

    @property
    def reasons(self) -> Mapping[str, int]:
        """How many records for each class of reasons, most frequent first."""
        return dict(self._reasons.most_common())


def reason_class(reason: str) -> str:
    """The part of a reason that does not depend on the record.

    >>> reason_class("candidates[3].text: too long, expected at most 50,000 characters, got 61,234")
    'candidates[].text: too long'
    """
    return _PLACE_IN_LIST.sub("[]", reason.partition(",")[0])

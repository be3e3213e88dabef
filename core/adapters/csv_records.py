"""Records of a CSV file (RFC 4180, comma, header row, UTF-8), one at a time.

A broken row costs that row. The hard case is a quote that is never closed: the csv module then takes the lines that
follow for one field, up to its limit or the end of the file. The reader reports the row, goes back and reads those
lines again, each as the beginning of a row. Among them may be the rest of a broken field, which must not pass for a
record: a row that begins there is read only if its quotes stand where the RFC wants them.
"""

from __future__ import annotations

import csv
import re
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from core.adapters.raw_record import (
    BYTE_ORDER_MARK,
    MAX_LINE_BYTES,
    RawRecord,
    invalid_utf8,
    is_too_long,
    read_line,
    too_long,
)
from core.errors import BatchError

_REREAD_FACTOR = 2
"""Bytes read again, at most, for each byte of the file: a hostile file costs linear time."""

_FIELD = rb'(?:[^",\r\n]*+|"(?:[^"]|"")*+")'
_CLEAN_ROW = re.compile(_FIELD + rb"(?:," + _FIELD + rb")*+\r?\n?")


class _RowTooLongError(Exception):
    """The row has outgrown the limit; raised through the csv module."""


class _Lines:
    """The lines of a file, as the csv module wants them, with a memory of those that the current row has taken.

    Attributes:
        first: number of the row's first line.
        row: the row's lines.
        undecodable: the first bytes of the row that are no UTF-8.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._again: deque[bytes] = deque()
        self._line = 0
        self._row_bytes = 0
        self._fresh_bytes = 0
        self._reread_bytes = 0
        self._suspect_until = 0
        self.first = 1
        self.row: list[bytes] = []
        self.undecodable: UnicodeDecodeError | None = None

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else self._fresh()
        if not line:
            raise StopIteration
        self._line += 1
        self._row_bytes += len(line)
        self.row.append(line)
        if is_too_long(line) or self._row_bytes > MAX_LINE_BYTES:
            raise _RowTooLongError(too_long())
        try:
            return line.decode()
        except UnicodeDecodeError as exc:
            # The row goes on, so that its other lines are not taken for rows; the caller throws it away as a whole.
            self.undecodable = self.undecodable or exc
            return line.decode(errors="replace")

    def _fresh(self) -> bytes:
        line = read_line(self._file)
        self._fresh_bytes += len(line)
        return line.removeprefix(BYTE_ORDER_MARK) if self._line == 0 else line

    def begin_row(self) -> None:
        """Forget the lines of the row before."""
        self.first = self._line + 1
        self.row = []
        self._row_bytes = 0
        self.undecodable = None

    def go_back(self) -> bool:
        """Give out again all lines of the row but its first; false where that would take too long."""
        again = self.row[1:]
        size = sum(map(len, again))
        if self._reread_bytes + size > _REREAD_FACTOR * self._fresh_bytes:
            return False
        self._reread_bytes += size
        self._suspect_until = max(self._suspect_until, self._line)
        self._again.extendleft(reversed(again))
        self._line = self.first
        return True

    @property
    def last(self) -> int:
        """Number of the row's last line."""
        return self._line

    @property
    def is_suspect(self) -> bool:
        """Whether the row may be the rest of a broken field: it was read again, and its quotes are not in order."""
        return self.first <= self._suspect_until and not _CLEAN_ROW.fullmatch(b"".join(self.row))


def read_csv(path: Path, *, what: str) -> Iterator[RawRecord]:
    """Read the rows below the header; empty cells are left out of a record, and blank lines are no rows.

    A field is at most `csv.field_size_limit()` characters long (131,072 unless the process has changed it).

    Raises:
        BatchError: there is no header, or it has an empty or a duplicate name.
    """
    with path.open("rb") as file:
        lines = _Lines(file)
        rows = csv.reader(lines, strict=True)
        header = _header(rows, lines, f"{what} file {path}")
        while True:
            lines.begin_row()
            try:
                row = next(rows)
            except StopIteration:
                return
            except (csv.Error, _RowTooLongError) as exc:
                yield _failed(lines, _broken(lines, exc))
                continue
            if lines.undecodable is not None:
                yield _failed(lines, invalid_utf8(lines.undecodable))
            elif lines.is_suspect:
                yield _failed(lines, "stray quote, expected none in a row that follows an unclosed quote")
            elif not row or not b"".join(lines.row).strip():
                continue
            elif len(row) != len(header):
                yield _failed(lines, f"wrong number of fields, expected {len(header)} as in the header, got {len(row)}")
            else:
                value = {name: cell for name, cell in zip(header, row, strict=True) if cell}
                yield RawRecord(lines.first, value, raw=lines.row[0])


def _header(rows: Iterator[list[str]], lines: _Lines, where: str) -> list[str]:
    try:
        header: list[str] = next((row for row in rows if "".join(row).strip()), [])
    except (csv.Error, _RowTooLongError) as exc:
        raise BatchError(f"{where}: the header row cannot be read: {exc}") from exc
    if lines.undecodable is not None:
        raise BatchError(f"{where}: the header row is not UTF-8, expected a CSV in UTF-8")
    if not header:
        raise BatchError(f"{where}: empty, expected a header row with the names of the columns")
    names = [name.strip() for name in header]
    for column, name in enumerate(names, start=1):
        if not name:
            raise BatchError(f"{where}: column {column} has no name, expected a header row with one for each column")
        if names.index(name) + 1 != column:
            raise BatchError(f"{where}: column {column} is a second {name!r}, expected each name once")
    return names


def _broken(lines: _Lines, error: Exception) -> str:
    """The reason for a row that the csv module gave up, and the way on: back to the row's second line."""
    if len(lines.row) > 1:
        last = lines.last
        reason = f"unclosed quote, looked for its end up to line {last}"
        return reason if lines.go_back() else f"{reason}, lines {lines.first} to {last} are skipped"
    if isinstance(error, _RowTooLongError):
        return str(error)
    text = str(error)
    if "unexpected end" in text:
        return "unclosed quote, looked for its end up to the end of the file"
    if "field limit" in text:
        return f"too long, expected at most {csv.field_size_limit():,} characters a field"
    if "new-line" in text:  # csv's advice is about opening the file in text mode
        return "bad CSV, carriage return inside a field without quotes"
    return f"bad CSV, {text}"


def _failed(lines: _Lines, reason: str) -> RawRecord:
    return RawRecord(lines.first, None, error=reason, raw=lines.row[0])

"""What the readers of record files share: the raw record, and lines of limited length."""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO

import orjson

MAX_LINE_BYTES = 8 * 1024 * 1024
"""The longest line, its end included, and the longest CSV row. A query with 200 long candidates fits in."""

MAX_EXCERPT_CHARS = 200
BYTE_ORDER_MARK = b"\xef\xbb\xbf"

_MAX_BYTES_A_CHAR = 4  # of UTF-8
_SKIP_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class RawRecord:
    """One record of a file, not yet checked, or what is wrong with it.

    Invariant: `value` is `None` exactly where `error` is given.

    Attributes:
        line: number of its first line, from 1; in Parquet the number of its row.
        value: what it holds.
        error: why it cannot be read; it begins with a fixed phrase up to the first comma, as in `core.records`.
        raw: its bytes, or the beginning of them, where the file has lines.
    """

    line: int
    value: object | None
    error: str | None = None
    raw: bytes | None = None

    @property
    def excerpt(self) -> str:
        """The beginning of the record, at most 200 characters, safe to print."""
        raw = _json_or_text(self.value) if self.raw is None else self.raw
        head = raw[: MAX_EXCERPT_CHARS * _MAX_BYTES_A_CHAR]
        return printable(head.decode(errors="replace").strip(), MAX_EXCERPT_CHARS)


def printable(text: str, limit: int) -> str:
    """Cut the text to `limit` characters and replace what a terminal would obey or could not show."""
    return "".join(char if char.isprintable() else (" " if char.isspace() else "\ufffd") for char in text[:limit])


def _json_or_text(value: object) -> bytes:
    try:
        return orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS)
    except TypeError:  # a number beyond 64 bits, for example
        return repr(value).encode(errors="replace")


def read_line(file: BinaryIO) -> bytes:
    """Read one line; `b""` at the end of the file.

    Of a line of more than `MAX_LINE_BYTES` only the first `MAX_LINE_BYTES + 1` bytes are returned; the rest is skipped
    without being kept, and the next call begins behind it.
    """
    line = file.readline(MAX_LINE_BYTES + 1)
    if len(line) > MAX_LINE_BYTES and not line.endswith(b"\n"):
        while (rest := file.readline(_SKIP_BYTES)) and not rest.endswith(b"\n"):
            pass
    return line


def is_too_long(line: bytes) -> bool:
    """Whether `read_line` has cut the line."""
    return len(line) > MAX_LINE_BYTES


def too_long() -> str:
    """The reason for quarantining a line that is too long."""
    return f"too long, expected at most {MAX_LINE_BYTES:,} bytes"


def invalid_utf8(error: UnicodeDecodeError) -> str:
    """The reason for quarantining bytes that are no text."""
    return f"invalid UTF-8, at byte {error.start + 1}"

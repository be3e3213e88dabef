"""Files of records: JSON Lines, CSV and Parquet, read one record at a time in constant memory.

What is wrong with one record is part of what is read, with its line; only what makes the file as a whole unusable is an
exception. The fields of a record are the business of `core.records`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from core.adapters.csv_records import read_csv
from core.adapters.raw_record import BYTE_ORDER_MARK, RawRecord, invalid_utf8, is_too_long, read_line, too_long
from core.errors import BatchError
from core.records import json_type

__all__ = ["RawRecord", "read_records"]

_PARQUET_BATCH_ROWS = 256  # of passages at their longest: some 13 million characters
_PARQUET_BUFFER_BYTES = 1024 * 1024


def read_records(path: Path, *, what: str) -> Iterator[RawRecord]:
    """Read a file whose suffix says what it is: `.jsonl`, `.ndjson`, `.csv` or `.parquet`.

    Blank lines are no records, but they count as lines. A byte order mark at the beginning is accepted.

    Args:
        path: the file.
        what: what it holds, in the plural, for messages: `queries`.

    Raises:
        BatchError: at once where the path is no such file; while reading where the file as a whole cannot be read.
    """
    read = _READERS.get(path.suffix.lower())
    if read is None:
        raise BatchError(f"{what} file {path}: unknown suffix {path.suffix!r}, expected one of {', '.join(_READERS)}")
    try:
        is_dir, exists = path.is_dir(), path.exists()
    except OSError as exc:
        raise BatchError(f"{what} file {path}: cannot be read: {exc.strerror}") from exc
    if is_dir:
        raise BatchError(f"{what} file {path}: is a directory, expected a file")
    if not exists:
        raise BatchError(f"{what} file not found: {path}")
    return _guarded(read, path, what)


def _guarded(read: Callable[..., Iterator[RawRecord]], path: Path, what: str) -> Iterator[RawRecord]:
    try:
        yield from read(path, what=what)
    except OSError as exc:
        raise BatchError(f"{what} file {path}: cannot be read: {exc.strerror or exc}") from exc


def _read_jsonl(path: Path, *, what: str) -> Iterator[RawRecord]:  # noqa: ARG001 - JSON Lines have no error as a whole
    with path.open("rb") as file:
        number = 0
        while line := read_line(file):
            number += 1
            if number == 1:
                line = line.removeprefix(BYTE_ORDER_MARK)
            if line.strip():
                yield _json_record(number, line)


def _json_record(number: int, line: bytes) -> RawRecord:
    if is_too_long(line):
        return RawRecord(number, None, error=too_long(), raw=line)
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError as exc:
        return RawRecord(number, None, error=_bad_json(line, exc), raw=line)
    if not isinstance(value, dict):
        return RawRecord(number, None, error=f"not an object, got {json_type(value)}", raw=line)
    return RawRecord(number, value, raw=line)


def _bad_json(line: bytes, error: orjson.JSONDecodeError) -> str:
    try:
        line.decode()
    except UnicodeDecodeError as exc:
        return invalid_utf8(exc)
    return f"bad JSON, at column {error.colno}: {error.msg}"


def _read_parquet(path: Path, *, what: str) -> Iterator[RawRecord]:
    where = f"{what} file {path}"
    try:
        with pq.ParquetFile(path, pre_buffer=False, buffer_size=_PARQUET_BUFFER_BYTES) as file:
            names = file.schema_arrow.names
            if len(set(names)) != len(names):
                raise BatchError(f"{where}: two columns have one name, expected each name once")
            number = 0
            for batch in file.iter_batches(batch_size=_PARQUET_BATCH_ROWS, use_threads=False):
                yield from _batch_rows(batch, first=number + 1)
                number += batch.num_rows
    except pa.ArrowException as exc:
        raise BatchError(f"{where}: not a Parquet file that can be read: {exc}") from exc


# What a cell raises that has no Python value: text that is no UTF-8, a time out of range, a map with a key twice.
_CELL_ERRORS = (ValueError, OverflowError, KeyError, pa.ArrowException)


def _batch_rows(batch: Any, *, first: int) -> Iterator[RawRecord]:  # noqa: ANN401 - pyarrow ships no types
    try:
        rows = batch.to_pylist(maps_as_pydicts="strict")
    except _CELL_ERRORS:
        rows = None
    if rows is not None:
        yield from (RawRecord(number, row) for number, row in enumerate(rows, start=first))
    else:  # one cell spoils the whole batch: look at each by itself
        yield from (_row(batch, index, first + index) for index in range(batch.num_rows))


def _row(batch: Any, index: int, number: int) -> RawRecord:  # noqa: ANN401 - pyarrow ships no types
    value: dict[str, object] = {}
    errors: list[str] = []
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        try:
            value[name] = column[index].as_py(maps_as_pydicts="strict")
        except UnicodeDecodeError as exc:
            errors.append(f"invalid UTF-8, in column {name!r} at byte {exc.start + 1}")
        except _CELL_ERRORS as exc:
            errors.append(f"bad value, in column {name!r}: {exc}")
    record = RawRecord(number, value)
    return RawRecord(number, None, error=errors[0], raw=record.excerpt.encode()) if errors else record


_READERS: dict[str, Callable[..., Iterator[RawRecord]]] = {
    ".jsonl": _read_jsonl,
    ".ndjson": _read_jsonl,
    ".csv": read_csv,
    ".parquet": _read_parquet,
}

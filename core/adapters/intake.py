"""From files to values: the queries, passages and labels that a batch can use, one at a time.

A record that cannot be used goes to the quarantine with its line and the reason, and reading goes on. Of records with
one id the first is used. Memory does not grow with the texts: per record only 16 bytes of digest are kept.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic, TypeVar

from core.adapters.quarantine import QuarantinedRecord, QuarantineFile, reason_class
from core.adapters.raw_record import RawRecord, printable
from core.adapters.record_files import read_records
from core.errors import BatchError, RecordError
from core.model import Passage, Query
from core.records import MAX_ID_CHARS, Label, parse_label, parse_passage, parse_query

_DIGEST_BYTES = 16  # of 10 million ids, two share a digest with a probability of 1e-25

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Kind(Generic[T]):
    """What sets the records of one kind of file apart; `key` is what must be unique, and `unique` its name."""

    noun: str
    plural: str
    id_field: str
    unique: str
    parse: Callable[[object], T]
    key: Callable[[T], str]


_QUERY = _Kind("query", "queries", "query_id", "query_id", parse_query, lambda query: query.query_id)
_PASSAGE = _Kind("passage", "passages", "passage_id", "passage_id", parse_passage, lambda passage: passage.passage_id)
# Ids hold no control characters, so that two pairs of ids never give one key.
_LABEL = _Kind(
    "label",
    "labels",
    "query_id",
    "query_id and passage_id",
    parse_label,
    lambda label: f"{label.query_id}\0{label.passage_id}",
)


def _parse_query_with_candidates(record: object) -> Query:
    query = parse_query(record)
    if query.candidates is None:
        raise RecordError("candidates", "missing, expected a list of passages, because no passages file was given")
    return query


_QUERY_WITH_CANDIDATES = replace(_QUERY, parse=_parse_query_with_candidates)


def read_queries(
    path: Path, *, quarantine: QuarantineFile, name: str | None = None, need_candidates: bool = False
) -> Iterator[Query]:
    """Read the usable queries of a JSONL, CSV or Parquet file in their order.

    Args:
        path: the file.
        quarantine: where unusable records go.
        name: what the quarantine calls the file, where `path` is only a copy of what the user named.
        need_candidates: whether a query without candidates is unusable, because there is nothing to retrieve from.

    Raises:
        BatchError: at once where the path is no such file; at the end where no record was usable.
    """
    return _read(path, _QUERY_WITH_CANDIDATES if need_candidates else _QUERY, quarantine, name or path.name)


def read_passages(path: Path, *, quarantine: QuarantineFile, name: str | None = None) -> Iterator[Passage]:
    """Read the usable passages of a file in their order. Arguments and errors are those of `read_queries`."""
    return _read(path, _PASSAGE, quarantine, name or path.name)


def read_labels(path: Path, *, quarantine: QuarantineFile, name: str | None = None) -> Iterator[Label]:
    """Read the usable labels of a file in their order; of two for the same query and passage the first is used.

    Arguments and errors are those of `read_queries`.
    """
    return _read(path, _LABEL, quarantine, name or path.name)


def _read(path: Path, kind: _Kind[T], quarantine: QuarantineFile, name: str) -> Iterator[T]:
    records = read_records(path, what=kind.plural)  # before the generator, so that a missing file is an error at once
    return _usable(records, kind, quarantine, name)


def _usable(records: Iterator[RawRecord], kind: _Kind[T], quarantine: QuarantineFile, name: str) -> Iterator[T]:
    seen: set[bytes] = set()
    bad: Counter[str] = Counter()
    for record in records:
        try:
            value = _parsed(record, kind, seen)
        except RecordError as exc:
            reason = str(exc)
            bad[reason_class(reason)] += 1
            found_id = _record_id(record, kind.id_field)
            quarantine.add(QuarantinedRecord(name, kind.noun, record.line, found_id, reason, record.excerpt))
        else:
            yield value
    if not seen:
        raise BatchError(_nothing_usable(kind, name, bad, quarantine.path))


def _parsed(record: RawRecord, kind: _Kind[T], seen: set[bytes]) -> T:
    if record.error is not None:
        raise RecordError("", record.error)
    value = kind.parse(record.value)
    digest = hashlib.blake2b(kind.key(value).encode(), digest_size=_DIGEST_BYTES).digest()
    if digest in seen:
        raise RecordError(kind.unique, "duplicate of an earlier record")
    seen.add(digest)
    return value


def _record_id(record: RawRecord, field: str) -> str | None:
    value = record.value.get(field) if isinstance(record.value, Mapping) else None
    return printable(value, MAX_ID_CHARS) if isinstance(value, str) else None


def _nothing_usable(kind: _Kind[T], name: str, bad: Counter[str], quarantine: Path) -> str:
    total = bad.total()
    if not total:
        return f"no usable {kind.noun} in {name}: the file holds no records"
    (reason, _count), *_others = bad.most_common(1)
    return (
        f"no usable {kind.noun} in {name}: {total:,} of {total:,} records were quarantined, "
        f"most often for '{reason}', see {quarantine}"
    )

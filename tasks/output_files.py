"""The output file: the chunks' parts, put together in the order of the queries, as JSONL or Parquet."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from ledger.location import parse_location
from ledger.objects import upload
from tasks.run_folder import write_whole

_CLAIM = pa.struct(
    [
        ("passage_id", pa.string()),
        ("sentence", pa.string()),
        ("sentence_start", pa.int32()),
        ("sentence_end", pa.int32()),
        ("value", pa.string()),
        ("value_start", pa.int32()),
        ("value_end", pa.int32()),
    ]
)
OUTPUT_SCHEMA = pa.schema(
    [
        ("query_id", pa.string()),
        ("query", pa.string()),
        ("decision", pa.string()),
        ("reason", pa.string()),
        (
            "evidence",
            pa.list_(
                pa.struct(
                    [
                        ("passage_id", pa.string()),
                        ("text", pa.string()),
                        ("source", pa.string()),
                        ("published_at", pa.string()),
                        ("score", pa.float64()),
                        ("support", pa.int32()),
                        ("conflict_group", pa.int32()),
                        ("disputed_by", pa.list_(pa.string())),
                        ("tokens", pa.int32()),
                    ]
                )
            ),
        ),
        (
            "contradictions",
            pa.list_(
                pa.struct(
                    [
                        ("kind", pa.string()),
                        ("score", pa.float64()),
                        ("stage", pa.string()),
                        ("left", _CLAIM),
                        ("right", _CLAIM),
                    ]
                )
            ),
        ),
        (
            "ambiguities",
            pa.list_(
                pa.struct(
                    [
                        ("name", pa.string()),
                        ("score", pa.float64()),
                        ("stage", pa.string()),
                        ("left", _CLAIM),
                        ("right", _CLAIM),
                    ]
                )
            ),
        ),
    ]
)
"""The columns of the Parquet form: the same names and nesting as the JSON lines of `core.output`."""

_BLOCK_BYTES = 1 << 20


def write_output(parts: Iterable[Path], place: str) -> str:
    """Write the output to a local path or an s3:// URI, replacing what is there. Returns where it is.

    Memory holds one part at a time.

    Raises:
        StoreError: the object store did not take it.
    """
    location = parse_location(place)
    if isinstance(location, Path):
        _write_local(parts, location)
        return str(location)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / Path(place).name
        _write_local(parts, copy)
        upload(copy, place)
    return place


def _write_local(parts: Iterable[Path], path: Path) -> None:
    if path.suffix.lower() != ".parquet":
        write_whole(path, _blocks(parts))
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}-") as folder:
        making = Path(folder) / path.name
        with pq.ParquetWriter(making, OUTPUT_SCHEMA, compression="zstd") as writer:
            for part in parts:
                rows = [orjson.loads(line) for line in part.read_bytes().splitlines()]
                writer.write_table(pa.Table.from_pylist(rows, schema=OUTPUT_SCHEMA))
        shutil.move(making, path)


def _blocks(parts: Iterable[Path]) -> Iterator[bytes]:
    for part in parts:
        with part.open("rb") as stream:
            while block := stream.read(_BLOCK_BYTES):
                yield block

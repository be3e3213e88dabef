"""What `benchmarks/ledger_costs.py` lets other processes do, so that each begins cold and its memory is its own.

    python -P benchmarks/ledger_jobs.py JOB ARGUMENT...

prints one JSON object: what was measured, `seconds` without what importing took, and `peak_mb` of the process.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path
from typing import Any

CHUNK_ROWS = 500
"""Rows of an object as it is first written: the largest chunk that a run can have."""

_FIRST_DAY = date(2026, 3, 1)
_DAYS = 10
_VERSIONS = ("0.1.0", "0.2.0")


def ask(job: str, *arguments: object) -> dict[str, Any]:
    """Do a job in a new process."""
    command = [sys.executable, "-P", __file__, job, *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=os.environ)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def generated(templates: Path, rows: int) -> Iterator[tuple[str, bytes, Any]]:
    """Objects of so many rows in all: key, bytes and table. The rows are those of the demo batch, over and over.

    What is never the same twice is made anew for each row: ids, digests, texts and latency. Each of ten days is a
    batch, and every second one ran another version of the code.
    """
    import numpy as np  # noqa: PLC0415 - jobs import what they need before their time is taken
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.parquet as pq  # noqa: PLC0415

    from ledger.encode import CHUNK_OPTIONS, object_key  # noqa: PLC0415
    from ledger.schema import FILE_SCHEMA  # noqa: PLC0415

    known = [pq.read_table(path, schema=FILE_SCHEMA) for path in sorted(templates.glob("*.parquet"))]
    random = np.random.default_rng(4)
    objects = -(-rows // CHUNK_ROWS)
    for number in range(objects):
        table = known[number % len(known)].slice(0, min(CHUNK_ROWS, rows - number * CHUNK_ROWS))
        place, chunk = divmod(number, -(-objects // _DAYS))
        day = _FIRST_DAY + timedelta(days=place)
        own = [hashlib.sha256(f"{number} {row}".encode()).hexdigest() for row in range(len(table))]
        anew: Mapping[str, Any] = {
            "trace_id": [name[:32] for name in own],
            "query_id": [f"g-{number:05d}-{row:03d}" for row in range(len(table))],
            "input_digest": [f"{name[32:]}{name[:32]}" for name in own],
            "query_sha256": own,
            "query_text": [
                f"{text} ({number}.{row})" for row, text in enumerate(table.column("query_text").to_pylist())
            ],
            "latency_ms": table.column("latency_ms").to_numpy() * random.uniform(0.5, 1.5, len(table)),
            "batch_id": [f"generated-{day}"] * len(table),
            "code_version": [_VERSIONS[place % 2]] * len(table),
        }
        for name, values in anew.items():
            column = FILE_SCHEMA.get_field_index(name)
            table = table.set_column(
                column, FILE_SCHEMA.field(column), pa.array(values, FILE_SCHEMA.field(column).type)
            )
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, **CHUNK_OPTIONS)
        yield object_key(f"generated-{day}", chunk, anew["trace_id"], day), bytes(sink.getvalue()), table


def write(uri: str, templates: str, rows: str, home: str) -> dict[str, Any]:
    """Spool and deliver generated objects one after the other, as the chunks of a batch do."""
    from core.clock import SystemClock  # noqa: PLC0415
    from ledger.delivery import Delivery  # noqa: PLC0415
    from ledger.objects import open_store  # noqa: PLC0415
    from ledger.spool import Spool  # noqa: PLC0415

    spool = Spool(Path(home) / "spool", max_bytes=10**10, clock=SystemClock())
    store = open_store(uri)
    delivery = Delivery(spool, lambda _: store)
    seconds, size, objects = 0.0, 0, 0
    for key, payload, _ in generated(Path(templates), int(rows)):
        begun = time.perf_counter()
        delivery.deliver(spool.add(payload, ledger=uri, key=key))
        seconds += time.perf_counter() - begun
        size, objects = size + len(payload), objects + 1
    return {"seconds": seconds, "bytes": size, "objects": objects}


def compact(uri: str) -> dict[str, Any]:
    """Compact all days."""
    from core.clock import SystemClock  # noqa: PLC0415
    from ledger.compact import compact as compact_days  # noqa: PLC0415
    from tasks.upkeep import ready_store  # noqa: PLC0415

    before_mb, begun = _peak_mb(), time.perf_counter()
    days = compact_days(ready_store(uri), clock=SystemClock()).days
    return {
        "seconds": time.perf_counter() - begun,
        "before_mb": before_mb,
        "objects": sum(day.objects_after or 0 for day in days),
        "bytes": sum(day.bytes_after or 0 for day in days),
        "rows": sum(day.rows or 0 for day in days),
    }


def gc(uri: str) -> dict[str, Any]:
    """Remove what was replaced, without waiting for readers."""
    from core.clock import SystemClock  # noqa: PLC0415
    from ledger.garbage import collect  # noqa: PLC0415
    from tasks.upkeep import ready_store  # noqa: PLC0415

    begun = time.perf_counter()
    collect(ready_store(uri), clock=SystemClock(), grace=timedelta())
    return {"seconds": time.perf_counter() - begun}


def verify(uri: str) -> dict[str, Any]:
    """Verify everything."""
    from core.clock import SystemClock  # noqa: PLC0415
    from ledger.verify import verify as look  # noqa: PLC0415
    from tasks.upkeep import ready_store  # noqa: PLC0415

    begun = time.perf_counter()
    report = look(ready_store(uri), clock=SystemClock())
    return {"seconds": time.perf_counter() - begun, "rows": report.rows, "findings": len(report.findings)}


def summary(uri: str) -> dict[str, Any]:
    """What `redo ledger summary` reads."""
    from ledger.summary import summarize  # noqa: PLC0415

    begun = time.perf_counter()
    found = summarize(uri)
    return {"seconds": time.perf_counter() - begun, "rows": found.rows["traces"], "complete": found.rows["complete"]}


def question(uri: str, sql: str) -> dict[str, Any]:
    """What `redo ledger query` does."""
    from ledger.query import run_query  # noqa: PLC0415

    begun = time.perf_counter()
    found = run_query(uri, sql, timeout_s=600.0, memory_limit="8GB")
    return {"seconds": time.perf_counter() - begun, "rows": len(found.rows)}


# --- the same rows kept in other ways


def delta_write(uri: str, templates: str, rows: str) -> dict[str, Any]:
    """Append each object's rows to a Delta table, each by a writer that opens the table, as a chunk's task would."""
    from deltalake import write_deltalake  # noqa: PLC0415

    seconds, objects = 0.0, 0
    for _, _, table in generated(Path(templates), int(rows)):
        begun = time.perf_counter()
        write_deltalake(uri, table, mode="append", storage_options=_delta_options())
        seconds, objects = seconds + time.perf_counter() - begun, objects + 1
    return {"seconds": seconds, "objects": objects}


def delta_compact(uri: str) -> dict[str, Any]:
    """Compact the table's small files."""
    from deltalake import DeltaTable  # noqa: PLC0415

    begun = time.perf_counter()
    DeltaTable(uri, storage_options=_delta_options()).optimize.compact()
    seconds = time.perf_counter() - begun
    added = DeltaTable(uri, storage_options=_delta_options()).get_add_actions()
    return {"seconds": seconds, "bytes": sum(added.column("size_bytes").to_pylist())}


def delta_question(uri: str, sql: str) -> dict[str, Any]:
    """Ask the same SQL of the table, by the engine that comes with delta-rs."""
    from deltalake import DeltaTable, QueryBuilder  # noqa: PLC0415

    begun = time.perf_counter()
    table = DeltaTable(uri, storage_options=_delta_options())
    found = QueryBuilder().register("traces", table).execute(sql).read_all()
    return {"seconds": time.perf_counter() - begun, "rows": found.num_rows}


def blob_write(uri: str, templates: str, rows: str) -> dict[str, Any]:
    """The rows as JSON texts in a column of one Parquet object, as compact as the ledger's own."""
    import orjson  # noqa: PLC0415
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.parquet as pq  # noqa: PLC0415

    from ledger.objects import upload  # noqa: PLC0415

    seconds, ids, texts = 0.0, list[str](), list[bytes]()
    for _, _, table in generated(Path(templates), int(rows)):
        records = table.to_pylist(maps_as_pydicts="strict")
        begun = time.perf_counter()
        texts += [orjson.dumps(record) for record in records]
        seconds += time.perf_counter() - begun
        ids += table.column("trace_id").to_pylist()
    begun = time.perf_counter()
    body = pa.table({"trace_id": ids, "body": pa.array(texts, pa.binary()).cast(pa.string())})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "blob.parquet"
        pq.write_table(body, path, compression="zstd", row_group_size=20_000, use_dictionary=False)
        upload(path, f"{uri}/blob.parquet")
        size = path.stat().st_size
    return {"seconds": seconds + time.perf_counter() - begun, "bytes": size}


def blob_question(uri: str, sql: str) -> dict[str, Any]:
    """Ask the same of the texts, with DuckDB as the ledger's own questions are."""
    import duckdb  # noqa: PLC0415

    from ledger.httpfs import load_httpfs  # noqa: PLC0415
    from ledger.location import S3Location, parse_location  # noqa: PLC0415

    location = parse_location(uri)
    begun = time.perf_counter()
    with closing(duckdb.connect()) as connection:
        assert isinstance(location, S3Location)  # noqa: S101 - as above
        load_httpfs(connection, location)
        connection.execute(f"create view traces as from '{uri}/blob.parquet'")
        rows = connection.execute(sql).fetchall()
    return {"seconds": time.perf_counter() - begun, "rows": len(rows)}


def _delta_options() -> dict[str, str]:
    return {"AWS_ALLOW_HTTP": "true", "conditional_put": "etag"}


def _peak_mb() -> float:
    """The most memory that this process had; `getrusage` would tell of the one that it was forked from."""
    told = Path("/proc/self/status").read_text().partition("VmHWM:")[2].split(maxsplit=1)[0]
    return int(told) / 1024


_JOBS = (
    write,
    compact,
    gc,
    verify,
    summary,
    question,
    delta_write,
    delta_compact,
    delta_question,
    blob_write,
    blob_question,
)


def main(words: Sequence[str]) -> int:
    """Do one job."""
    job = next(job for job in _JOBS if job.__name__ == words[0])
    found = job(*words[1:])
    print(json.dumps({**found, "peak_mb": _peak_mb()}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

"""What the ledger costs, and how fast it answers, with a million traces on an S3 server of this machine.

    python benchmarks/ledger_costs.py [--demo-only] [--rows 1000000] [--peer-rows 100000]

First the demo batch: encoding and spooling on one core, bytes a trace, and the share of a batch's time that the ledger
takes. Then generated traces, 500 an object as the largest chunk has them: writing, compacting, verifying, and then the
summary and the ten questions of docs/ledger.md, each in a new process. Then the same rows, fewer of them, as appends of
delta-rs, and as JSON texts in a column. The S3 server is moto, in a process of its own, which counts requests.

Needs the extra `bench`. The exit code says whether the goals of the ledger were met.
"""

from __future__ import annotations

import argparse
import gc
import io
import os
import re
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from benchmarks.counted_s3 import CountedS3, counted_s3
from benchmarks.ledger_jobs import CHUNK_ROWS, ask
from benchmarks.machine import describe

_GOALS: Final[Mapping[str, float]] = {
    "min, traces a second": 10_000,
    "min, bytes a trace": 600,
    "full, bytes a trace": 4_000,
    "ledger's share of a batch, percent": 5,
    "summary after compaction, seconds": 1,
}
_AT_LEAST: Final = frozenset({"min, traces a second"})
_CHUNK: Final = 100
_PATIENCE_S: Final = 60.0
_ROUNDS: Final = 3
_PAGE: Final = Path(__file__).parents[1] / "docs" / "ledger.md"
_QUESTION: Final = re.compile(r"^### (\d+\. .*?)$.*?^```sql\n(.*?)^```", re.MULTILINE | re.DOTALL)


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark and print its tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--demo-only", action="store_true", help="the demo batch alone")
    parser.add_argument("--rows", type=int, default=1_000_000, help="how many traces to generate")
    parser.add_argument("--peer-rows", type=int, default=100_000, help="how many to give to delta-rs and to JSON")
    parser.add_argument("--queries", type=int, default=None, help="how many of the demo batch; all by default")
    arguments = parser.parse_args(argv)
    here = str(Path(__file__).parent)
    sys.path[:] = [place for place in sys.path if place != here]  # there this file would be the package `ledger`
    print(describe("redo", "pyarrow", "duckdb", "obstore", "moto", "deltalake"), flush=True)
    measured: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["REDO_HOME"] = str(folder / "home")
        measured |= _demo_batch(folder, arguments.queries)
        if not arguments.demo_only:
            with counted_s3() as s3:
                measured |= _at_scale(s3, folder, arguments.rows)
                _peers(s3, folder, min(arguments.peer_rows, arguments.rows))
    print("\ngoals")
    met = True
    for goal, limit in _GOALS.items():
        if goal not in measured:
            continue
        is_met = measured[goal] >= limit if goal in _AT_LEAST else measured[goal] <= limit
        met &= is_met
        words = "at least" if goal in _AT_LEAST else "at most"
        print(f"  {goal:36} {measured[goal]:10,.2f}   {words} {limit:,.0f}: {'met' if is_met else 'MISSED'}")
    return 0 if met else 1


# --- the demo batch


class _Demo(NamedTuple):
    """The demo batch, worked on in shadow."""

    chunks: Sequence[Sequence[Any]]
    run: Any
    seconds: float


def _demo_batch(folder: Path, count: int | None) -> dict[str, float]:
    from ledger.level import Level  # noqa: PLC0415 - the environment comes first

    demo = _worked_on(folder, count)
    queries = sum(map(len, demo.chunks))
    gc.collect()
    gc.freeze()  # as the pipeline does: what is loaded is not walked again
    rows = {
        (level, size): _kept(folder, demo, level, size)
        for level in (Level.MIN, Level.FULL)
        for size in (_CHUNK, CHUNK_ROWS)
    }
    print(f"\ndemo batch in shadow: {queries:,} queries in {demo.seconds:.1f} s, chunks of {_CHUNK}")
    print(f"  {'level, chunk':14} {'traces/s':>9} {'of CPU':>8} {'B/trace':>8} {'whole':>6} {'deliver ms':>11}   share")
    shares = {}
    for (level, size), kept in rows.items():
        spent = queries / kept.traces_a_second + kept.deliver_s
        shares[level, size] = 100 * spent / (demo.seconds + spent)
        print(
            f"  {level:6} {size:7,} {kept.traces_a_second:9,.0f} {kept.traces_a_cpu_second:8,.0f}"
            f" {kept.bytes_a_trace:8,.0f} {kept.whole:6,} {1e3 * kept.deliver_s / kept.chunks:11.1f}"
            f" {shares[level, size]:6.2f}%"
        )
    print(
        "  traces/s: encode, mask, spool and sync, on one core, best of 3; deliver: a chunk, to a local ledger; share:"
    )
    print("  all that, of it and the queries' own time: a run delivers beside its queries, and writes its output too")
    return {
        "min, traces a second": max(rows[Level.MIN, size].traces_a_second for size in (_CHUNK, CHUNK_ROWS)),
        "min, bytes a trace": rows[Level.MIN, _CHUNK].bytes_a_trace,
        "full, bytes a trace": rows[Level.FULL, _CHUNK].bytes_a_trace,
        "ledger's share of a batch, percent": shares[Level.FULL, _CHUNK],
    }


def _worked_on(folder: Path, count: int | None) -> _Demo:
    import orjson  # noqa: PLC0415

    from core.adapters.bm25 import ensure_index, index_key  # noqa: PLC0415
    from core.model import Decision, FallbackDecision, Reason  # noqa: PLC0415
    from core.records import parse_passage, parse_query  # noqa: PLC0415
    from examples.installed_docs import main as build  # noqa: PLC0415
    from ledger.encode import RunIdentity  # noqa: PLC0415
    from tasks.settings import load_settings  # noqa: PLC0415
    from tasks.wiring import build_pipeline  # noqa: PLC0415

    with redirect_stdout(io.StringIO()):
        build([str(folder / "docs")])
    passages = folder / "docs" / "passages.jsonl"
    lines = (folder / "docs" / "queries.jsonl").read_bytes().splitlines()
    queries = [parse_query(orjson.loads(line)) for line in lines[:count]]
    index = ensure_index(
        folder / "indexes",
        index_key(passages),
        lambda _: [parse_passage(orjson.loads(line)) for line in passages.read_bytes().splitlines()],
    )
    # No query is to be late, however busy the machine is: a late one is kept whole, and costs more.
    pipeline = build_pipeline(index, replace(load_settings().pipeline, budget_s=_PATIENCE_S))
    guard = FallbackDecision(Decision.LEGACY, Reason.SHADOW, shadow=True)
    chunks, begun = [], time.perf_counter()
    for start in range(0, len(queries), _CHUNK):
        chunk = queries[start : start + _CHUNK]
        chunks.append(pipeline.run(chunk, [guard] * len(chunk)))
    run = RunIdentity(
        batch_id="demo",
        flow_run_id="0" * 36,
        attempt=1,
        started_at=datetime.now(UTC),
        config_digest="0" * 64,
        code_version="0.1.0",
        model_versions=pipeline.versions,
        flags={"orchestrator.redo_enabled": False, "ledger.enabled": True, "rollout_percentage": 0},
        rollout_percentage=0,
        hash_key=b"benchmark",
    )
    return _Demo(chunks, run, time.perf_counter() - begun)


class _Kept(NamedTuple):
    """What keeping the demo batch's traces took."""

    traces_a_second: float
    traces_a_cpu_second: float
    bytes_a_trace: float
    whole: int
    chunks: int
    deliver_s: float


def _kept(folder: Path, demo: _Demo, level: Any, size: int) -> _Kept:  # noqa: ANN401 - its module is imported late
    from core.clock import SystemClock  # noqa: PLC0415
    from ledger.delivery import Delivery  # noqa: PLC0415
    from ledger.described import described_chunk  # noqa: PLC0415
    from ledger.encode import TracePolicy, encode_traces, identities, object_key, trace_rows  # noqa: PLC0415
    from ledger.objects import open_store  # noqa: PLC0415
    from ledger.spool import Spool  # noqa: PLC0415

    place, now = folder / f"{level}-{size}", datetime.now(UTC)
    store = open_store(str(place / "ledger"))
    spool = Spool(place / "spool", max_bytes=10**10, clock=SystemClock())
    results = [result for chunk in demo.chunks for result in chunk]
    chunks = [results[start : start + size] for start in range(0, len(results), size)]
    walls, processors, payloads = [], [], list[bytes]()
    for _ in range(_ROUNDS):
        spool.remove(spool.waiting())
        policy = TracePolicy(level=level)  # which has seen no text yet, as in a run that has just begun
        payloads, wall, processor = [], time.perf_counter(), time.process_time()
        for number, chunk in enumerate(chunks):
            ids = identities(chunk, run=demo.run)
            key = object_key("demo", number, [found.trace_id for found in ids], demo.run.started_at.date())
            payload = encode_traces(chunk, run=demo.run, recorded_at=now, policy=policy, ids=ids)
            described = described_chunk(payload, key=key, rows=len(chunk), run=demo.run, recorded_at=now)
            spool.add(payload, ledger=store.uri, key=key, described=described)
            payloads.append(payload)
        walls.append(time.perf_counter() - wall)
        processors.append(time.process_time() - processor)
    begun = time.perf_counter()
    Delivery(spool, lambda _: store).deliver_all()
    deliver_s = time.perf_counter() - begun
    for number, payload in enumerate(payloads):
        if len(chunks[number]) == CHUNK_ROWS:  # the generated traces are made of these
            (place / f"{number}.parquet").write_bytes(payload)
    rows = trace_rows(results, run=demo.run, recorded_at=now, policy=policy)
    return _Kept(
        len(results) / min(walls),
        len(results) / min(processors),
        sum(map(len, payloads)) / len(results),
        sum(row.columns["level"] == "full" for row in rows),
        len(chunks),
        deliver_s,
    )


# --- many traces


def _at_scale(s3: CountedS3, folder: Path, rows: int) -> dict[str, float]:
    uri, templates = s3.uri("ledger"), folder / f"min-{CHUNK_ROWS}"
    wrote = ask("write", uri, templates, rows, folder / "writer")
    print(f"\n{rows:,} generated traces at level min, {CHUNK_ROWS} an object, on S3 (moto)")
    an_object = 1e3 * wrote["seconds"] / wrote["objects"]
    print(
        f"  write     {_size(wrote, rows)}, spool and deliver {an_object:.1f} ms each, peak {wrote['peak_mb']:,.0f} MB"
    )
    print(f"            {_told(s3.counts())}", flush=True)
    before = _asked(s3, "summary", uri)
    made = ask("compact", uri)
    memory = f"peak {made['peak_mb']:,.0f} MB, {made['before_mb']:,.0f} MB of it before it began"
    print(f"  compact   {_size(made, rows)}, {made['seconds']:.1f} s, {memory}")
    print(f"            {_told(s3.counts())}", flush=True)
    checked = ask("verify", uri)
    print(
        f"  verify    {checked['rows']:,} rows, {checked['findings']} findings, {checked['seconds']:.1f} s,"
        f" peak {checked['peak_mb']:,.0f} MB"
    )
    print(f"            {_told(s3.counts())}", flush=True)
    if made["rows"] != rows or checked["rows"] != rows or checked["findings"]:
        raise SystemExit("the ledger is not what was written: nothing here is worth reading")
    print(f"\n  {'each in a new process':46} {'seconds':>8} {'requests':>9} {'peak MB':>8}")
    _show("redo ledger summary, before compaction", before)
    after = [_asked(s3, "summary", uri) for _ in range(_ROUNDS)]
    best = sorted(after, key=lambda answer: answer.seconds)[len(after) // 2]
    _show(f"redo ledger summary (median of {_ROUNDS})", best)
    for title, sql in _QUESTION.findall(_PAGE.read_text()):
        _show(title, _asked(s3, "question", uri, sql))
    collected = ask("gc", uri)
    s3.counts()
    _show(f"redo ledger summary, after gc ({collected['seconds']:.0f} s)", _asked(s3, "summary", uri))
    return {"summary after compaction, seconds": best.seconds}


def _size(made: Mapping[str, Any], rows: int) -> str:
    size = made["bytes"]
    return f"{made['objects']:,} objects, {size / 1e6:,.1f} MB ({size / rows:,.0f} B a trace)"


class _Answer(NamedTuple):
    """How a question was answered."""

    seconds: float
    requests: Mapping[str, int]
    peak_mb: float


def _asked(s3: CountedS3, job: str, *arguments: object) -> _Answer:
    s3.counts()
    found = ask(job, *arguments)
    return _Answer(found["seconds"], s3.counts(), found["peak_mb"])


def _show(title: str, answer: _Answer) -> None:
    print(
        f"  {title:46} {answer.seconds:8.2f} {sum(answer.requests.values()):9,} {answer.peak_mb:8,.0f}"
        f"   {_told(answer.requests)}",
        flush=True,
    )


def _told(requests: Mapping[str, int]) -> str:
    return ", ".join(f"{verb} {count:,}" for verb, count in sorted(requests.items()))


# --- others


def _peers(s3: CountedS3, folder: Path, rows: int) -> None:
    templates, ours, delta, blob = folder / f"min-{CHUNK_ROWS}", s3.uri("ours"), s3.uri("delta"), s3.uri("blob")
    objects = -(-rows // CHUNK_ROWS)
    told = []
    for name, job, more in (
        ("ledger", "write", (ours, templates, rows, folder / "peer")),
        ("delta-rs append", "delta_write", (delta, templates, rows)),
        ("JSON in a column", "blob_write", (blob, templates, rows)),
    ):
        s3.counts()
        wrote = ask(job, *more)
        told.append((name, wrote, s3.counts()))
    compacted = {"ledger": ask("compact", ours), "delta-rs append": ask("delta_compact", delta)}
    print(f"\nthe same {rows:,} traces, {objects:,} objects: side by side, ratios to the ledger")
    print(f"  {'write':18} {'ms/object':>10} {'requests/object':>16} {'MB compacted':>13}")
    first: list[float] = []
    for name, wrote, requests in told:
        size = compacted.get(name, wrote)["bytes"] / 1e6
        figures = [1e3 * wrote["seconds"] / objects, sum(requests.values()) / objects, size]
        first = first or figures
        ratios = ", ".join(f"{figure / base:.1f}" for figure, base in zip(figures, first, strict=True))
        print(f"  {name:18} {figures[0]:10.1f} {figures[1]:16.1f} {figures[2]:13.1f}   x {ratios}")
    print(
        "  (the JSON column is one object, written at the end, so its first two figures are of no writer that survives)"
    )
    print(f"\n  {'ask, compacted':18} {'plain columns':>24} {'a nested list':>24}   seconds (requests)")
    for name, job, uri in (
        ("ledger", "question", ours),
        ("delta-rs", "delta_question", delta),
        ("JSON in a column", "blob_question", blob),
    ):
        answers = [_best(s3, job, uri, sql) for sql in _PEER_QUESTIONS[name]]
        told_answers = " ".join(f"{answer.seconds:15.2f} ({sum(answer.requests.values()):6,})" for answer in answers)
        print(f"  {name:18} {told_answers}", flush=True)


def _best(s3: CountedS3, job: str, uri: str, sql: str) -> _Answer:
    return min((_asked(s3, job, uri, sql) for _ in range(_ROUNDS)), key=lambda answer: answer.seconds)


# Two questions that all of them can answer: one of plain columns, one of a nested list.
_PEER_QUESTIONS: Final[Mapping[str, Sequence[str]]] = {
    "ledger": (
        "select decision, reason, count(*), quantile_cont(latency_ms, 0.95) from traces group by 1, 2",
        "select exclusion_reason, count(*) from documents where not selected group by 1",
    ),
    "delta-rs": (
        "select decision, reason, count(*), approx_percentile_cont(latency_ms, 0.95) from traces group by 1, 2",
        """
        select found['exclusion_reason'], count(*) from (select unnest(documents) as found from traces)
        where not found['selected'] group by 1
        """,
    ),
    "JSON in a column": (
        """
        select body->>'decision', body->>'reason', count(*), quantile_cont((body->>'latency_ms')::double, 0.95)
        from traces group by 1, 2
        """,
        """
        select found.exclusion_reason, count(*)
        from (select unnest(from_json(body->'documents',
            '[{"selected": "boolean", "exclusion_reason": "varchar"}]')) as found from traces)
        where not found.selected group by 1
        """,
    ),
}


if __name__ == "__main__":
    sys.exit(main())

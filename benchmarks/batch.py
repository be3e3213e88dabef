"""How fast a batch runs, and in how much memory: generated queries over the installed-docs corpus, by the real flow.

    python benchmarks/batch.py [--queries 100000] [--chunk-size 500] [--flags-off]

Prints queries a second, latency against the budget, and the process's memory after each tenth of the batch: it must not
grow with the batch. Beside it, the time of one retrieval by bm25s, as REDO uses it, and by rank-bm25.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from tasks.settings import prepare_prefect_environment

_WORDINGS = (
    "Which Python versions does {} support?",
    "What is the license of {}?",
    "How do I install {}?",
    "What does {} depend on and why?",
    "Is {} ready for production use?",
    "Where is the documentation of {}?",
    "Who maintains {} today?",
    "How do I configure logging in {}?",
    "What changed in the newest version of {}?",
    "Does {} work without a network?",
)


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", type=int, default=100_000, help="how many queries to generate")
    parser.add_argument("--chunk-size", type=int, default=500, help="queries of a chunk")
    parser.add_argument("--flags-off", action="store_true", help="run the legacy arm only, without a ledger")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["REDO_HOME"] = os.environ["PREFECT_HOME"] = folder
        prepare_prefect_environment(
            PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL="CRITICAL", PREFECT_SERVER_LOGGING_LEVEL="CRITICAL"
        )
        _run(Path(folder), arguments.queries, arguments.chunk_size, shadow=not arguments.flags_off)
    return 0


def _run(folder: Path, count: int, chunk_size: int, *, shadow: bool) -> None:
    from benchmarks.machine import describe  # noqa: PLC0415 - the environment comes first
    from examples.installed_docs import main as build  # noqa: PLC0415
    from flows.run_batch import run_batch  # noqa: PLC0415

    print(describe("redo", "prefect", "bm25s", "numpy", "pyarrow", "rank-bm25"), flush=True)
    build([str(folder / "docs")])
    queries, passages = folder / "queries.jsonl", folder / "docs" / "passages.jsonl"
    with queries.open("w") as stream:
        stream.writelines(json.dumps(query) + "\n" for query in _generated(folder / "docs" / "queries.jsonl", count))
    _compare_retrieval(folder, queries, passages)

    memory = _MemoryWatch(folder / "runs" / "batch", chunks=-(-count // chunk_size))
    memory.start()
    begun = time.perf_counter()
    summary = run_batch(str(queries), str(passages), batch_id="batch", chunk_size=chunk_size, shadow=shadow)
    seconds = time.perf_counter() - begun
    memory.stop()

    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    ledger_mb = sum(path.stat().st_size for path in (folder / "ledger").rglob("*.parquet")) / 1e6
    latency = summary["latency_ms"]
    print(f"\n{'shadow, both arms and the ledger' if shadow else 'legacy arm only, no ledger'}")
    print(f"  queries        {summary['answered']:,} of {count:,} in {seconds:.1f} s: {count / seconds:,.0f} a second")
    print(f"  latency        p50 {latency['p50']:.1f}, p95 {latency['p95']:.1f}, p99 {latency['p99']:.1f} ms of 400")
    print(f"  out of time    {summary['deadline_hits']:,}")
    print(f"  ledger         {ledger_mb:,.1f} MB, {1e3 * ledger_mb / count:.2f} kB a trace")
    print(f"  peak memory    {peak_mb:,.0f} MB")
    print(f"  memory, MB     {', '.join(f'{done:.0%} {megabytes:,.0f}' for done, megabytes in memory.seen)}")


def _generated(known: Path, count: int) -> Iterator[dict[str, str]]:
    """Queries about the packages of the corpus, in wordings that the demo does not have."""
    names = sorted({json.loads(line)["metadata"]["distribution"] for line in known.read_text().splitlines()})
    for number in range(count):
        wording, name = _WORDINGS[number % len(_WORDINGS)], names[number // len(_WORDINGS) % len(names)]
        yield {"query_id": f"g-{number:06d}", "text": wording.format(name), "session_id": f"s-{number // 3}"}


def _compare_retrieval(folder: Path, queries: Path, passages: Path) -> None:
    from rank_bm25 import BM25Okapi  # noqa: PLC0415

    from core.adapters.bm25 import Bm25Retriever, ensure_index, index_key, tokenize  # noqa: PLC0415
    from core.clock import Deadline, SystemClock  # noqa: PLC0415
    from core.model import Query  # noqa: PLC0415
    from core.records import parse_passage, parse_query  # noqa: PLC0415

    asked: list[Query] = [parse_query(json.loads(line)) for line in queries.read_text().splitlines()[:300]]
    corpus = [parse_passage(json.loads(line)) for line in passages.read_text().splitlines()]
    ours = Bm25Retriever(ensure_index(folder / "indexes", index_key(passages), lambda _: corpus))
    peer = BM25Okapi(tokenize([passage.text for passage in corpus]))
    clock = SystemClock()

    def timed(call: str) -> float:
        begun = clock.now()
        for query in asked:
            if call == "ours":
                ours.retrieve([query], 20, [Deadline(1.0, clock=clock)])
            else:
                peer.get_top_n(tokenize([query.text])[0], corpus, n=20)
        return 1e3 * (clock.now() - begun) / len(asked)

    timed("ours")
    rows = [(timed("ours"), timed("peer")) for _ in range(3)]
    mine, theirs = (min(row[place] for row in rows) for place in (0, 1))
    print(f"\none retrieval over {len(corpus):,} passages, best of 3 rounds of {len(asked)}")
    print(f"  bm25s          {mine:.2f} ms")
    print(f"  rank-bm25      {theirs:.2f} ms, {theirs / mine:.1f} times as long", flush=True)


class _MemoryWatch(threading.Thread):
    """Reads the process's memory whenever another tenth of the chunks is done."""

    def __init__(self, run: Path, *, chunks: int) -> None:
        super().__init__(daemon=True)
        self._run_folder = run
        self._chunks = chunks
        self._stop_asked = threading.Event()
        self.seen: list[tuple[float, float]] = []

    def run(self) -> None:
        """Watch until stopped."""
        while not self._stop_asked.wait(0.5):
            done = sum(1 for _ in self._run_folder.glob("chunks/*/done.json")) / self._chunks
            if done and done >= 0.1 * (len(self.seen) + 1) - 1e-9:
                pages = int(Path("/proc/self/statm").read_text().split()[1])
                self.seen.append((done, pages * resource.getpagesize() / 1e6))
                print(f"  {done:.0%} done", file=sys.stderr, flush=True)

    def stop(self) -> None:
        """Stop watching."""
        self._stop_asked.set()
        self.join()


if __name__ == "__main__":
    raise SystemExit(main())

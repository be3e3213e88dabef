"""How well BM25 and hybrid retrieval find passages, and what they cost: `python benchmarks/retrieval.py --data FOLDER`.

The folder has `scifact/` with the corpus as published (`scifact.zip`), the queries and the test judgments of BEIR. With
`--queries train` the training claims are asked instead, each judged by the abstracts that it cites: whatever is chosen
by results is chosen on these. Queries are asked one at a time. Where `ir_measures` is installed our figures are checked
against it, query by query.
"""

from __future__ import annotations

import argparse
import ast
import csv
import io
import json
import re
import shutil
import tempfile
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.machine import describe
from benchmarks.quality_parts.metrics import mean_estimate, ndcg, recall, reciprocal_rank
from core.adapters.bm25 import Bm25Retriever, ensure_index
from core.adapters.embedder import OnnxEmbedder
from core.adapters.hybrid import HybridRetriever
from core.adapters.passage_vectors import PassageVectors, ensure_vectors, vectors_folder
from core.clock import Deadline, SystemClock
from core.model import Passage, Query
from core.ports import Retriever

_DEEP = 100
_RESAMPLES = 2_000
_BUDGET_S = 0.4
_PACKAGES = ("bm25s", "PyStemmer", "onnxruntime", "tokenizers", "numpy")
_LITERAL = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"", re.DOTALL)

Judged = Mapping[str, frozenset[str]]
"""The relevant passages of each query."""
Ranked = Mapping[str, Sequence[str]]
"""The passages found for each query, best first."""


@dataclass(frozen=True)
class Task:
    """A corpus, queries about it, and what is relevant to each."""

    passages: list[Passage]
    queries: list[Query]
    relevant: Judged


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    name: str
    found: Ranked
    milliseconds: NDArray[np.float64]
    incomplete: int = 0


# --- data ----------------------------------------------------------------------------------------------------------


def scifact(folder: Path, which: str) -> Task:
    """SciFact's abstracts with the BEIR test queries (`test`), or with the training claims (`train`)."""
    passages = [
        Passage(row["doc_id"], f"{row['title']} {' '.join(_sentences(row['abstract']))}")
        for row in _rows(folder / "scifact.zip", "corpus_train.csv")
    ]
    relevant = _test_judgments(folder / "qrels-test.tsv") if which == "test" else _cited(folder / "scifact.zip")
    with (folder / "queries.jsonl").open(encoding="utf-8") as lines:
        asked = [json.loads(line) for line in lines]
    queries = [Query(row["_id"], row["text"]) for row in asked if row["_id"] in relevant]
    return Task(passages, queries, relevant)


def _rows(archive: Path, name: str) -> Iterator[dict[str, str]]:
    with zipfile.ZipFile(archive) as opened, opened.open(name) as stream:
        yield from csv.DictReader(io.TextIOWrapper(stream, encoding="utf-8", newline=""))


def _sentences(listed: str) -> list[str]:
    """The texts of a list as numpy prints it: without commas."""
    return [str(ast.literal_eval(found)).strip() for found in _LITERAL.findall(listed)]


def _test_judgments(path: Path) -> Judged:
    found: dict[str, set[str]] = {}
    with path.open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream, delimiter="\t"):
            if int(row["score"]) > 0:
                found.setdefault(row["query-id"], set()).add(row["corpus-id"])
    return {query: frozenset(passages) for query, passages in found.items()}


def _cited(archive: Path) -> Judged:
    found = {
        row["id"]: frozenset(re.findall(r"\d+", row["cited_doc_ids"])) for row in _rows(archive, "claims_train.csv")
    }
    return {query: passages for query, passages in found.items() if passages}


# --- measures ------------------------------------------------------------------------------------------------------


FIGURES = ("nDCG@10", "R@100", "RR@10")
"""Names of the figures of `figures_of`, as `ir_measures` spells them."""


def figures_of(found: Sequence[str], relevant: frozenset[str]) -> dict[str, float]:
    """The figures named in `FIGURES` of the passages found for one query."""
    hits = [passage in relevant for passage in found]
    values = (ndcg(hits, len(relevant), k=10), recall(hits, len(relevant), k=100), reciprocal_rank(hits, k=10))
    return dict(zip(FIGURES, values, strict=True))


def check(found: Ranked, relevant: Judged) -> str:
    """Compare our measures with those of ir_measures, query by query."""
    try:
        import ir_measures  # noqa: PLC0415 - a check, and no dependency of what is measured
    except ImportError:
        return "ir_measures is not installed: the measures are not checked against it"
    judged = [ir_measures.Qrel(query, passage, 1) for query, passages in relevant.items() for passage in passages]
    run = [
        ir_measures.ScoredDoc(query, passage, -float(place))
        for query, passages in found.items()
        for place, passage in enumerate(passages)
    ]
    names = {name: ir_measures.parse_measure(name) for name in FIGURES}
    theirs = {
        (str(item.measure), item.query_id): item.value for item in ir_measures.iter_calc(names.values(), judged, run)
    }
    worst = max(
        abs(value - theirs.get((str(names[name]), query), 0.0))
        for query, passages in found.items()
        for name, value in figures_of(passages, relevant[query]).items()
    )
    if worst > 1e-9:  # noqa: PLR2004 - sums in another order
        raise SystemExit(f"our measures differ from those of ir_measures by up to {worst}")
    return f"checked against ir_measures: {len(names)} measures x {len(found)} queries, largest difference {worst:.1e}"


# --- runs ----------------------------------------------------------------------------------------------------------


def asked(name: str, retriever: Retriever, queries: Sequence[Query]) -> Row:
    """Ask each query alone, with the time of a query in production."""
    clock, found, took, incomplete = SystemClock(), {}, [], 0
    for query in queries:
        deadline = Deadline(_BUDGET_S, clock=clock)
        (ranking,) = retriever.retrieve([query], _DEEP, [deadline])
        found[query.query_id] = [item.passage.passage_id for item in ranking.items]
        took.append(deadline.spent_s * 1e3)
        incomplete += not ranking.complete
    return Row(name, found, np.array(took), incomplete)


def by_vectors(task: Task, embedder: OnnxEmbedder, vectors: PassageVectors) -> Row:
    """The nearest vectors alone."""
    found, took = {}, []
    for query in task.queries:
        begun = time.perf_counter()
        rows, _ = vectors.nearest(embedder.embed([query.text])[0], _DEEP)
        took.append((time.perf_counter() - begun) * 1e3)
        found[query.query_id] = [task.passages[row].passage_id for row in rows.tolist()]
    return Row("vectors alone", found, np.array(took))


def table(rows: Sequence[Row], relevant: Judged) -> str:
    """The rows with their measures and times."""
    lines = [
        "| retriever | nDCG@10 (95 %) | R@100 (95 %) | RR@10 | ms p50 / p95 / p99 | out of time |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        each = [figures_of(found, relevant[query]) for query, found in row.found.items()]
        figures = {name: mean_estimate([figures[name] for figures in each], resamples=_RESAMPLES) for name in FIGURES}
        ndcg_10, recall_100 = (
            f"{one.value:.4f} ({one.low:.3f} to {one.high:.3f})" for one in (figures["nDCG@10"], figures["R@100"])
        )
        times = " / ".join(f"{value:.1f}" for value in np.percentile(row.milliseconds, [50, 95, 99]))
        lines.append(
            f"| {row.name} | {ndcg_10} | {recall_100} | {figures['RR@10'].value:.4f} | {times} | {row.incomplete} |"
        )
    return "\n".join(lines)


def scaled(sizes: Sequence[int], dimensions: int, queries: int) -> str:
    """How long searching random vectors takes, by their number."""
    chance = np.random.default_rng(0)
    lines = ["| passages | vectors on disk | search p50 / p95 |", "|---|---|---|"]
    for size in sizes:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            numbers = chance.integers(-127, 128, (size, dimensions), dtype=np.int8)
            np.save(folder / "vectors.npy", numbers)
            np.save(folder / "lengths.npy", np.sqrt(np.square(numbers, dtype=np.int32).sum(axis=1)).astype(np.float32))
            vectors, took = PassageVectors(folder, passages=size), []
            for _ in range(queries):
                wanted = chance.standard_normal(dimensions).astype(np.float32)
                begun = time.perf_counter()
                vectors.nearest(wanted, 200)
                took.append((time.perf_counter() - begun) * 1e3)
            megabytes = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
            p50, p95 = np.percentile(took, [50, 95])
            lines.append(f"| {size:,} | {megabytes:.1f} MB | {p50:.1f} / {p95:.1f} ms |")
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with scifact/")
    parser.add_argument("--queries", choices=["test", "train"], default="test")
    parser.add_argument("--kept", type=Path, help="folder for the index, to be used again; made anew without it")
    parser.add_argument("--model", type=Path, help="another embedder's folder")
    parser.add_argument("--threads", type=int, default=2, help="threads that compute the vectors")
    given = parser.parse_args()
    task = scifact(given.data / "scifact", given.queries)
    print(describe(*_PACKAGES))
    print(f"SciFact   {len(task.passages):,} passages, {len(task.queries)} {given.queries} queries\n")
    folder = given.kept or Path(tempfile.mkdtemp(prefix="retrieval-"))
    try:
        _measure(task, folder, given)
    finally:
        if given.kept is None:
            shutil.rmtree(folder)


def _measure(task: Task, folder: Path, given: Any) -> None:  # noqa: ANN401 - argparse's answer
    begun = time.perf_counter()
    index = ensure_index(folder, "scifact", lambda _: task.passages)
    indexed_s = time.perf_counter() - begun
    embedder = OnnxEmbedder(given.model, threads=given.threads)
    had = vectors_folder(index, embedder.version).exists()
    begun = time.perf_counter()
    vectors_at = ensure_vectors(index, embedder)
    embedded_s = time.perf_counter() - begun
    count = len(task.passages)
    print(f"index     BM25 {count / indexed_s:,.0f} passages/s" + ("" if not had else " (was there)"))
    print(
        f"vectors   {count / embedded_s:,.1f} passages/s, {given.threads} threads"
        + ("" if not had else " (were there)")
    )

    one = OnnxEmbedder(given.model, threads=1)
    bm25 = Bm25Retriever(index)
    hybrid = HybridRetriever(index, bm25, one)
    print(f"retriever {hybrid.version}\n")
    asked("warm", hybrid, task.queries[:20])
    rows = [
        asked("BM25", bm25, task.queries),
        by_vectors(task, one, PassageVectors(vectors_at, passages=count)),
        asked("hybrid", hybrid, task.queries),
    ]
    print(table(rows, task.relevant))
    print(f"\n{check(rows[-1].found, task.relevant)}\n")
    print(scaled([1_000, 10_000, 100_000], one.dimensions, 20))


if __name__ == "__main__":
    main()

"""How good REDO's choice is, part by part: `python benchmarks/quality.py --data FOLDER`.

    A  pairs of sentences: SNLI, MultiNLI, Breaking NLI, SciFact
    B  RAMDocs: which passages conflict
    C  RAMDocs: which come first, among a question's own passages and in the pool of all
    D  SciFact: retrieval before and after REDO
    E  RAMDocs: quality at budgets of 50 to 400 ms, and the time a query takes
    F  the installed packages' documentation: what `redo demo` measures

The folder has `nli/`, `ramdocs/` and `scifact/`; what is missing is said in the tables. Figures have 95 % intervals
from resampling questions (or premises). What was trained on RAMDocs is trained anew for each fifth of the questions on
the other four. Seeds are fixed. Tables go to standard output as Markdown, what is going on to standard error.

`--disputes 10` prints ten contradictions of each data set for reading instead, five right and five wrong.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from benchmarks.machine import describe
from benchmarks.quality_parts import ramdocs
from benchmarks.quality_parts.arms import RememberingModel, load_model
from benchmarks.quality_parts.budgets import budget_tables
from benchmarks.quality_parts.conflicts import conflict_table
from benchmarks.quality_parts.disputes import installed_disputes, pair_disputes, ramdocs_disputes
from benchmarks.quality_parts.installed import Demo, installed_table, run_demo
from benchmarks.quality_parts.orders import selection_table
from benchmarks.quality_parts.pairs import stance_tables
from benchmarks.quality_parts.peers import Peers
from benchmarks.quality_parts.retrieval import scifact_table
from benchmarks.quality_parts.tables import Table, markdown, record
from core.adapters.embedder import Embedder, OnnxEmbedder
from core.contradictions.entailment_stage import EntailmentModel
from core.errors import ConfigError
from core.model import Ranking

PARTS = "ABCDEF"
_PACKAGES = ("redo", "numpy", "scipy", "bm25s", "onnxruntime", "tokenizers")
_QUICK_EVERY = {"pairs": 20, "questions": 6, "claims": 10, "docs": 20}


@dataclass(frozen=True)
class Setup:
    """What was asked for, and what several parts share; each is made when it is first needed.

    Attributes:
        data: the folder with the sets.
        kept: where indexes and vectors lie.
        model: the entailment model, or why there is none.
        peers: the interpreter with the other libraries.
        threads: of the models.
        quick: whether samples are enough.
    """

    data: Path
    kept: Path
    model: EntailmentModel | str
    peers: Path | None
    threads: int
    quick: bool

    def every(self, what: str) -> int:
        """Of how many things one is taken."""
        return _QUICK_EVERY[what] if self.quick else 1

    @cached_property
    def remembering(self) -> EntailmentModel | str:
        """The model, computing each pair once."""
        return self.model if isinstance(self.model, str) else RememberingModel(self.model)

    @cached_property
    def embedder(self) -> Embedder | str:
        """The embedder, or why there is none."""
        try:
            return OnnxEmbedder(threads=self.threads)
        except ConfigError as error:
            return f"no embedder: {error}"

    @cached_property
    def cases(self) -> list[ramdocs.Case]:
        """The questions of RAMDocs."""
        return ramdocs.read_cases(self.data, every=self.every("questions"), shipped=self.quick)

    @cached_property
    def pooled(self) -> list[Ranking]:
        """The best of the pool of all passages for each question."""
        return ramdocs.pooled_rankings(ramdocs.pool(self.kept, self.cases), self.cases)

    @cached_property
    def demo(self) -> Demo:
        """The installed docs, asked."""
        return run_demo(self.kept, self.model, every=self.every("docs"))


def tables_of(part: str, setup: Setup) -> list[Table]:
    """The tables of one part."""
    if part in "BCE" and not (setup.data / ramdocs.FILE).exists():
        return [Table(f"RAMDocs ({part})", (), ((f"missing: {setup.data / ramdocs.FILE}: no such file", ()),))]
    match part:
        case "A":
            return stance_tables(setup.data, setup.model, every=setup.every("pairs"))
        case "B":
            return [conflict_table(setup.cases, setup.remembering)]
        case "C":
            peers = Peers(setup.peers, "nobody asked for peers" if setup.peers is None else setup.embedder)
            return [
                selection_table(
                    f"RAMDocs, order of {name}",
                    setup.cases,
                    rankings,
                    model=setup.remembering,
                    peers=peers,
                    pooled=pooled,
                )
                for name, rankings, pooled in (
                    ("a question's own passages", [case.own for case in setup.cases], False),
                    (f"the best {ramdocs.POOLED_K} of all passages", setup.pooled, True),
                )
            ]
        case "D":
            every = setup.every("claims")
            embedder = "left out by --quick" if setup.quick else setup.embedder
            return [scifact_table(setup.data, setup.kept, model=setup.remembering, embedder=embedder, every=every)]
        case "E":
            return budget_tables(setup.cases, setup.pooled, setup.model)
        case _:
            return [installed_table(setup.demo, setup.model)]


def disputes(setup: Setup, count: int, parts: str) -> Iterator[str]:
    """Contradictions of each data set, as text."""
    model = None if isinstance(setup.model, str) else setup.model
    if model is None:
        yield f"without the entailment stage: {setup.model}"
    if set(parts) & set("BCE") and (setup.data / ramdocs.FILE).exists():
        yield from ramdocs_disputes(setup.cases, model, count)
    if "F" in parts:
        yield from installed_disputes(setup.demo, count)
    if "A" in parts and model is not None:
        yield from pair_disputes(setup.data, model, count, every=setup.every("pairs"))


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with nli/, ramdocs/ and scifact/")
    parser.add_argument("--only", default=PARTS, metavar="A,C", help="parts to measure")
    parser.add_argument("--quick", action="store_true", help="samples, and packaged weights: to see that it runs")
    parser.add_argument("--peers", type=Path, metavar="PYTHON", help="an interpreter with the other libraries")
    parser.add_argument("--model", type=Path, help="folder of another entailment model")
    parser.add_argument("--kept", type=Path, help="folder for indexes and vectors, to be used again")
    parser.add_argument("--threads", type=int, default=2, help="threads of the models")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the tables there as well")
    parser.add_argument("--disputes", type=int, metavar="N", help="print N disputes a data set instead")
    given = parser.parse_args(argv)
    parts = [part for part in given.only.upper() if part not in ", "]
    if unknown := sorted(set(parts) - set(PARTS)):
        parser.error(f"--only {given.only}: no part {', '.join(unknown)}; parts are {', '.join(PARTS)}")
    with _folder(given.kept) as kept:
        model = load_model(given.model, threads=given.threads)
        setup = Setup(given.data, kept, model, given.peers, given.threads, given.quick)
        if given.disputes:
            for text in disputes(setup, given.disputes, "".join(parts)):
                print(text)
            return 0
        about = describe(*_PACKAGES)
        named = model if isinstance(model, str) else f"{model.version}, {given.threads} threads"
        print(f"```\n{about}\nmodel     {named}\n```\n", flush=True)
        _measure(setup, parts, given.json, about)
    return 0


@contextlib.contextmanager
def _folder(given: Path | None) -> Iterator[Path]:
    folder = given or Path(tempfile.mkdtemp(prefix="quality-"))
    try:
        yield folder
    finally:
        if given is None:
            shutil.rmtree(folder)


def _measure(setup: Setup, parts: Sequence[str], path: Path | None, about: str) -> None:
    records: dict[str, list[dict[str, object]]] = {}
    for part in parts:
        begun = time.perf_counter()
        found = tables_of(part, setup)
        records[part] = [record(table) for table in found]
        for table in found:
            print(markdown(table), flush=True)
        print(f"part {part}: {time.perf_counter() - begun:.0f} s", file=sys.stderr, flush=True)
    if path is not None:
        path.write_text(json.dumps({"about": about.splitlines(), "parts": records}, indent=1) + "\n")


if __name__ == "__main__":
    raise SystemExit(main())

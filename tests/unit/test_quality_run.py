"""The quality benchmark on a made-up data set."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from benchmarks.quality import main
from benchmarks.quality_parts.arms import FULL, RememberingModel, detect, no_opposition, no_support, redo_order
from benchmarks.quality_parts.budgets import forget_passages
from benchmarks.quality_parts.conflicts import by_arm, conflict_table, flagged, raw_slots
from benchmarks.quality_parts.disputes import Shown, drawn
from benchmarks.quality_parts.pairs import by_rules
from benchmarks.quality_parts.peers import Peers
from benchmarks.quality_parts.ramdocs import Case, content_id, filled, pool, pooled_rankings, read_cases
from core.contradictions.slots.weights import shipped_content
from core.similarity import word_set
from tests.quality_samples import TOWNS, write_pairs, write_ramdocs
from tests.tiny_nli import write_tiny_model
from training.nli.pairs import Pair
from training.slots.data import LabelledQuestion

PAIRS = [
    ("The dog is asleep in the garden .", "The dog is not asleep in the garden .", "c"),
    ("The dog is asleep in the garden .", "The dog is asleep .", "e"),
    ("The dog is asleep in the garden .", "The dog dreams of a bone .", "n"),
]


@pytest.fixture(name="data", scope="module")
def _data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_ramdocs(tmp_path_factory.mktemp("data"))
    return write_pairs(folder, "snli_test", PAIRS)


@pytest.fixture(name="cases", scope="module")
def _cases(data: Path) -> list[Case]:
    return read_cases(data, shipped=True)


class CountingModel:
    """Says of every pair that it is a contradiction, and counts what it was asked."""

    version = "counting-1"

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    def score(self, pairs: Sequence[tuple[str, str]]) -> np.ndarray:
        """One row a pair."""
        self.asked.extend(pairs)
        return np.tile(np.array([0.02, 0.03, 0.95], np.float32), (len(pairs), 1))


def test_the_command_prints_every_part_and_says_what_is_missing(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Tables on standard output and as JSON; the sets that are not there are named in their tables."""
    written = tmp_path / "tables.json"
    tiny = write_tiny_model(tmp_path / "tiny")
    options = ["--quick", "--only", "A,B,C,D,E", "--json", str(written), "--model", str(tiny)]
    assert main(["--data", str(data), "--kept", str(tmp_path / "kept"), *options]) == 0
    out = capsys.readouterr().out
    assert "model     tiny-1" in out
    assert out.count("no such file") == 4  # three sets of pairs, and SciFact
    assert "--peers names no interpreter" in out
    parts = json.loads(written.read_text())["parts"]
    rows = {row["name"]: row["cells"] for row in parts["C"][0]["rows"]}
    assert rows["ceiling: passages an answer, from the labels"][0]["value"] == 1.0
    assert rows["BM25 (legacy)"][0]["value"] < rows["REDO, all stages"][0]["value"]
    assert [row["name"] for row in parts["E"][0]["rows"]] == ["50 ms", "100 ms", "200 ms", "400 ms"]


def test_a_missing_model_is_said(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The rows that need it say why they are empty, the others are measured."""
    assert main(["--data", str(data), "--quick", "--only", "A", "--model", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "| embedded model | no embedded model: " in out
    assert "| lexical rules | 1.000 [" in out


def test_an_unknown_part_is_refused(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With the parts that there are."""
    with pytest.raises(SystemExit):
        main(["--data", str(data), "--only", "A,Z"])
    assert "no part Z; parts are A, B, C, D, E, F" in capsys.readouterr().err


def test_rules_label_a_pair() -> None:
    """A denied sentence contradicts, a part of it follows, another statement is open."""
    assert [by_rules(Pair(*pair, "made-up")) for pair in PAIRS] == ["c", "e", "n"]


def test_order_and_ids_say_nothing(cases: Sequence[Case]) -> None:
    """Ids are digests of the texts, and passages do not stand in the order of the file, correct ones first."""
    assert [case.ids for case in cases] == [list(map(content_id, case.texts)) for case in cases]
    assert len({case.item.types for case in cases}) > 1


def test_conflicts_are_found_by_rules_and_slots(cases: Sequence[Case]) -> None:
    """The edited year conflicts with both right passages; which stages take part decides what is found."""
    case = cases[0]
    assert sorted(conflict for *_, conflict in case.conflict_pairs()) == [False, True, True]
    conflicts = {
        frozenset((case.ids[left], case.ids[right])) for left, right, conflict in case.conflict_pairs() if conflict
    }
    found = by_arm(FULL, CountingModel())(case)
    assert conflicts & found.keys()
    assert raw_slots(case).keys() > found.keys()
    assert not flagged(detect(FULL.detector(case.reader, CountingModel()), case.query, filled(case, case.own, 1)))


def test_a_row_that_only_ranks_pairs_counts_nothing(cases: Sequence[Case]) -> None:
    """What is flagged is counted for detectors; a probability of every pair flags none, and lacks those cells."""
    table = conflict_table(cases, CountingModel())
    cells = {name: len(row) for name, row in table.rows}
    assert cells["lexical rules"] == cells["cascade, as flagged"] == len(table.columns)
    assert cells["slots, the probability itself"] == len(table.columns) - 3


def test_support_and_opposition_can_be_left_out(cases: Sequence[Case]) -> None:
    """What the labels call misinformation comes last with all parts, and no later than that without."""
    case = cases[0]
    detection = detect(FULL.detector(case.reader, CountingModel()), case.query, case.own)
    wrong = next(name for name, (kind, _) in case.labels.items() if kind == "misinfo")
    places = [
        redo_order(case.query, case.own, given).index(wrong)
        for given in (detection, no_support(detection), no_opposition(detection))
    ]
    assert places[0] == max(places) >= 2
    assert all(one.support == 0 for one in no_support(detection).standings)
    assert no_opposition(detection).contradictions == ()


def test_the_pool_is_searched_and_mixed(cases: Sequence[Case], tmp_path: Path) -> None:
    """Each question's own passages are found; a mix has them first and is filled with others'."""
    pooled = pooled_rankings(pool(tmp_path, cases), cases)
    case, ranking = cases[3], pooled[3]
    assert ranking.items[0].passage.passage_id in case.labels
    mix = filled(case, ranking, 6)
    names = [item.passage.passage_id for item in mix.items]
    assert len(names) == len(set(names)) == 6
    assert set(case.ids) < set(names)
    assert case.ranked(names, pooled=True).types.count("other") == 2
    assert "noise" in case.ranked(names, pooled=True).known


def test_a_reader_never_saw_the_question_it_reads(data: Path) -> None:
    """Five readers, each trained on the questions that it does not read."""
    trained: list[set[str]] = []

    def fit(questions: Sequence[LabelledQuestion], version: str) -> Mapping[str, object]:
        del version
        trained.append({item.question.text for item in questions})
        return {**shipped_content(), "version": str(len(trained))}

    cases = read_cases(data, fit=fit)
    assert [case.number for case in cases] == list(range(len(TOWNS)))
    assert [len(texts) for texts in trained] == [8] * 5
    for case in cases:
        assert case.query.text not in trained[int(case.reader.version) - 1]


def test_a_pair_is_computed_once() -> None:
    """Two arms that ask about the same pair cost one call."""
    model = CountingModel()
    remembering = RememberingModel(model)
    first = remembering.score([("a", "b"), ("a", "b"), ("c", "d")])
    again = remembering.score([("c", "d")])
    assert model.asked == [("a", "b"), ("c", "d")]
    assert first.shape == (3, 3)
    assert np.array_equal(again[0], first[2])
    assert remembering.score([]).shape == (0, 3)


def test_forgetting_empties_the_caches() -> None:
    """Passages that were read have to be read again."""
    word_set("a text that nobody else reads")
    assert word_set.cache_info().currsize
    forget_passages()
    assert word_set.cache_info().currsize == 0


def test_caches_are_found_though_the_garbage_collector_does_not_show_them() -> None:
    """Building a pipeline freezes what is loaded, and frozen objects are in no listing of the collector."""
    code = (
        "import gc; from core.similarity import word_set; word_set('a text'); gc.freeze();"
        "from benchmarks.quality_parts.budgets import forget_passages; forget_passages();"
        "raise SystemExit(word_set.cache_info().currsize)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


@pytest.mark.process
def test_a_peer_without_packages_says_so(cases: Sequence[Case]) -> None:
    """Every library gets a row, with the reason."""
    rows = Peers(Path(sys.executable), "no embedder").orders(cases, [case.own for case in cases])
    assert len(rows) == 4
    assert all(isinstance(found, str) and found.startswith("not measured: ") for _, found in rows)


def test_a_peer_that_cannot_be_run_says_so(cases: Sequence[Case], tmp_path: Path) -> None:
    """A path that is no interpreter is no reason to stop."""
    ((name, found),) = Peers(tmp_path / "python", "no embedder").orders(cases, [case.own for case in cases])
    assert "LangChain" in name
    assert str(found).startswith("not measured: FileNotFoundError")


def test_disputes_for_reading_are_drawn_once_a_question() -> None:
    """The same draw each time, and no question twice."""
    listed = [Shown(f"question {number % 7}", f"text {number}") for number in range(40)]
    chosen = drawn(listed, 5)
    assert chosen == drawn(listed, 5)
    assert len({item.question for item in chosen}) == 5
    assert len(drawn(listed, 20)) == 7


def test_disputes_are_printed_with_spans_and_order(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The values that differ are marked in their sentences, and the order shows the types of the passages."""
    tiny = write_tiny_model(tmp_path / "tiny")
    options = ["--quick", "--only", "A,B", "--disputes", "4", "--model", str(tiny)]
    assert main(["--data", str(data), *options]) == 0
    out = capsys.readouterr().out
    assert "== RAMDocs: " in out
    assert "«1801»" in out
    assert ">misinfo" in out
    assert "== SNLI test: 1 of 1 right" in out
    assert "== MultiNLI slice: " in out

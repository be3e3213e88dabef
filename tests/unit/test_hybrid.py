"""Hybrid retrieval: two rankings fused, and BM25 alone where time does not hold more."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.adapters.bm25 import Bm25Retriever, ensure_index
from core.adapters.hybrid import DEPTH, HybridRetriever
from core.adapters.manual_clock import ManualClock
from core.adapters.passage_vectors import ensure_vectors
from core.clock import Deadline
from core.errors import RetrieverError
from core.model import Passage, Query, Ranking
from tests.fake_embedders import SlowEmbedder, WordEmbedder

WORDS = {
    "whales": (1, 0, 0, 0),
    "orcas": (1, 0.2, 0, 0),
    "dolphins": (1, 0.6, 0, 0),
    "harbour": (0, 0, 1, 0),
    "port": (0, 0, 1, 0),
}
PASSAGES = (
    Passage("words", "Whales whales whales of the north."),
    Passage("meaning", "Orcas hunt in groups."),
    Passage("both", "Whales and orcas meet."),
    Passage("far", "Dolphins play."),
    Passage("other", "The port was closed."),
)


def hybrid(folder: Path, embedder: WordEmbedder | None = None) -> HybridRetriever:
    """A hybrid retriever over the passages."""
    embedder = embedder or WordEmbedder(WORDS)
    index = ensure_index(folder, "key", lambda _: PASSAGES)
    ensure_vectors(index, embedder)
    embedder.texts.clear()
    return HybridRetriever(index, Bm25Retriever(index), embedder)


def search(retriever: HybridRetriever, text: str, *, k: int = 10, budget_s: float = 1.0) -> Ranking:
    """The ranking of one query."""
    (ranking,) = retriever.retrieve([Query("q", text)], k, [Deadline(budget_s, clock=ManualClock())])
    return ranking


def ids(ranking: Ranking) -> list[str]:
    """The ids of the passages, best first."""
    return [item.passage.passage_id for item in ranking.items]


def test_words_and_meaning(tmp_path: Path) -> None:
    """What both rankings have comes first; what only one has is there too, with 1 / (60 + rank)."""
    ranking = search(hybrid(tmp_path), "Where are whales?")
    assert ids(ranking) == ["words", "both", "meaning", "far"]
    assert [item.score for item in ranking.items] == pytest.approx([1 / 61 + 1 / 61, 1 / 62 + 1 / 62, 1 / 63, 1 / 64])
    assert ranking.complete


def test_a_word_that_no_passage_has(tmp_path: Path) -> None:
    """Meaning alone finds the passage that says it in other words."""
    retriever = hybrid(tmp_path)
    assert ids(search(retriever, "harbour")) == ["other"]
    assert search(retriever, "harbour").items[0].score == pytest.approx(1 / 61)


def test_a_word_that_the_embedder_does_not_know(tmp_path: Path) -> None:
    """Words alone find the passage that has them."""
    assert ids(search(hybrid(tmp_path), "closed")) == ["other"]


@pytest.mark.parametrize(("budget_s", "embedded"), [(0.024, False), (0.0, False), (-1.0, False), (0.03, True)])
def test_without_time_for_the_embedding(tmp_path: Path, budget_s: float, *, embedded: bool) -> None:
    """Then the ranking is BM25's, says that it is not complete, and the query is not embedded."""
    embedder = WordEmbedder(WORDS)
    ranking = search(hybrid(tmp_path, embedder), "Where are whales?", budget_s=budget_s)
    assert ranking.complete is embedded
    assert bool(embedder.texts) is embedded
    if not embedded:
        assert ids(ranking) == ["words", "both"]
        assert [item.score for item in ranking.items] == pytest.approx([1 / 61, 1 / 62])


def test_time_is_counted_by_query(tmp_path: Path) -> None:
    """Each query pays for its own embedding; one that has no time left costs the others nothing."""
    clock = ManualClock()
    retriever = hybrid(tmp_path, SlowEmbedder(WORDS, 0.25, clock))
    deadlines = [Deadline(budget_s, clock=clock) for budget_s in (1.0, 0.01, 1.0)]
    rankings = retriever.retrieve([Query(f"q{number}", "whales") for number in range(3)], 10, deadlines)
    assert [ranking.complete for ranking in rankings] == [True, False, True]
    assert [deadline.spent_s for deadline in deadlines] == [0.25, 0.0, 0.25]


def test_depth_does_not_depend_on_k(tmp_path: Path) -> None:
    """A ranking of few is the beginning of a ranking of many; at least as many are fused as a query can ask for."""
    retriever = hybrid(tmp_path)
    whole = search(retriever, "whales", k=DEPTH)
    for k in range(5):
        assert search(retriever, "whales", k=k).items == whole.items[:k]


def test_version_names_its_parts(tmp_path: Path) -> None:
    """The trace tells which BM25 and which embedder made the ranking."""
    version = hybrid(tmp_path).version
    assert version.startswith("hybrid-1(bm25s-")
    assert version.endswith("+words-1)")


def test_without_vectors(tmp_path: Path) -> None:
    """An index that has none for this embedder is an error when the retriever is made, not when it is asked."""
    hybrid(tmp_path)
    index = tmp_path / "key"
    with pytest.raises(RetrieverError, match="cannot open the passage vectors"):
        HybridRetriever(index, Bm25Retriever(index), WordEmbedder(WORDS, version="another"))

"""What every retriever promises, the official test doubles included."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import pytest

from core.adapters.bm25 import Bm25Retriever, ensure_index
from core.adapters.doubles import FailingRetriever, FixedRetriever, SlowRetriever
from core.adapters.embedder import OnnxEmbedder
from core.adapters.given_candidates import GivenCandidates
from core.adapters.hybrid import HybridRetriever
from core.adapters.manual_clock import ManualClock
from core.adapters.passage_vectors import ensure_vectors
from core.clock import Deadline
from core.errors import RetrieverError
from core.model import Passage, Query, Ranking, ScoredPassage
from core.ports import Retriever

PASSAGES = tuple(
    Passage(f"p{number}", text, f"source {number}")
    for number, text in enumerate(
        (
            "The harbour of Lisbon lies on the Tagus.",
            "Whales swim past the harbour of Lisbon.",
            "Whales are mammals, and no whale is a fish.",
            "Whales swim past the harbour of Porto.",
            "Nothing of interest was ever written here.",
        )
    )
)
QUERIES = (Query("whales", "Where do whales swim?"), Query("none", "xylophone"), Query("harbour", "Lisbon's harbour"))
RANKINGS = {
    "whales": Ranking(tuple(ScoredPassage(PASSAGES[place], score) for place, score in ((1, 3.0), (3, 3.0), (2, 2.0)))),
    "harbour": Ranking(tuple(ScoredPassage(PASSAGES[place], 2.0 - place / 4) for place in (0, 1, 3))),
}


@dataclass(frozen=True)
class Case:
    """A retriever and three queries for it, of which the second matches nothing."""

    retriever: Retriever
    queries: tuple[Query, ...]
    clock: ManualClock

    def retrieve(self, k: int = 10, *, budget_s: float = 10.0) -> Sequence[Ranking]:
        """The rankings of all queries."""
        return self.retrieve_for(self.queries, k, budget_s=budget_s)

    def retrieve_for(self, queries: Sequence[Query], k: int = 10, *, budget_s: float = 10.0) -> Sequence[Ranking]:
        """The rankings of some queries."""
        deadlines = [Deadline(budget_s, clock=self.clock) for _ in queries]
        rankings = self.retriever.retrieve(queries, k, deadlines)
        spent_s = [deadline.spent_s for deadline in deadlines]
        self.clock.advance(100.0)
        assert [deadline.spent_s for deadline in deadlines] == spent_s, "a deadline was left running"
        return rankings


def bm25(folder: Path, _: ManualClock) -> tuple[Retriever, Sequence[Query]]:
    """The index on disk."""
    return Bm25Retriever(ensure_index(folder, "key", lambda _: PASSAGES)), QUERIES


@cache
def embedder() -> OnnxEmbedder:
    """The embedder that comes with the package, loaded once."""
    return OnnxEmbedder(threads=1)


def hybrid(folder: Path, _: ManualClock) -> tuple[Retriever, Sequence[Query]]:
    """The index on disk, and the passages' vectors beside it."""
    index = ensure_index(folder, "key", lambda _: PASSAGES)
    ensure_vectors(index, embedder())
    return HybridRetriever(index, Bm25Retriever(index), embedder()), QUERIES


def given(*_: object) -> tuple[Retriever, Sequence[Query]]:
    """The candidates that each query brings."""
    return GivenCandidates(None), [
        replace(query, candidates=RANKINGS.get(query.query_id, Ranking(())).items) for query in QUERIES
    ]


def given_to_some(folder: Path, clock: ManualClock) -> tuple[Retriever, Sequence[Query]]:
    """The candidates of one query, and an index for the others."""
    otherwise, _ = bm25(folder, clock)
    first, *others = QUERIES
    return GivenCandidates(otherwise), [replace(first, candidates=RANKINGS[first.query_id].items), *others]


def fixed(*_: object) -> tuple[Retriever, Sequence[Query]]:
    """The double that answers what it was told."""
    return FixedRetriever(RANKINGS), QUERIES


def failing(*_: object) -> tuple[Retriever, Sequence[Query]]:
    """The double that fails, asked about queries that it does not fail on."""
    return FailingRetriever(RetrieverError("poison"), poison={"other"}, otherwise=FixedRetriever(RANKINGS)), QUERIES


def slow(_: Path, clock: ManualClock) -> tuple[Retriever, Sequence[Query]]:
    """The double that takes its time."""
    return SlowRetriever(0.25, clock=clock, otherwise=FixedRetriever(RANKINGS)), QUERIES


@pytest.fixture(params=[bm25, hybrid, given, given_to_some, fixed, failing, slow], ids=lambda make: str(make.__name__))
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Case:
    """Each implementation in turn."""
    clock = ManualClock()
    make: Callable[[Path, ManualClock], tuple[Retriever, Sequence[Query]]] = request.param
    retriever, queries = make(tmp_path, clock)
    return Case(retriever, tuple(queries), clock)


class TestEveryRetriever:
    """The contract of the port."""

    def test_one_ranking_a_query(self, case: Case) -> None:
        """Each query gets a ranking, in the order of the queries; what matches nothing gets an empty one."""
        rankings = case.retrieve()
        assert [bool(ranking.items) for ranking in rankings] == [True, False, True]
        assert {"p1", "p2", "p3"} <= {item.passage.passage_id for item in rankings[0].items}
        assert {"p0", "p1"} <= {item.passage.passage_id for item in rankings[2].items}

    def test_best_first(self, case: Case) -> None:
        """Scores never rise, and no passage stands in a ranking twice."""
        for ranking in case.retrieve():
            scores = [item.score for item in ranking.items]
            assert scores == sorted(scores, reverse=True)
            names = [item.passage.passage_id for item in ranking.items]
            assert len(names) == len(set(names))

    @pytest.mark.parametrize("k", [1, 2, 3])
    def test_at_most_k(self, case: Case, k: int) -> None:
        """A shorter ranking is the beginning of a longer one."""
        short, long = case.retrieve(k), case.retrieve()
        assert [ranking.items for ranking in short] == [ranking.items[:k] for ranking in long]

    def test_whole_passages(self, case: Case) -> None:
        """Passages come as they were put in."""
        known = {passage.passage_id: passage for passage in PASSAGES}
        for ranking in case.retrieve():
            assert all(item.passage == known[item.passage.passage_id] for item in ranking.items)

    def test_same_answer_again(self, case: Case) -> None:
        """The same call gives the same rankings."""
        assert list(case.retrieve()) == list(case.retrieve())

    def test_alone_or_in_a_chunk(self, case: Case) -> None:
        """A query's ranking does not depend on the others of its chunk."""
        alone = [case.retrieve_for([query])[0] for query in case.queries]
        assert list(case.retrieve()) == alone
        assert list(case.retrieve_for(case.queries[::-1])) == alone[::-1]

    def test_no_queries(self, case: Case) -> None:
        """An empty chunk gives no rankings."""
        assert list(case.retrieve_for([])) == []

    def test_no_time(self, case: Case) -> None:
        """Without time each query still gets a ranking: the whole one, or one that says that it is not complete."""
        for whole, ranking in zip(case.retrieve(), case.retrieve(budget_s=0.0), strict=True):
            assert ranking == whole or not ranking.complete

    def test_complete(self, case: Case) -> None:
        """With time enough a ranking is complete."""
        assert all(ranking.complete for ranking in case.retrieve())

    def test_version(self, case: Case) -> None:
        """The version is a name that does not change."""
        assert case.retriever.version
        assert case.retriever.version == case.retriever.version


def test_candidates_are_needed() -> None:
    """Without candidates and without passages to search, the error names the query."""
    with pytest.raises(RetrieverError, match="query whales has no candidates"):
        Case(GivenCandidates(None), QUERIES, ManualClock()).retrieve()


def test_version_names_both() -> None:
    """The version says whether there is another retriever, and which."""
    assert GivenCandidates(None).version == "given-candidates-1"
    assert GivenCandidates(FixedRetriever({})).version == "given-candidates-1+fixed-1"


def test_only_queries_without_candidates_are_asked_about() -> None:
    """Where every query brings its candidates, nobody else is asked."""
    never = FailingRetriever(AssertionError("asked"), poison=None, otherwise=FixedRetriever({}))
    queries = tuple(replace(query, candidates=()) for query in QUERIES)
    assert list(Case(GivenCandidates(never), queries, ManualClock()).retrieve()) == [Ranking(())] * 3


def test_failing_double() -> None:
    """The double fails a call that holds a poisoned query, and every call where it was told so."""
    poisoned = FailingRetriever(RetrieverError("poison"), poison={"none"}, otherwise=FixedRetriever(RANKINGS))
    with pytest.raises(RetrieverError, match="poison"):
        Case(poisoned, QUERIES, ManualClock()).retrieve()
    assert len(Case(poisoned, QUERIES[:1], ManualClock()).retrieve()) == 1
    always = FailingRetriever(RetrieverError("poison"), poison=None, otherwise=FixedRetriever(RANKINGS))
    with pytest.raises(RetrieverError, match="poison"):
        Case(always, QUERIES[:1], ManualClock()).retrieve()

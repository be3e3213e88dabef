"""A retriever for teams that have a vector store: a query that brings its own candidates is not retrieved for."""

from __future__ import annotations

from collections.abc import Sequence

from core.clock import Deadline
from core.errors import RetrieverError
from core.model import Query, Ranking
from core.ports import Retriever


class GivenCandidates:
    """Takes the candidates that a query carries, best first, and asks another retriever about the other queries.

    Args:
        otherwise: retrieves for queries without candidates; without it such a query is an error.
    """

    def __init__(self, otherwise: Retriever | None) -> None:
        self._otherwise = otherwise

    @property
    def version(self) -> str:
        """Name and version."""
        return "given-candidates-1" if self._otherwise is None else f"given-candidates-1+{self._otherwise.version}"

    def retrieve(self, queries: Sequence[Query], k: int, deadlines: Sequence[Deadline]) -> Sequence[Ranking]:
        """Return one ranking a query; see `Retriever`."""
        to_ask = [place for place, query in enumerate(queries) if query.candidates is None]
        asked: dict[int, Ranking] = {}
        if to_ask:
            if self._otherwise is None:
                query_id = queries[to_ask[0]].query_id
                raise RetrieverError(f"query {query_id} has no candidates, and there are no passages to search")
            rankings = self._otherwise.retrieve(
                [queries[place] for place in to_ask], k, [deadlines[place] for place in to_ask]
            )
            asked = dict(zip(to_ask, rankings, strict=True))
        return [
            asked[place] if query.candidates is None else Ranking(query.candidates[:k])
            for place, query in enumerate(queries)
        ]

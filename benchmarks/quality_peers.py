"""Orders of Haystack, LlamaIndex and LangChain, for `benchmarks/quality.py --peers PYTHON`, which runs this file.

It is run by an interpreter that has their packages and nothing of REDO. It reads one JSON object: `texts`, their
`vectors` (or null), and `queries` with the places of their passages in `texts`, best first, their scores and the
query's vector. Its last line is one JSON object: for each library the places of each query's passages in its order, or
in words why there is none, and the versions.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any

Order = Callable[[Sequence[str], dict[str, Any], list[list[float]]], list[int]]


def haystack() -> Order:
    """Best first and last, the worst in the middle. It takes the documents as sorted."""
    from haystack import Document  # noqa: PLC0415
    from haystack.components.rankers import LostInTheMiddleRanker  # noqa: PLC0415

    ranker = LostInTheMiddleRanker()

    def order(texts: Sequence[str], query: dict[str, Any], vectors: list[list[float]]) -> list[int]:
        del vectors
        documents = [
            Document(id=str(place), content=text, score=score)
            for place, (text, score) in enumerate(zip(texts, query["scores"], strict=True))
        ]
        return [int(document.id) for document in ranker.run(documents=documents)["documents"]]

    return order


def llama_index() -> Order:
    """Sorted by score, then the best at both ends."""
    from llama_index.core.postprocessor import LongContextReorder  # noqa: PLC0415
    from llama_index.core.schema import NodeWithScore, TextNode  # noqa: PLC0415

    reorder = LongContextReorder()

    def order(texts: Sequence[str], query: dict[str, Any], vectors: list[list[float]]) -> list[int]:
        del vectors
        nodes = [
            NodeWithScore(node=TextNode(id_=str(place), text=text), score=score)
            for place, (text, score) in enumerate(zip(texts, query["scores"], strict=True))
        ]
        return [int(node.node.node_id) for node in reorder.postprocess_nodes(nodes)]

    return order


def langchain() -> Order:
    """The best at both ends. It takes the documents as sorted."""
    from langchain_community.document_transformers import LongContextReorder  # noqa: PLC0415
    from langchain_core.documents import Document  # noqa: PLC0415

    reorder = LongContextReorder()

    def order(texts: Sequence[str], query: dict[str, Any], vectors: list[list[float]]) -> list[int]:
        del query, vectors
        documents = [Document(page_content=text, metadata={"place": place}) for place, text in enumerate(texts)]
        return [document.metadata["place"] for document in reorder.transform_documents(documents)]

    return order


def mmr() -> Order:
    """Maximal marginal relevance of all documents, with LangChain's default of 0.5."""
    import numpy as np  # noqa: PLC0415
    from langchain_core.vectorstores.utils import maximal_marginal_relevance  # noqa: PLC0415

    def order(texts: Sequence[str], query: dict[str, Any], vectors: list[list[float]]) -> list[int]:
        return [int(place) for place in maximal_marginal_relevance(np.array(query["vector"]), vectors, k=len(texts))]

    return order


PEERS: dict[str, tuple[Callable[[], Order], str]] = {
    "Haystack LostInTheMiddleRanker": (haystack, "haystack-ai"),
    "LlamaIndex LongContextReorder": (llama_index, "llama-index-core"),
    "LangChain LongContextReorder": (langchain, "langchain-community"),
    "LangChain MMR (0.5)": (mmr, "langchain-core"),
}


def main() -> None:
    """Read, order, print."""
    asked = json.load(sys.stdin)
    orders: dict[str, str | list[list[int]]] = {}
    versions: dict[str, str] = {}
    for name, (make, package) in PEERS.items():
        try:
            if make is mmr and asked["vectors"] is None:
                raise ValueError("there are no vectors")  # noqa: TRY301
            order = make()
            orders[name] = [
                order(
                    [asked["texts"][place] for place in query["passages"]],
                    query,
                    [asked["vectors"][place] for place in query["passages"]] if asked["vectors"] else [],
                )
                if query["passages"]
                else []
                for query in asked["queries"]
            ]
            versions[name] = f"{package} {version(package)}"
        except Exception as error:  # noqa: BLE001 - said in the table
            orders[name] = f"{type(error).__name__}: {error}"
    print(f"\n{json.dumps({'orders': orders, 'versions': versions})}")


if __name__ == "__main__":
    main()

"""Orders of other libraries, from their own packages, run by an interpreter that has them."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.quality_parts.ramdocs import Case
from core.adapters.embedder import Embedder
from core.model import Ranking

SCRIPT = Path(__file__).parents[1] / "quality_peers.py"
_TIMEOUT_S = 300

NAMES = (
    "Haystack LostInTheMiddleRanker",
    "LlamaIndex LongContextReorder",
    "LangChain LongContextReorder",
    "LangChain MMR (0.5)",
)


@dataclass(frozen=True)
class Peers:
    """Asks the other interpreter.

    Attributes:
        interpreter: has the packages; `None` where nobody named one.
        embedder: makes the vectors that MMR compares, or says in words why there is none.
    """

    interpreter: Path | None
    embedder: Embedder | str
    _known: dict[str, list[float]] = field(default_factory=dict)

    def orders(self, cases: Sequence[Case], rankings: Sequence[Ranking]) -> list[tuple[str, list[list[str]] | str]]:
        """Each library's order of each ranking, as ids; or in words why there is none."""
        if self.interpreter is None:
            return [("Haystack, LlamaIndex, LangChain", "not measured: --peers names no interpreter")]
        asked = self._asked(cases, rankings)
        environment = {**os.environ, "HAYSTACK_TELEMETRY_ENABLED": "False", "PYTHONPATH": ""}
        try:
            done = subprocess.run(
                [str(self.interpreter), str(SCRIPT)],
                input=json.dumps(asked),
                capture_output=True,
                text=True,
                check=True,
                timeout=_TIMEOUT_S,
                env=environment,
            )
            told = json.loads(done.stdout.splitlines()[-1])
        except (OSError, subprocess.SubprocessError, ValueError, IndexError) as error:
            return [("Haystack, LlamaIndex, LangChain", f"not measured: {type(error).__name__}: {error}")]
        return [self._row(name, told, rankings) for name in NAMES]

    def _asked(self, cases: Sequence[Case], rankings: Sequence[Ranking]) -> dict[str, object]:
        texts = list(dict.fromkeys(item.passage.text for ranking in rankings for item in ranking.items))
        place = {text: number for number, text in enumerate(texts)}
        vectors: list[list[float]] | None = None
        asked: list[list[float]] = []
        if not isinstance(self.embedder, str):
            new = [text for text in texts if text not in self._known]
            self._known.update(zip(new, self.embedder.embed(new).tolist(), strict=True))
            vectors = [self._known[text] for text in texts]
            asked = self.embedder.embed([case.item.question.text for case in cases]).tolist()
        return {
            "texts": texts,
            "vectors": vectors,
            "queries": [
                {
                    "passages": [place[item.passage.text] for item in ranking.items],
                    "scores": [item.score for item in ranking.items],
                    "vector": asked[number] if asked else None,
                }
                for number, ranking in enumerate(rankings)
            ],
        }

    def _row(
        self, name: str, told: dict[str, dict[str, str | list[list[int]]]], rankings: Sequence[Ranking]
    ) -> tuple[str, list[list[str]] | str]:
        found, version = told["orders"][name], told["versions"].get(name, "")
        if isinstance(found, str):
            reason = self.embedder if "MMR" in name and isinstance(self.embedder, str) else found
            return name, f"not measured: {reason}"
        orders = [
            [ranking.items[place].passage.passage_id for place in order]
            for ranking, order in zip(rankings, found, strict=True)
        ]
        return f"{name}, {version}", orders

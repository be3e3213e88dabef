"""A passage read once: its sentences with their words, topic and values.

Reading is cached by text, because the passages of a corpus come back for query after query.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property, lru_cache

from core.contradictions.values import Value, values_in
from core.text import STOPWORDS, Word, sentence_spans, stem, words

NEGATIONS = frozenset({"not", "no", "never", "neither", "nor", "without", "cannot", "none", "nobody", "nothing"})
_LINK = re.compile(r"\b\w+://\S+")
_MAX_SENTENCES = 48
"""Sentences read of one passage, about 1,000 words; what is behind them is not compared."""
_CACHED_PASSAGES = 4096


@dataclass(frozen=True)
class Sentence:
    """One sentence of a passage.

    Attributes:
        passage_text: the text that the offsets count in.
        start, end: place of the sentence.
        words: its words in order.
        stems: the words' stems, in the same order.
        topic: stems of the words that carry a topic, numbers left out.
    """

    passage_text: str
    start: int
    end: int
    words: tuple[Word, ...]
    stems: tuple[str, ...]
    topic: frozenset[str]

    @property
    def text(self) -> str:
        """The sentence."""
        return self.passage_text[self.start : self.end]

    @cached_property
    def values(self) -> tuple[Value, ...]:
        """Quantities, dates, versions and names that the sentence states."""
        return values_in(self.passage_text, self.start, self.end, list(self.words))

    @cached_property
    def lead(self) -> str:
        """Stem of the first word that carries a topic: what the sentence begins with."""
        return next(stemmed for stemmed in self.stems if stemmed in self.topic)

    @cached_property
    def negated(self) -> bool:
        """Whether the sentence denies something."""
        return any(word.lower in NEGATIONS or word.lower.endswith(("n't", "n’t")) for word in self.words)


def _inside(word: Word, spans: list[tuple[int, int]]) -> bool:
    return any(start <= word.start < end for start, end in spans)


@lru_cache(maxsize=_CACHED_PASSAGES)
def read_sentences(text: str) -> tuple[Sentence, ...]:
    """The first sentences of a passage, analysed. Links are no words; sentences without a topic are left out."""
    found = []
    has_links = "://" in text
    for start, end in sentence_spans(text):
        links = [match.span() for match in _LINK.finditer(text, start, end)] if has_links else []
        in_order = tuple(word for word in words(text, start, end) if not _inside(word, links))
        stems = tuple(stem(word.text) for word in in_order)
        topic = frozenset(
            stemmed
            for word, stemmed in zip(in_order, stems, strict=True)
            if not word.text[0].isdigit() and word.lower not in STOPWORDS
        )
        if topic:
            found.append(Sentence(text, start, end, in_order, stems, topic))
        if len(found) == _MAX_SENTENCES:
            break
    return tuple(found)

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
_MORE = frozenset({"only", "just", "merely"})
_LINK = re.compile(r"\b\w+://\S+")
_MAX_SENTENCES = 48
"""Sentences read of one passage, about 1,000 words; what is behind them is not compared."""
_CACHED_PASSAGES = 2048


@dataclass(frozen=True)
class Sentence:
    """One sentence of a passage.

    Attributes:
        passage_text: the text that the offsets count in.
        start, end: place of the sentence.
        places: start and end of each word in turn: `start, end, start, end, ...`.
        stems: the words' stems, in their order.
        topic: stems of the words that carry a topic, numbers left out.
    """

    passage_text: str
    start: int
    end: int
    places: tuple[int, ...]
    stems: tuple[str, ...]
    topic: frozenset[str]

    @property
    def words(self) -> tuple[Word, ...]:
        """Its words in order, made anew for each caller.

        Kept, each would be an object that every full collection of garbage walks, and those pauses fall into some
        query's 400 ms. Tuples of numbers and strings are not walked. See docs/decisions/004.
        """
        pairs = zip(self.places[::2], self.places[1::2], strict=True)
        return tuple(Word(self.passage_text[start:end], start, end) for start, end in pairs)

    @property
    def text(self) -> str:
        """The sentence."""
        return self.passage_text[self.start : self.end]

    @cached_property
    def values(self) -> tuple[Value, ...]:
        """Quantities, dates, versions and names that the sentence states, those inside links left out."""
        in_order = self.words
        found = values_in(self.passage_text, self.start, self.end, in_order)
        if not _LINK.search(self.passage_text, self.start, self.end):
            return found
        return tuple(
            value for value in found if any(word.start < value.end and value.start < word.end for word in in_order)
        )

    @cached_property
    def lead(self) -> str:
        """Stem of the first word that carries a topic: what the sentence begins with."""
        return next(stemmed for stemmed in self.stems if stemmed in self.topic)

    @cached_property
    def negated(self) -> bool:
        """Whether the sentence denies something; `not only` denies nothing."""
        in_order = self.words
        behind = [*(word.lower for word in in_order[1:]), ""]
        return any(
            is_negation(word) and not (word.lower == "not" and next_word in _MORE)
            for word, next_word in zip(in_order, behind, strict=True)
        )


def is_negation(word: Word) -> bool:
    """Whether the word denies something: `not`, `never`, `isn't`, ..."""
    return word.lower in NEGATIONS or word.lower.endswith(("n't", "n’t"))


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
            places = tuple(place for word in in_order for place in (word.start, word.end))
            found.append(Sentence(text, start, end, places, stems, topic))
        if len(found) == _MAX_SENTENCES:
            break
    return tuple(found)

"""Reading any text: sentences, words and tokens are found where they are said to be."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from core.contradictions.sentences import read_sentences
from core.similarity import similarity_matrix
from core.text import STOPWORDS, content_stems, count_tokens, sentence_spans, stem, words

PIECES = st.one_of(
    st.sampled_from(
        [
            ". ",
            "! ",
            "? ",
            "…",
            "\n\n",
            "\n- ",
            " • ",
            "e.g. ",
            "No. 5 ",
            "Dr. ",
            "U.S. ",
            "3,559 ",
            "3.10",
            "“no.” ",
            '."',
            ")]",
        ]
    ),
    st.sampled_from(
        ["😀", "👩‍👩‍👧", "東京都の人口", "naïve", "İstanbul", "ſtone", "é́", "\u200b", "\x00", "\x1f", "\u2028", "\x85"]
    ),
    st.text(max_size=12),
    st.integers(1, 700).map(lambda length: "x" * length),
    st.integers(1, 700).map(lambda length: " " * length),
    st.integers(1, 200).map(lambda count: "word " * count),
    st.integers(1, 200).map(lambda count: "word\n" * count),
)
TEXTS = st.lists(PIECES, max_size=12).map("".join)


@given(TEXTS)
def test_sentences_cover_the_text(text: str) -> None:
    """Sentences are ordered and disjoint, lie inside the text, and hold all that is no white space."""
    spans = list(sentence_spans(text))
    end_before = 0
    for start, end in spans:
        assert end_before <= start < end <= len(text)
        assert not text[end_before:start].strip()
        end_before = end
    assert not text[end_before:].strip()


@given(TEXTS)
def test_sentences_are_trimmed_and_bounded(text: str) -> None:
    """A sentence has no white space around it and at most 600 characters."""
    for start, end in sentence_spans(text):
        assert text[start:end] == text[start:end].strip()
        assert end - start <= 600


@given(TEXTS)
def test_words(text: str) -> None:
    """Words are ordered and disjoint, say what stands there, and leave out no letter and no digit."""
    outside = list(text)
    end_before = 0
    for word in words(text):
        assert end_before <= word.start < word.end <= len(text)
        assert text[word.start : word.end] == word.text
        assert word.lower == word.text.lower()
        outside[word.start : word.end] = " " * (word.end - word.start)
        end_before = word.end
    assert not any(character.isalnum() for character in outside)


@given(TEXTS, st.integers(0, 400), st.integers(0, 400))
def test_words_of_a_part(text: str, start: int, length: int) -> None:
    """The words of a part are the words of that part alone, at their places in the whole."""
    end = min(len(text), start + length)
    alone = words(text[start:end])
    assert [word.text for word in words(text, start, end)] == [word.text for word in alone]
    assert all(start <= word.start < word.end <= end for word in words(text, start, end))


@given(TEXTS)
def test_stems(text: str) -> None:
    """Stems are in lower case and do not hang on case; the topic holds no stop words' stems but through other words."""
    for word in words(text):
        assert stem(word.text) == stem(word.lower)
    expected = {stem(word.text) for word in words(text) if word.lower not in STOPWORDS}
    assert content_stems(text) == expected


@given(TEXTS, TEXTS)
def test_tokens_add_up(one: str, other: str) -> None:
    """Two texts with white space between them have the tokens of both, and white space has none."""
    assert count_tokens(f"{one} \n{other}") == count_tokens(one) + count_tokens(other)
    assert (count_tokens(one) == 0) == (not one.strip())


@given(TEXTS)
def test_tokens_count_signs_and_runs(text: str) -> None:
    """There are no more tokens than characters that are no white space."""
    assert count_tokens(text) <= sum(not character.isspace() for character in text)


@given(st.lists(TEXTS, max_size=6))
def test_similarity(texts: list[str]) -> None:
    """Similarity is symmetrical, from 0 to 1, and 1 between equal texts."""
    matrix = similarity_matrix(tuple(texts))
    assert matrix.shape == (len(texts), len(texts))
    assert np.array_equal(matrix, matrix.T)
    assert ((matrix >= 0.0) & (matrix <= 1.0)).all()
    for row, one in enumerate(texts):
        for column, other in enumerate(texts):
            if one == other:
                assert matrix[row, column] == 1.0


@given(TEXTS)
def test_reading(text: str) -> None:
    """Sentences that are read have a topic, and words, stems and values at their places; any text can be read."""
    for sentence in read_sentences(text):
        assert sentence.topic
        assert sentence.lead in sentence.topic
        assert len(sentence.words) == len(sentence.stems)
        assert isinstance(sentence.negated, bool)
        for value in sentence.values:
            assert sentence.start <= value.start < value.end <= sentence.end
            assert value.number >= 0.0


DATES = st.from_regex(r"[0-9]{1,4}[-./ ]?(?:may|Sept\.?|AUGUST|ſept)?[-./ ]?[0-9]{0,4}", fullmatch=True)
NUMBERS = st.from_regex(r"[$€]?[0-9]{1,6}(?:[.,][0-9]{1,4}){0,3} ?(?:%|million|km|three)?", fullmatch=True)
VERSIONS = st.from_regex(r"(?:Python|pip) ?(?:>=|v|version )?[0-9]{1,3}(?:\.[0-9]{1,3}){1,4}\+?", fullmatch=True)


@given(st.lists(DATES | NUMBERS | VERSIONS | st.text(max_size=5), max_size=10))
def test_values_of_anything(parts: list[str]) -> None:
    """Whatever looks like a date, a number or a version is read without an error, and values do not overlap."""
    for sentence in read_sentences("The value is " + " ".join(parts)):
        end_before = sentence.start
        for value in sentence.values:
            assert value.start >= end_before
            end_before = value.end

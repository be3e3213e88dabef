"""Words, stems, tokens and sentences of a text."""

from __future__ import annotations

import threading
import time

import pytest

from core.text import content_stems, count_tokens, sentence_spans, stem, words


def sentences(text: str) -> list[str]:
    """The sentences of a text."""
    return [text[start:end] for start, end in sentence_spans(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It needs Python 3.10.", ["It", "needs", "Python", "3.10"]),
        ("The U.S. has 3,559 towns", ["The", "U.S", "has", "3,559", "towns"]),
        ("a well-known author's book", ["a", "well-known", "author's", "book"]),
        ("_snake_case, a,b and 1,23", ["snake_case", "a", "b", "and", "1", "23"]),
        ("O’Neill said: “no”", ["O’Neill", "said", "no"]),
        ("東京 Zürich ½", ["東京", "Zürich", "½"]),
        ("... --- !!!", []),
        ("", []),
    ],
)
def test_words(text: str, expected: list[str]) -> None:
    """Apostrophes, dots, hyphens and underscores join a word, commas join numbers only, all else divides."""
    assert [word.text for word in words(text)] == expected
    assert all(text[word.start : word.end] == word.text for word in words(text))


def test_words_of_a_part() -> None:
    """The words of a stretch keep their place in the whole text, and none reaches beyond it."""
    text = "alpha beta gamma"
    assert [(word.text, word.start) for word in words(text, 6, 13)] == [("beta", 6), ("ga", 11)]


def test_stem() -> None:
    """Forms of one word have one stem, in lower case and without a possessive."""
    assert stem("Licensing") == stem("licensed") == stem("licensing's") == stem("licensed’s")
    assert stem("requires") == stem("Required")
    assert stem("3.10") == "3.10"


def test_stemming_in_threads() -> None:
    """Threads that stem at once get what one thread gets."""
    texts = [f"{word}{number}" for number in range(300) for word in ("running", "licences", "founded", "population")]
    expected = [stem.__wrapped__(text) for text in texts]
    found: list[list[str]] = []
    threads = [
        threading.Thread(target=lambda: found.append([stem.__wrapped__(text) for text in texts])) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 4


def test_content_stems() -> None:
    """Words without a topic are left out, numbers stay."""
    assert content_stems("What is the population of Broken Bow in 2010?") == {
        stem("population"),
        "broken",
        "bow",
        "2010",
    }
    assert content_stems("What is it?") == frozenset()


@pytest.mark.parametrize(
    ("text", "tokens"),
    [("", 0), (" \n\t", 0), ("one", 1), ("It's here.", 5), ("a_b", 1), ("3.10", 3), ("!?!", 3), ("naïve café", 2)],
)
def test_count_tokens(text: str, tokens: int) -> None:
    """Each run of letters and digits is a token, each other sign is one."""
    assert count_tokens(text) == tokens


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two! Three? Four", ["One.", "Two!", "Three?", "Four"]),
        ("  One.   Two.  ", ["One.", "Two."]),
        ("He said “no.” Then he left.", ["He said “no.”", "Then he left."]),
        (
            "Dr. Smith met J. R. Tolkien at St. Mary. They spoke.",
            ["Dr. Smith met J. R. Tolkien at St. Mary.", "They spoke."],
        ),
        (
            "It is No. 5 of nos. 1 to 9. The answer is no. Go.",
            ["It is No. 5 of nos. 1 to 9.", "The answer is no.", "Go."],
        ),
        ("It is big, e.g. the U.S. is. Small ones are not.", ["It is big, e.g. the U.S. is.", "Small ones are not."]),
        ("Version 3.10 is out. Get it.", ["Version 3.10 is out.", "Get it."]),
        ("The end (really.) Another one.", ["The end (really.)", "Another one."]),
        ("Is it?! Yes.", ["Is it?!", "Yes."]),
        ("Title\n\nA text without a stop\n \nMore", ["Title", "A text without a stop", "More"]),
        ("Line one\nline two", ["Line one\nline two"]),
        ("Features:\n- fast\n- small\n* light", ["Features:", "- fast", "- small", "* light"]),
        ("One • two • three", ["One •", "two •", "three"]),
        ("See ex. below. Good", ["See ex. below.", "Good"]),
        (".", ["."]),
        ("Hello", ["Hello"]),
        ("", []),
        (" \n ", []),
    ],
)
def test_sentences(text: str, expected: list[str]) -> None:
    """Stops, empty lines and bullets end a sentence; abbreviations, initials and numbers do not."""
    assert sentences(text) == expected


def test_long_stretch_is_cut_at_white_space() -> None:
    """A text without a stop comes in pieces of at most 600 characters that break no word."""
    text = " ".join(["word"] * 10_000)
    found = sentences(text)
    assert max(map(len, found)) <= 600
    assert [word for piece in found for word in piece.split()] == text.split()


@pytest.mark.parametrize("space", ["\n", "\t", " ", "   ", "\n\t"])
def test_cut_at_any_white_space(space: str) -> None:
    """Line breaks and tabs are white space too, and no piece ends with it."""
    text = space.join(["abcdefg"] * 500)
    found = sentences(text)
    assert all(piece == piece.strip() for piece in found)
    assert {word for piece in found for word in piece.split()} == {"abcdefg"}


def test_huge_word_is_cut() -> None:
    """A word longer than a sentence may be is cut where it must be."""
    text = "x" * 1_500
    assert list(sentence_spans(text)) == [(0, 600), (600, 1200), (1200, 1500)]


@pytest.mark.parametrize(
    "text",
    [
        "Contents " + "." * 50_000 + "x",
        "Why" + "?!" * 25_000 + '"' * 100 + "x",
        "Quote" + "." * 25_000 + '"' * 25_000 + "x",
        "e.g. " * 10_000,
        "cf. " * 12_000,
        "no. " * 12_000 + "x",
        "a b. " * 10_000,
        "x" + " " * 50_000 + "y",
        "x" + "\n\t" * 25_000 + "y",
        "x •" * 16_000,
        "x\n" + " " * 25_000 + "•" * 25_000,
        "'" * 50_000,
        "a'" * 25_000,
        "1,234" * 10_000,
    ],
    ids=lambda text: f"{text[:12]!r}",
)
def test_no_text_takes_long(text: str) -> None:
    """The time grows with the length of the text, whatever it consists of: 50,000 characters take no second."""
    begun = time.process_time()
    list(sentence_spans(text))
    words(text)
    count_tokens(text)
    assert time.process_time() - begun < 1.0

"""The table of opposites: how it is made from WordNet's files, and what the packaged one is like."""

from __future__ import annotations

import sys
from importlib.resources import files
from pathlib import Path

import pytest

from training.antonyms.__main__ import main
from training.antonyms.table import antonym_table

DATA = {
    "adj": (
        "00000001 00 a 01 tall 0 001 ! 00000002 a 0102 | of a height",
        "00000002 00 a 02 tiny(a) 0 short 0 001 ! 00000001 a 0201 | of no height",
        "00000003 00 s 01 stable 0 001 ! 00000004 a 0101 | firm",
        "00000004 00 a 01 unstable 0 001 ! 00000003 a 0101 | not firm",
        "00000005 00 a 01 left 0 001 ! 00000006 a 0101 | of a side",
        "00000006 00 a 01 right 0 001 ! 00000005 a 0101 | of a side",
        "00000007 00 a 01 hard-boiled 0 001 ! 00000001 a 0101 | of an egg",
    ),
    "verb": (
        "00000011 30 v 01 gain 0 001 ! 00000012 v 0101 01 + 02 00 | get",
        "00000012 30 v 01 lose 0 001 ! 00000011 v 0101 01 + 02 00 | miss",
    ),
    "noun": (
        "00000021 04 n 01 stability 0 001 ! 00000022 n 0101 | firmness",
        "00000022 04 n 01 instability 0 001 ! 00000021 n 0101 | its lack",
        "00000023 04 n 01 dawn 0 001 ! 00000024 n 0101 | a start",
        "00000024 04 n 01 dusk 0 001 ! 00000023 n 0101 | an end",
    ),
    "adv": ("00000031 02 r 01 seldom 0 000 | not much",),
}
INDEX = {
    "adj": (
        "tall a 1 1 ! 1 1 00000001",
        "short a 3 1 ! 3 1 00000002 00000008 00000009",
        "stable a 1 1 ! 1 1 00000003",
        "unstable a 3 1 ! 3 1 00000008 00000009 00000004",
        "left a 1 1 ! 1 1 00000005",
        "right a 1 1 ! 1 1 00000006",
        "hard-boiled a 1 1 ! 1 1 00000007",
        "tiny a 1 0 1 1 00000002",
    ),
    "verb": ("gain v 1 1 ! 1 1 00000011", "lose v 1 1 ! 1 1 00000012"),
    "noun": (
        "stability n 1 1 ! 1 1 00000021",
        "instability n 1 1 ! 1 1 00000022",
        "dawn n 1 1 ! 1 1 00000023",
        "dusk n 1 1 ! 1 1 00000024",
    ),
    "adv": ("seldom r 1 0 1 0 00000031",),
}
IRREGULAR = {"adj": (), "verb": ("lost lose",), "noun": (), "adv": ()}


@pytest.fixture
def wordnet(tmp_path: Path) -> Path:
    """A folder with WordNet's files, of a few words."""
    for part, lines in DATA.items():
        (tmp_path / f"data.{part}").write_text("  1 a licence\n" + "".join(f"{line}  \n" for line in lines))
        (tmp_path / f"index.{part}").write_text("".join(f"{line}  \n" for line in INDEX[part]))
        (tmp_path / f"{part}.exc").write_text("".join(f"{line}\n" for line in IRREGULAR[part]))
    return tmp_path


def pairs_of(table: str) -> set[tuple[str, str]]:
    """The pairs of a table."""
    return {(low, high) for line in table.splitlines() for low, *highs in (line.split(),) for high in highs}


def test_what_is_taken(wordnet: Path) -> None:
    """Adjectives with their degrees, verbs with their forms, nouns that deny each other; stems, the lower one first."""
    found = pairs_of(antonym_table(wordnet))
    assert {
        ("short", "tall"),
        ("shorter", "taller"),
        ("shortest", "tallest"),
        ("stabl", "unstabl"),
        ("gain", "lose"),
        ("gain", "lost"),
        ("instabl", "stabil"),
    } <= found


def test_what_is_left_out(wordnet: Path) -> None:
    """Sides, nouns that are two things, and what is no single word."""
    found = {word for pair in pairs_of(antonym_table(wordnet)) for word in pair}
    assert not {"left", "right", "dawn", "dusk", "hard-boil", "tini"} & found


def test_rare_senses_are_left_out(wordnet: Path) -> None:
    """Words that are opposite in a rare sense only are none, unless one denies the other."""
    index = wordnet / "index.adj"
    index.write_text(
        index.read_text().replace("tall a 1 1 ! 1 1 00000001", "tall a 3 1 ! 3 1 00000008 00000009 00000001")
    )
    found = pairs_of(antonym_table(wordnet))
    assert ("short", "tall") not in found
    assert ("stabl", "unstabl") in found


def test_the_command(wordnet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same files give the same bytes."""
    written = []
    for name in ("one.txt", "two.txt"):
        monkeypatch.setattr(sys, "argv", ["antonyms", "--wordnet", str(wordnet), "--out", str(tmp_path / name)])
        main()
        written.append((tmp_path / name).read_bytes())
    assert written[0] == written[1]
    assert written[0].decode("ascii") == antonym_table(wordnet)


def test_the_packaged_table() -> None:
    """It is sorted, each pair stands once, it is small, and its licence lies beside it."""
    folder = files("core.contradictions")
    text = folder.joinpath("antonyms.txt").read_text(encoding="ascii")
    lines = [line.split() for line in text.splitlines()]
    assert [low for low, *_ in lines] == sorted({low for low, *_ in lines})
    assert all(highs == sorted(set(highs)) and low < highs[0] for low, *highs in lines)
    assert len(lines) > 1_500
    assert len(text) < 45_000
    assert "WordNet 3.0 Copyright 2006 by Princeton University" in folder.joinpath("antonyms.NOTICE.txt").read_text()

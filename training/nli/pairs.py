"""Labelled sentence pairs: reading the files, holding a part out, keeping evaluation pairs away.

Files are gzipped tables, tab-separated, with the header `premise hypothesis label` and the labels e (entailment),
n (neutral), c (contradiction).
"""

from __future__ import annotations

import gzip
import hashlib
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

TRAINING_SETS = (
    "snli_dev",
    "mnli_devB_train",
    "breaking_train",
    "conjnli_train",
    "neg_snli",
    "neg_mnli",
    "scifact_train",
)
"""The only files that are trained on."""

EVALUATION_SETS = ("snli_test", "mnli_devA_eval", "breaking_eval", "conjnli_dev", "scifact_dev")
"""Scored once, at the end. Nothing is chosen by them."""

_HELD_OUT_PERCENT = {"snli_dev": 8, "scifact_train": 15}
_HELD_OUT_PERCENT_ELSEWHERE = 3
_HEADER = ("premise", "hypothesis", "label")


@dataclass(frozen=True, slots=True)
class Pair:
    """A premise, a hypothesis, and what the first says about the second; `origin` names the data set or the maker."""

    premise: str
    hypothesis: str
    label: str
    origin: str


def read_pairs(folder: Path, name: str) -> tuple[Pair, ...]:
    """Read `folder/name.tsv.gz`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a row has not three fields, or another label than e, n, c; the message names file and line.
    """
    path = folder / f"{name}.tsv.gz"
    pairs = []
    with gzip.open(path, "rt", encoding="utf-8", newline="\n") as stream:
        for number, line in enumerate(stream, start=1):
            fields = line.rstrip("\r\n").split("\t")
            if number == 1:
                if tuple(fields) != _HEADER:
                    raise ValueError(f"{path}, line 1: found {fields!r}, expected the header {_HEADER!r}")
                continue
            if len(fields) != len(_HEADER) or fields[2] not in {"e", "n", "c"}:
                raise ValueError(f"{path}, line {number}: expected a premise, a hypothesis and e, n or c")
            pairs.append(Pair(fields[0], fields[1], fields[2], name))
    return tuple(pairs)


def sorted_out(pairs: Iterable[Pair]) -> tuple[tuple[Pair, ...], tuple[Pair, ...]]:
    """Split into a training part and a part held out for choices and for the temperature.

    All pairs of one premise fall on the same side, by a hash of the premise: 8 % of SNLI's, 15 % of SciFact's (it is
    small), 3 % of the others'.
    """
    train: list[Pair] = []
    held_out: list[Pair] = []
    for pair in pairs:
        percent = _HELD_OUT_PERCENT.get(pair.origin, _HELD_OUT_PERCENT_ELSEWHERE)
        digest = hashlib.sha256(_plain(pair.premise).encode()).digest()
        side = held_out if int.from_bytes(digest[:4]) % 100 < percent else train
        side.append(pair)
    return tuple(train), tuple(held_out)


def without_known(pairs: Iterable[Pair], known: Iterable[Pair]) -> tuple[Pair, ...]:
    """Drop pairs whose two sentences, in either order, make up a pair of `known`; labels are not looked at."""
    seen = {_unordered(pair) for pair in known}
    return tuple(pair for pair in pairs if _unordered(pair) not in seen)


def digest_of(pairs: Sequence[Pair]) -> str:
    """SHA-256 of the pairs in their order: the same digest means the same training data."""
    digest = hashlib.sha256()
    for pair in pairs:
        digest.update(f"{pair.premise}\t{pair.hypothesis}\t{pair.label}\t{pair.origin}\n".encode())
    return digest.hexdigest()


def _unordered(pair: Pair) -> frozenset[str]:
    return frozenset((_plain(pair.premise), _plain(pair.hypothesis)))


def _plain(text: str) -> str:
    letters = (char if char.isalnum() else " " for char in unicodedata.normalize("NFKC", text).casefold())
    return " ".join("".join(letters).split())

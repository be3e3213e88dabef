"""Pairs as numbers: WordPiece ids of both sentences, padded to the longest of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor

from training.nli.pairs import Pair

LONGEST = 96
"""Tokens of a pair; of a longer one, the longer sentence's end is cut."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """Token ids of `[CLS] premise [SEP] hypothesis [SEP]`, and which sentence each belongs to."""

    ids: tuple[int, ...]
    sides: tuple[int, ...]


def encode(pairs: Sequence[Pair], *, tokenizer_file: Path, longest: int = LONGEST) -> list[Encoded]:
    """Encode pairs with the tokenizer of the starting weights."""
    tokenizer = Tokenizer.from_file(str(tokenizer_file))
    tokenizer.no_padding()
    tokenizer.enable_truncation(longest, strategy="longest_first")
    rows = tokenizer.encode_batch([(pair.premise, pair.hypothesis) for pair in pairs])
    return [Encoded(tuple(row.ids), tuple(row.type_ids)) for row in rows]


def padded(rows: Sequence[Encoded]) -> tuple[Tensor, Tensor, Tensor]:
    """Ids, mask and sides of a batch as tensors of one length."""
    longest = max(len(row.ids) for row in rows)
    ids, mask, sides = (torch.zeros(len(rows), longest, dtype=torch.long) for _ in range(3))
    for number, row in enumerate(rows):
        size = len(row.ids)
        ids[number, :size] = torch.tensor(row.ids)
        mask[number, :size] = 1
        sides[number, :size] = torch.tensor(row.sides)
    return ids, mask, sides

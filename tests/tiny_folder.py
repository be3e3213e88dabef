"""Model folders of a few hundred bytes: what those of all tiny models have in common."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing


def write_model_folder(folder: Path, contents: Mapping[str, bytes], card: Mapping[str, object]) -> Path:
    """Write the files, and a card that fits them, and return the folder, which is created where missing."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    files = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    (folder / "card.json").write_text(json.dumps({"files": files, **card}), encoding="utf-8")
    return folder


def word_tokenizer(words: Iterable[str], *, longest: int | None = None) -> bytes:
    """A tokenizer of whole words, `[UNK]`, `[CLS]` and `[SEP]` among them, for texts and pairs of texts.

    It pads, and cuts at `longest`: what is stored in real files, and the adapter must not mind.
    """
    numbers = {word: number for number, word in enumerate(words)}
    made = Tokenizer(WordLevel(numbers, unk_token="[UNK]"))  # noqa: S106
    made.pre_tokenizer = Whitespace()
    made.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(mark, numbers[mark]) for mark in ("[CLS]", "[SEP]")],
    )
    made.enable_padding(length=64)
    if longest is not None:
        made.enable_truncation(longest)
    return made.to_str().encode()

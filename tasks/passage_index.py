"""The passage index of a file: built by whoever comes first, with the records that could not be used beside it.

Where REDO searches by meaning too, the passages' vectors lie beside the index.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from core.adapters.bm25 import ensure_index, index_key
from core.adapters.embedder import OnnxEmbedder
from core.adapters.intake import read_passages
from core.adapters.passage_vectors import ensure_vectors
from core.adapters.quarantine import QuarantinedRecord, QuarantineFile
from core.model import Passage
from core.pipeline import RetrieverKind
from tasks.run_folder import read_rows

_QUARANTINE = "quarantine.jsonl"


def passage_index(
    passages: Path, *, home: Path, name: str, quarantine: QuarantineFile, retriever: RetrieverKind
) -> Path:
    """The index folder of a passages file, built where it is missing or broken.

    Args:
        passages: the file.
        home: `REDO_HOME`.
        name: what the quarantine calls the file, where `passages` is only a copy of what the user named.
        quarantine: where unusable records go, also those that an earlier run found when it built the index.
        retriever: `hybrid` needs the passages' vectors beside the index.

    Raises:
        BatchError: the file holds no passage that can be used.
        ConfigError: the retriever is not for so many passages, or its model cannot be used.
    """
    before = quarantine.count

    def build(making: Path) -> Iterator[Passage]:
        yield from read_passages(passages, quarantine=quarantine, name=name)
        if quarantine.count > before:
            shutil.copyfile(quarantine.path, making / _QUARANTINE)

    index = ensure_index(home / "indexes", index_key(passages), build)
    kept = index / _QUARANTINE
    if quarantine.count == before and kept.exists():
        for row in read_rows(kept):
            quarantine.add(QuarantinedRecord(**(row | {"file": name})))
    if retriever is RetrieverKind.HYBRID:
        ensure_vectors(index, OnnxEmbedder(threads=os.cpu_count() or 1))
    return index

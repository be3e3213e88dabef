"""Score the embedded model on the evaluation files: `python -m training.nli.evaluate --data ../shared/data`."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np

from core.adapters.onnx_nli import OnnxNli
from training.nli.calibration import calibration_error
from training.nli.pairs import EVALUATION_SETS, read_pairs
from training.nli.scores import LABELS, scores_of


def main(arguments: list[str] | None = None) -> int:
    """Print one row a data set."""
    parser = argparse.ArgumentParser(prog="python -m training.nli.evaluate", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with nli/*.tsv.gz")
    parser.add_argument("--model", type=Path, default=None, help="folder of the model; the embedded one without it")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--sets", nargs="+", default=list(EVALUATION_SETS))
    given = parser.parse_args(arguments)
    model = OnnxNli(given.model, threads=given.threads)
    print(f"{model.version}, {given.threads} threads")
    print("set              pairs  accuracy  C prec. C recall   C F1  C AUC cal. err  ms/pair")
    for name in given.sets:
        pairs = read_pairs(given.data / "nli", name)
        labels = np.array([LABELS.index(pair.label) for pair in pairs])
        started = time.perf_counter()
        found = model.score([(pair.premise, pair.hypothesis) for pair in pairs])
        ms_per_pair = (time.perf_counter() - started) * 1_000 / len(pairs)
        scores = scores_of(found, labels)
        error = calibration_error(found.astype(np.float64), labels)
        print(
            f"{name:<16}{scores.pairs:>7}{scores.accuracy:>10.4f}{scores.precision:>9.3f}{scores.recall:>9.3f}"
            f"{scores.f1:>7.4f}{scores.auc:>7.3f}{error:>9.3f}{ms_per_pair:>9.2f}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())

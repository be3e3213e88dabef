"""The training loop: AdamW, a flat learning rate that falls to zero at the end, checkpoints to go on from."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from training.nli.encoder import LABELS, CrossEncoder, load_base
from training.nli.encoding import Encoded, encode, padded
from training.nli.mixture import SEED, batches, passes
from training.nli.pairs import Pair


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long and how fast to train.

    Args:
        steps: updates in all.
        falling: share of the steps, at the end, over which the learning rate falls in a line to zero.
        rows: pairs per update.
        rate: the highest learning rate; `head_rate` that of the new layers.
        warm_up_steps: steps over which the rate rises in a line from zero.
        weight_decay: of matrices alone, no embeddings, biases or norms.
        smoothing: share of each label that goes to the others.
        clip: the longest gradient.
        threads: of torch.
        words_learn: whether the word embeddings change too. They are half of all weights.
        snli: which part of SNLI one pass reads.
        first_pass: the pass over the mixture that is read first, from 0.
        seed: of dropout, new layers and the order of the batches.
    """

    steps: int
    falling: float = 0.45
    rows: int = 32
    rate: float = 1e-4
    head_rate: float = 3e-4
    warm_up_steps: int = 100
    weight_decay: float = 0.01
    dropout: float = 0.1
    smoothing: float = 0.05
    clip: float = 1.0
    threads: int = 2
    words_learn: bool = False
    snli: float = 1.0
    first_pass: int = 0
    seed: int = SEED

    def factor(self, step: int) -> float:
        """Share of the highest learning rate that holds at a step, from 0."""
        rising = min(1.0, (step + 1) / self.warm_up_steps)
        return rising * min(1.0, (self.steps - step) / (self.falling * self.steps))


def train(
    by_origin: dict[str, tuple[Pair, ...]],
    held_out: Sequence[Pair],
    *,
    base: Path,
    work: Path,
    schedule: Schedule,
    begins_with: Mapping[str, Tensor] | None = None,
) -> CrossEncoder:
    """Train a cross-encoder, going on from `work/checkpoint.pt` where one lies; one that has all its steps is done.

    Writes a line per 50 steps to `work/log.jsonl`, with the accuracy on the held-out pairs every 500 steps.

    Args:
        by_origin: training pairs, as `mixture` gives them.
        held_out: pairs to watch progress on.
        base: folder with the starting weights and their tokenizer.
        work: folder for checkpoint and log.
        schedule: length and rates. A run may be gone on with another length before its rate begins to fall.
        begins_with: the weights to begin with; without them those of `base`, and new layers.
    """
    torch.manual_seed(schedule.seed)
    torch.set_num_threads(schedule.threads)
    model = _beginning(base, schedule, begins_with)
    optimizer = _optimizer(model, schedule)
    work.mkdir(parents=True, exist_ok=True)
    checkpoint = work / "checkpoint.pt"
    done = 0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(state["model"])
        done = state["step"]
        if done >= schedule.steps:
            model.eval()
            return model
        optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["random"])
    tokenizer_file = base / "tokenizer.json"
    watched, watched_labels = encode(held_out, tokenizer_file=tokenizer_file), labels_of(held_out)
    mean_loss, started, rows_seen = 0.0, time.monotonic(), 0
    model.train()
    for step, (rows, wanted) in enumerate(_stream(by_origin, tokenizer_file, schedule)):
        if step < done:
            continue
        for group in optimizer.param_groups:
            group["lr"] = group["highest"] * schedule.factor(step)
        loss = functional.cross_entropy(model(*padded(rows)), wanted, label_smoothing=schedule.smoothing)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), schedule.clip)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        mean_loss = 0.98 * mean_loss + 0.02 * loss.item() if rows_seen else loss.item()
        rows_seen += len(rows)
        at = step + 1
        if at % 50 == 0 or at == schedule.steps:
            line: dict[str, float | dict[str, float]] = {
                "step": at,
                "loss": round(mean_loss, 4),
                "rate": schedule.factor(step) * schedule.rate,
                "pairs_per_s": round(rows_seen / (time.monotonic() - started), 1),
                "elapsed_s": round(time.monotonic() - started),
            }
            if at % 500 == 0 or at == schedule.steps:
                line["held_out"] = accuracy_by_origin(logits_of(model, watched), watched_labels, held_out)
                model.train()
            if at % 100 == 0 or at == schedule.steps:
                _save(checkpoint, model, optimizer, at)
            with (work / "log.jsonl").open("a", encoding="utf-8") as log:
                log.write(json.dumps(line) + "\n")
        if at == schedule.steps:
            break
    (work / "schedule.json").write_text(json.dumps(asdict(schedule), indent=2), encoding="utf-8")
    model.eval()
    return model


def logits_of(model: CrossEncoder, rows: Sequence[Encoded]) -> Tensor:
    """Score encoded pairs in batches of like length, in evaluation mode; logits in the order given."""
    model.eval()
    order = sorted(range(len(rows)), key=lambda place: len(rows[place].ids))
    logits = torch.zeros(len(rows), len(LABELS))
    with torch.inference_mode():
        for first in range(0, len(order), 64):
            places = order[first : first + 64]
            logits[places] = model(*padded([rows[place] for place in places]))
    return logits


def labels_of(pairs: Sequence[Pair]) -> Tensor:
    """Places of the pairs' labels among `LABELS`."""
    return torch.tensor([LABELS.index(pair.label) for pair in pairs])


def accuracy_by_origin(logits: Tensor, labels: Tensor, pairs: Sequence[Pair]) -> dict[str, float]:
    """Share of right labels in each data set."""
    right = (logits.argmax(1) == labels).numpy()
    origins = np.array([pair.origin for pair in pairs])
    return {str(name): round(float(right[origins == name].mean()), 4) for name in np.unique(origins)}


def _stream(
    by_origin: dict[str, tuple[Pair, ...]], tokenizer_file: Path, schedule: Schedule
) -> Iterator[tuple[list[Encoded], Tensor]]:
    chance = Random(schedule.seed + 2)  # noqa: S311  (the same order each time is wanted)
    for one in passes(by_origin, count=50, snli=schedule.snli)[schedule.first_pass :]:
        encoded, labels = encode(one, tokenizer_file=tokenizer_file), labels_of(one)
        for places in batches(one, [len(row.ids) for row in encoded], rows=schedule.rows, chance=chance):
            yield [encoded[place] for place in places], labels[places]


def _beginning(base: Path, schedule: Schedule, weights: Mapping[str, Tensor] | None) -> CrossEncoder:
    model = CrossEncoder(dropout=schedule.dropout)
    if weights is None:
        load_base(model, base / "model.safetensors")
    else:
        model.load_state_dict(weights)
    model.words.requires_grad_(requires_grad=schedule.words_learn)
    return model


def _optimizer(model: CrossEncoder, schedule: Schedule) -> torch.optim.AdamW:
    groups: dict[tuple[float, float], list[torch.nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        rate = schedule.head_rate if name.startswith(("dense", "out.")) else schedule.rate
        decayed = parameter.ndim > 1 and not name.startswith(("words", "places", "sides"))
        groups.setdefault((rate, schedule.weight_decay if decayed else 0.0), []).append(parameter)
    return torch.optim.AdamW(
        [
            {"params": parameters, "lr": rate, "highest": rate, "weight_decay": decay}
            for (rate, decay), parameters in groups.items()
        ],
        fused=True,
    )


def _save(path: Path, model: CrossEncoder, optimizer: torch.optim.Optimizer, step: int) -> None:
    part = path.with_suffix(".part")
    state = {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "random": torch.get_rng_state(),
        "step": step,
    }
    torch.save(state, part)
    part.replace(path)

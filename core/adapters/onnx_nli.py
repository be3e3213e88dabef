"""The embedded entailment model: does one sentence follow from another, contradict it, or neither.

A MiniLM-L6 cross-encoder with 8-bit weights, run by onnxruntime and tokenizers. `training/README.md` says how it was
made and what it is good for.

Pairs are run one at a time, spread over the threads. The network quantises activations by the range of the whole
batch: in a batch, a pair's score would depend on its companions, and the same query could get another answer in another
chunk. One at a time it does not, nothing is padded, and a caller may stop after any pair.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from core.digest import bytes_digest
from core.errors import ConfigError

if TYPE_CHECKING:
    from onnxruntime import InferenceSession
    from tokenizers import Encoding, Tokenizer

EMBEDDED = Path(__file__).parent / "models" / "nli"
"""Folder of the model that comes with the package."""

LABELS = ("e", "n", "c")
"""The columns of a score: entailment, neutral, contradiction."""

CONTRADICTION = LABELS.index("c")
"""The column that says how likely the two sentences contradict each other."""

_LEAST_TOKENS = 5
"""`[CLS] a [SEP] b [SEP]`"""

_CARD, _MODEL, _TOKENIZER = "card.json", "model.onnx", "tokenizer.json"
_TRAINING = "python -m training.nli makes the folder anew"


class OnnxNli:
    """Scores pairs of sentences with a model folder: `model.onnx`, `tokenizer.json`, `card.json`.

    The same pair gets the same score whatever stands beside it and however many threads there are. Loading reads and
    checks all files; onnxruntime and tokenizers are imported then, not before. One instance may be shared by threads.

    Args:
        folder: the model's folder; None means the embedded one.
        threads: pairs that are computed at the same time.

    Raises:
        ConfigError: a file is missing, or is not the one that the card was written for.
        ValueError: `threads` is less than 1.
    """

    def __init__(self, folder: Path | None = None, *, threads: int) -> None:
        if threads < 1:
            raise ValueError(f"threads is {threads}, expected at least 1")
        place = EMBEDDED if folder is None else folder
        card = _read_card(place)
        model, tokenizer = (_checked(place / name, card["files"][name]) for name in (_MODEL, _TOKENIZER))
        self._version: str = card["version"]
        self._temperature: float = card["temperature"]
        self._session = _session(model, place / _MODEL)
        self._tokenizer = _tokenizer(tokenizer, place / _TOKENIZER, longest=card["longest"])
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="nli") if threads > 1 else None

    @property
    def version(self) -> str:
        """Name of the model with the start of its hash, for the trace. The same version gives the same scores."""
        return self._version

    def score(self, pairs: Sequence[tuple[str, str]]) -> NDArray[np.float32]:
        """Return calibrated probabilities of shape (n, 3), columns as in `LABELS`, rows in the order of the pairs.

        Each pair is (premise, hypothesis). Contradiction is symmetric in meaning; the model's answer nearly is. Of a
        pair longer than the card's `longest` tokens, the end of the longer sentence is not read.
        """
        if not pairs:
            return np.zeros((0, len(LABELS)), dtype=np.float32)
        rows = self._tokenizer.encode_batch(list(pairs))
        logits = np.stack(list(map(self._logits, rows) if self._pool is None else self._pool.map(self._logits, rows)))
        powers = np.exp((logits - logits.max(axis=1, keepdims=True)) / self._temperature)
        return np.asarray(powers / powers.sum(axis=1, keepdims=True), dtype=np.float32)

    def _logits(self, row: Encoding) -> NDArray[np.float32]:
        given = {
            "input_ids": np.array([row.ids], dtype=np.int64),
            "attention_mask": np.ones((1, len(row.ids)), dtype=np.int64),
            "token_type_ids": np.array([row.type_ids], dtype=np.int64),
        }
        (logits,) = self._session.run(["logits"], given)
        return np.asarray(logits[0], dtype=np.float32)


def _read_card(folder: Path) -> dict[str, Any]:
    path = folder / _CARD
    try:
        card = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no model here, expected {_CARD}; {_TRAINING}") from None
    except ValueError as error:
        raise ConfigError(f"{path}: not JSON ({error}); {_TRAINING}") from error
    problem = _problem_of(card)
    if problem:
        raise ConfigError(f"{path}: {problem}; {_TRAINING}")
    return dict(card)


def _problem_of(card: Any) -> str | None:  # noqa: ANN401 - whatever the file holds
    if not isinstance(card, dict):
        return "expected an object"
    if card.get("labels") != list(LABELS):
        return f"field labels is {card.get('labels')!r}, expected {list(LABELS)!r}"
    files = card.get("files")
    if not isinstance(files, dict) or not all(isinstance(files.get(name), str) for name in (_MODEL, _TOKENIZER)):
        return f"field files must give the SHA-256 of {_MODEL} and {_TOKENIZER}"
    temperature, longest = card.get("temperature"), card.get("longest")
    if not isinstance(temperature, float) or not 0 < temperature < math.inf:
        return f"field temperature is {temperature!r}, expected a number over 0"
    if type(longest) is not int or longest < _LEAST_TOKENS:
        return f"field longest is {longest!r}, expected a number of tokens"
    if not isinstance(card.get("version"), str):
        return f"field version is {card.get('version')!r}, expected a text"
    return None


def _checked(path: Path, expected: str) -> bytes:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise ConfigError(f"{path}: the file is missing; {_TRAINING}") from None
    found = bytes_digest(content)
    if found != expected:
        raise ConfigError(f"{path}: damaged: SHA-256 is {found}, the card says {expected}; {_TRAINING}")
    return content


def _session(model: bytes, path: Path) -> InferenceSession:
    import onnxruntime  # noqa: PLC0415 - 60 ms and 40 MB that only the model's users pay

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # pairs are spread over threads, not the work on one
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ConfigError(f"{path}: onnxruntime cannot load it ({error})") from error


def _tokenizer(content: bytes, path: Path, *, longest: int) -> Tokenizer:
    from tokenizers import Tokenizer  # noqa: PLC0415 - as above

    try:
        tokenizer = Tokenizer.from_buffer(content)
    except Exception as error:
        raise ConfigError(f"{path}: tokenizers cannot load it ({error})") from error
    tokenizer.no_padding()
    tokenizer.enable_truncation(longest, strategy="longest_first")
    return tokenizer

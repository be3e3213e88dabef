"""Any cross-encoder for entailment, from a folder as Hugging Face's `optimum` exports it.

`model.onnx` (or `onnx/model.onnx`), `tokenizer.json` and `config.json`, whose `id2label` says which output means what.
There is no card and so no calibration: the probabilities are the softmax of the logits, and most networks are surer
than they are right. Pairs are run one at a time, for the reason that `onnx_model` gives.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from core.adapters.onnx_model import INPUTS, Network, load_session, load_tokenizer, softmax
from core.digest import bytes_digest
from core.errors import ConfigError

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

LABELS: Final = ("entailment", "neutral", "contradiction")
"""The columns of a score. In `config.json` they may stand in any order and case."""

_CONFIG, _TOKENIZER = "config.json", "tokenizer.json"
_MODELS = ("model.onnx", "onnx/model.onnx")
_WEIGHTS = ("model.onnx_data", "model.onnx.data")
"""Exporters put weights into a file of their own, beside the network, where they are large."""
_REMEDY = "expected a folder with model.onnx, tokenizer.json and config.json; a model of a hub must be downloaded first"


class OnnxFolder:
    """Scores pairs of sentences with a folder of somebody else's making.

    The same pair gets the same score whatever stands beside it and however many threads there are. onnxruntime and
    tokenizers are imported when a folder is loaded. One instance may be shared by threads.

    Args:
        folder: the folder.
        threads: pairs that are computed at the same time.
        longest: tokens of a pair that are read; the end of the longer sentence is cut.

    Raises:
        ConfigError: a file is missing or cannot be used, or `config.json` does not name the three labels.
        ValueError: `threads` is less than 1, or `longest` less than 8.
    """

    def __init__(self, folder: Path, *, threads: int, longest: int = 128) -> None:
        if longest < 8:  # noqa: PLR2004 - the marks between the sentences, and a few words
            raise ValueError(f"longest is {longest}, expected at least 8 tokens")
        self._columns = _columns(folder / _CONFIG)
        model_path = next((path for name in _MODELS if (path := folder / name).is_file()), folder / _MODELS[0])
        weights = [path for name in _WEIGHTS if (path := model_path.with_name(name)).is_file()]
        digests = [bytes_digest(_content(path)) for path in (model_path, *weights)]
        digest = digests[0] if len(digests) == 1 else bytes_digest("".join(digests).encode())
        self._version = f"{folder.resolve().name}-{digest[:12]}"
        session = load_session(str(model_path), model_path)  # from its path: beside it lie the weights it may name
        inputs = {item.name for item in session.get_inputs()}
        if not {"input_ids"} <= inputs <= {*INPUTS}:
            raise ConfigError(f"{model_path}: the inputs are {sorted(inputs)}, expected some of {sorted(INPUTS)}")
        tokenizer_path = folder / _TOKENIZER
        self._network = Network(
            session,
            load_tokenizer(_content(tokenizer_path), tokenizer_path, longest),
            output=_logits_name(session, model_path),
            width=len(LABELS),
            threads=threads,
        )

    @property
    def version(self) -> str:
        """Name of the folder with the start of its SHA-256, the network's and, where they lie apart, its weights'."""
        return self._version

    def score(self, pairs: Sequence[tuple[str, str]]) -> NDArray[np.float32]:
        """Return probabilities of shape (n, 3), columns as in `LABELS`, rows in the order of the pairs.

        Each pair is (premise, hypothesis).
        """
        return softmax(np.take(self._network.run(pairs), self._columns, axis=1))


def _logits_name(session: InferenceSession, path: Path) -> str:
    """The output that has a row of three numbers: called `logits` where there are several."""
    outputs = [item.name for item in session.get_outputs() if item.shape[1:] == [len(LABELS)]]
    if len(outputs) == 1 or "logits" in outputs:
        return "logits" if "logits" in outputs else str(outputs[0])
    shapes = {item.name: item.shape for item in session.get_outputs()}
    raise ConfigError(f"{path}: the outputs are {shapes}, expected one of {len(LABELS)} numbers for a pair")


def _columns(path: Path) -> list[int]:
    """Where the network's output has each of `LABELS`."""
    try:
        config = json.loads(_content(path))
    except ValueError as error:
        raise ConfigError(f"{path}: not JSON ({error})") from error
    labels = config.get("id2label") if isinstance(config, dict) else None
    try:
        found = {str(label).strip().lower(): int(number) for number, label in _items(labels)}
    except ValueError:
        found = {}
    if sorted(found) != sorted(LABELS) or sorted(found.values()) != list(range(len(LABELS))):
        wanted = " (any order and case)"
        raise ConfigError(f"{path}: field id2label is {labels!r}, expected 0 to 2 to be {', '.join(LABELS)}{wanted}")
    return [found[label] for label in LABELS]


def _items(labels: object) -> Sequence[tuple[Any, Any]]:
    return tuple(labels.items()) if isinstance(labels, Mapping) else ()


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); {_REMEDY}") from None

"""The embedded entailment model: its answers to plain pairs, that it repeats itself, and damaged files."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from core.adapters.onnx_nli import CONTRADICTION, EMBEDDED, LABELS, OnnxNli
from core.errors import ConfigError

ENTAILED = [
    ("A man in a red shirt is playing a guitar on stage.", "A man is playing an instrument."),
    ("Two dogs are running across a green field.", "Some animals are running outdoors."),
]
NEUTRAL = [
    ("A woman is reading a book on a bench.", "The woman is reading a novel about the war."),
    ("A boy jumps into the pool.", "The boy is on holiday with his parents."),
]
CONTRADICTED = [
    ("A man is sleeping on a sofa.", "A man is running in the street."),
    ("The bridge was opened in 1932.", "The bridge was opened in 1947."),
    ("The treatment increases survival.", "The treatment does not increase survival."),
    ("The hall holds 400 people.", "The hall holds 900 people."),
]
PAIRS = [*ENTAILED, *NEUTRAL, *CONTRADICTED]


@pytest.fixture(scope="module")
def model() -> OnnxNli:
    """The model that comes with the package."""
    return OnnxNli(threads=2)


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A copy of the model's folder, to damage."""
    return Path(shutil.copytree(EMBEDDED, tmp_path / "nli"))


@pytest.mark.parametrize(
    ("pairs", "label"),
    [(ENTAILED, "e"), (NEUTRAL, "n"), (CONTRADICTED, "c")],
    ids=["entailed", "neutral", "contradicted"],
)
def test_plain_pairs_get_their_label(model: OnnxNli, pairs: list[tuple[str, str]], label: str) -> None:
    """Pairs that nobody would argue about get the right label."""
    assert [LABELS[place] for place in model.score(pairs).argmax(axis=1)] == [label] * len(pairs)


def test_contradiction_reads_both_ways(model: OnnxNli) -> None:
    """A contradiction is one whichever sentence comes first."""
    turned = [(hypothesis, premise) for premise, hypothesis in CONTRADICTED]
    assert (model.score(turned)[:, CONTRADICTION] > 0.5).all()


def test_rows_are_probabilities(model: OnnxNli) -> None:
    """Each row holds three probabilities that sum to one."""
    scores = model.score(PAIRS)
    assert scores.shape == (len(PAIRS), 3)
    assert (scores >= 0).all()
    np.testing.assert_allclose(scores.sum(axis=1), 1.0, atol=1e-5)


def test_a_score_does_not_depend_on_its_companions(model: OnnxNli) -> None:
    """A pair gets the same bits alone, in company, and in another order."""
    together = model.score(PAIRS)
    alone = np.concatenate([model.score([pair]) for pair in PAIRS])
    np.testing.assert_array_equal(together, alone)
    np.testing.assert_array_equal(model.score(PAIRS[::-1])[::-1], together)


def test_a_score_does_not_depend_on_the_threads(model: OnnxNli) -> None:
    """One thread gives the same bits as two."""
    np.testing.assert_array_equal(OnnxNli(threads=1).score(PAIRS), model.score(PAIRS))


def test_no_pairs_give_no_rows(model: OnnxNli) -> None:
    """An empty list is answered with an empty array of three columns."""
    assert model.score([]).shape == (0, 3)


def test_long_and_odd_texts_are_scored(model: OnnxNli) -> None:
    """Texts that are empty, endless or not English give numbers, not errors."""
    scores = model.score([("", ""), ("word " * 5_000, "word"), ("日本語の文。", "\x00\u200b"), ("a\nb", "\t")])
    assert np.isfinite(scores).all()


def test_the_end_of_a_long_text_is_not_read(model: OnnxNli) -> None:
    """What lies behind the card's longest length changes nothing."""
    start = "The river is long and wide. " * 40
    first, second = model.score([(start + "It is blue.", "The river is short."), (start, "The river is short.")])
    np.testing.assert_array_equal(first, second)


def test_version_names_the_model(model: OnnxNli) -> None:
    """The version carries the start of the model file's hash, so that a trace names exactly one model."""
    card = json.loads((EMBEDDED / "card.json").read_text(encoding="utf-8"))
    assert model.version == card["version"]
    assert card["files"]["model.onnx"].startswith(model.version.rpartition("-")[2])


def test_the_model_is_small_enough_to_embed() -> None:
    """The model file stays under 25 MB."""
    assert (EMBEDDED / "model.onnx").stat().st_size <= 25_000_000


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json"])
def test_a_changed_file_is_refused(copied: Path, name: str) -> None:
    """One changed byte is found at load, and the message names the file and both hashes."""
    path = copied / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=rf"{name}: damaged: SHA-256 is [0-9a-f]{{64}}, the card says [0-9a-f]{{64}}"):
        OnnxNli(copied, threads=1)


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json", "card.json"])
def test_a_missing_file_is_named(copied: Path, name: str) -> None:
    """A missing file is named, with what was expected."""
    (copied / name).unlink()
    with pytest.raises(ConfigError, match=name):
        OnnxNli(copied, threads=1)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("labels", ["c", "e", "n"]),
        ("temperature", 0.0),
        ("temperature", "warm"),
        ("longest", 0),
        ("files", {}),
        ("version", None),
    ],
)
def test_a_wrong_card_is_refused(copied: Path, field: str, value: object) -> None:
    """A card with a field that cannot be used is refused, and the message names the field."""
    path = copied / "card.json"
    card = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**card, field: value}), encoding="utf-8")
    with pytest.raises(ConfigError, match=f"card.json: field {field}"):
        OnnxNli(copied, threads=1)


@pytest.mark.parametrize("content", [b"", b"{", b"[]"])
def test_a_card_that_is_none_is_refused(copied: Path, content: bytes) -> None:
    """A card that is no JSON object is refused with its path."""
    (copied / "card.json").write_bytes(content)
    with pytest.raises(ConfigError, match=r"card\.json"):
        OnnxNli(copied, threads=1)


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json"])
def test_a_file_that_no_library_can_load_is_refused(copied: Path, name: str) -> None:
    """A file that fits the card but is no model is refused with its path."""
    (copied / name).write_bytes(b"not a model")
    path = copied / "card.json"
    card = json.loads(path.read_text(encoding="utf-8"))
    card["files"][name] = hashlib.sha256(b"not a model").hexdigest()
    path.write_text(json.dumps(card), encoding="utf-8")
    with pytest.raises(ConfigError, match=f"{name}: .* cannot load it"):
        OnnxNli(copied, threads=1)


@pytest.mark.parametrize("threads", [0, -1])
def test_threads_must_be_positive(threads: int) -> None:
    """Less than one thread is a programming error."""
    with pytest.raises(ValueError, match="expected at least 1"):
        OnnxNli(threads=threads)


@pytest.mark.process
def test_importing_the_adapter_loads_no_library() -> None:
    """The libraries are imported when a model is loaded, and torch never is."""
    program = (
        "import sys; from core.adapters.onnx_nli import OnnxNli;"
        "print([name for name in ('onnxruntime', 'tokenizers') if name in sys.modules]);"
        "OnnxNli(threads=1).score([('a', 'b')]);"
        "print([name for name in ('torch', 'transformers') if name in sys.modules])"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["[]", "[]"]

"""What loads and runs a sentence embedder: the vectors' form, what they depend on, and damaged folders."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from core.adapters.embedder import EMBEDDED, OnnxEmbedder
from core.adapters.passage_vectors import LEAST_COSINE
from core.errors import ConfigError
from tests.tiny_embedder import LONGEST, WORDS, write_tiny_embedder

TEXTS = ["whale", "fish harbour", "", "harbour whale whale", "unknown words", "fish"]
MOST_BYTES = 25_000_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A tiny model's folder."""
    return write_tiny_embedder(tmp_path / "embedder")


@pytest.fixture(scope="module")
def shipped() -> OnnxEmbedder:
    """The model that comes with the package."""
    return OnnxEmbedder(threads=1)


def test_vectors_are_the_networks(folder: Path) -> None:
    """Rows are the texts in order, as the network computes them."""
    found = OnnxEmbedder(folder, threads=1).embed(TEXTS)
    wanted = [sum((np.array(WORDS.get(word, (0, 0, 0))) for word in text.split()), np.zeros(3)) for text in TEXTS]
    np.testing.assert_allclose(found, wanted)
    assert found.dtype == np.float32


def test_a_vector_does_not_depend_on_its_companions(folder: Path) -> None:
    """A text gets the same bits alone, in company, and in another order."""
    model = OnnxEmbedder(folder, threads=2)
    together = model.embed(TEXTS)
    np.testing.assert_array_equal(np.concatenate([model.embed([text]) for text in TEXTS]), together)
    np.testing.assert_array_equal(model.embed(TEXTS[::-1])[::-1], together)


@pytest.mark.parametrize("threads", [2, 5])
def test_a_vector_does_not_depend_on_the_threads(folder: Path, threads: int) -> None:
    """Many threads give the same bits in the same order as one."""
    many = TEXTS * 20
    np.testing.assert_array_equal(
        OnnxEmbedder(folder, threads=threads).embed(many), OnnxEmbedder(folder, threads=1).embed(many)
    )


@pytest.mark.parametrize("threads", [1, 2])
def test_the_end_of_a_long_text_is_not_read(folder: Path, threads: int) -> None:
    """The card says how many tokens are read, the two around a text among them, whatever the tokenizer's file says."""
    model = OnnxEmbedder(folder, threads=threads)
    read, longer = model.embed(["whale " * (LONGEST - 2), "whale " * 20 + "harbour"])
    np.testing.assert_array_equal(read, longer)
    assert read[0] == LONGEST - 2


def test_no_texts_give_no_rows(folder: Path) -> None:
    """An empty list is answered with an empty array of that many columns."""
    assert OnnxEmbedder(folder, threads=1).embed([]).shape == (0, 3)


def test_version_and_dimensions_are_the_card_s(folder: Path) -> None:
    """The index and the trace get what the card names."""
    model = OnnxEmbedder(folder, threads=1)
    assert (model.version, model.dimensions) == ("tiny-embedder-1", 3)


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json"])
def test_a_changed_file_is_refused(folder: Path, name: str) -> None:
    """One changed byte is found at load, and the message names the file and both hashes."""
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(ConfigError, match=rf"{name}: damaged: SHA-256 is [0-9a-f]{{64}}, the card says [0-9a-f]{{64}}"):
        OnnxEmbedder(folder, threads=1)


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json", "card.json"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    """A missing file is named, with how the folder is made."""
    (folder / name).unlink()
    with pytest.raises(ConfigError, match=rf"{name}: .*python -m training\.embedder"):
        OnnxEmbedder(folder, threads=1)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("dimensions", 0),
        ("dimensions", True),
        ("dimensions", None),
        ("longest", 4),
        ("longest", "long"),
        ("files", []),
        ("files", {"model.onnx": "1"}),
        ("version", 1),
    ],
)
def test_a_wrong_card_is_refused(tmp_path: Path, field: str, value: object) -> None:
    """A card with a field that cannot be used is refused, and the message names the field."""
    write_tiny_embedder(tmp_path, **{field: value})  # type: ignore[arg-type]  # any field of the card
    with pytest.raises(ConfigError, match=rf"card\.json: field {field}"):
        OnnxEmbedder(tmp_path, threads=1)


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json"])
def test_a_file_that_no_library_can_load_is_refused(tmp_path: Path, name: str) -> None:
    """A file that fits the card but is no model is refused with its path."""
    write_tiny_embedder(tmp_path, contents={name: b"not a model"})
    with pytest.raises(ConfigError, match=rf"{name}: .* cannot load it"):
        OnnxEmbedder(tmp_path, threads=1)


@pytest.mark.parametrize("threads", [0, -1])
def test_threads_must_be_positive(folder: Path, threads: int) -> None:
    """Less than one thread is a programming error."""
    with pytest.raises(ValueError, match="expected at least 1"):
        OnnxEmbedder(folder, threads=threads)


@pytest.mark.process
def test_importing_the_adapter_loads_no_library(folder: Path) -> None:
    """The libraries are imported when a model is loaded, and torch never is."""
    program = (
        "import sys; from pathlib import Path; from core.adapters.embedder import OnnxEmbedder;"
        "print([name for name in ('onnxruntime', 'tokenizers') if name in sys.modules]);"
        f"OnnxEmbedder(Path({str(folder)!r}), threads=1).embed(['a']);"
        "print([name for name in ('torch', 'transformers') if name in sys.modules])"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["[]", "[]"]


def test_the_shipped_model_tells_near_from_far(shipped: OnnxEmbedder) -> None:
    """What means the same in other words is nearer than what shares words and means something else."""
    asked, same, other, nothing = shipped.embed(
        [
            "In which year was the bridge opened?",
            "The crossing was built in 1894.",
            "The year of the bull.",
            "Whales eat krill.",
        ]
    )
    assert asked @ same > asked @ other > asked @ nothing
    assert asked @ nothing < LEAST_COSINE < asked @ same


def test_vectors_of_the_shipped_model_have_length_one(shipped: OnnxEmbedder) -> None:
    """Whatever the text, empty and endless ones included, so that a product of two is their cosine."""
    vectors = shipped.embed(["", "word " * 5_000, "日本語の文。", "\x00\u200b", "One sentence."])
    assert vectors.shape == (5, 384)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)


def test_the_shipped_model_does_not_depend_on_companions(shipped: OnnxEmbedder) -> None:
    """With real, rounded weights too a text's bits are its own, on one thread and on two."""
    texts = ["A short one.", "A much longer one, which would need padding beside the other. " * 5, "A third."]
    alone = np.concatenate([shipped.embed([text]) for text in texts])
    np.testing.assert_array_equal(OnnxEmbedder(threads=2).embed(texts), alone)


def test_the_shipped_folder_is_whole() -> None:
    """Licence and notices lie beside the weights, the card names its source, and the weights are small enough."""
    card = json.loads((EMBEDDED / "card.json").read_text(encoding="utf-8"))
    assert card["licence"] == "Apache-2.0"
    assert "all-MiniLM-L6-v2" in card["source"]["model"]
    assert "Apache License" in (EMBEDDED / "LICENSE").read_text(encoding="utf-8")
    assert "all-MiniLM-L6-v2" in (EMBEDDED / "NOTICE.md").read_text(encoding="utf-8")
    assert (EMBEDDED / "model.onnx").stat().st_size <= MOST_BYTES
    digests = {name: hashlib.sha256((EMBEDDED / name).read_bytes()).hexdigest() for name in card["files"]}
    assert digests == card["files"]

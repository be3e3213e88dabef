"""Behaviour of examples/ramdocs.py on records written for these tests, and on the real file where it is at hand."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from examples.batch_files import Batch
from examples.ramdocs import build, main, read_question

ROOT = Path(__file__).parents[2]
REAL = Path(os.environ.get("REDO_TEST_DATA", ROOT.parent / "shared" / "data")) / "ramdocs" / "ramdocs-dev.jsonl"

Record = dict[str, object]


def document(text: str, kind: str = "correct", answer: str = "ten") -> Record:
    """Make a document."""
    return {"text": text, "type": kind, "answer": answer}


def question(text: str, *documents: Record) -> Record:
    """Make a record."""
    return {"question": text, "documents": list(documents)}


WELLS = question(
    "How many wells has Brook?", document("Brook has ten wells."), document("Brook has two wells.", "misinfo", "two")
)
MILLS = question("How many mills has Brook?", document("Brook has ten wells.", "noise", "unknown"))


def built(*records: Record, own_candidates: bool = False) -> tuple[Batch, int]:
    """Read records and build the batch."""
    return build((read_question(record) for record in records), own_candidates=own_candidates)


def source_of(folder: Path, *lines: str | Record) -> Path:
    """Write a file with one record, or one broken line, a line."""
    path = folder / "source.jsonl"
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return path


def test_documents_are_pooled_and_labelled_by_question() -> None:
    """A text of two questions is one passage, with the label that each question gives it."""
    batch, conflicting = built(WELLS, MILLS)
    texts = {passage.passage_id: passage.text for passage in batch.passages}
    asked = {query.query_id: query.text for query in batch.queries}
    assert sorted(texts.values()) == ["Brook has ten wells.", "Brook has two wells."]
    assert conflicting == 0
    assert {(asked[each.query_id], texts[each.passage_id], each.label, each.answer) for each in batch.labels} == {
        ("How many wells has Brook?", "Brook has ten wells.", "correct", "ten"),
        ("How many wells has Brook?", "Brook has two wells.", "misinfo", "two"),
        ("How many mills has Brook?", "Brook has ten wells.", "noise", "unknown"),
    }


def test_white_space_around_a_text_makes_no_other_passage() -> None:
    """Texts that differ in the white space around them are one passage; inside it stays as it is."""
    batch, _ = built(question("Q?", document(" Brook  has wells.\n"), document("Brook  has wells.")))
    assert [passage.text for passage in batch.passages] == ["Brook  has wells."]


def test_text_with_two_labels_for_one_question_has_none() -> None:
    """A text that one question labels in two ways gets no label there, stays a passage, and is counted."""
    batch, conflicting = built(question("Q?", document("It is so."), document("It is so.", "misinfo", "two")), WELLS)
    assert conflicting == 1
    assert "It is so." in {passage.text for passage in batch.passages}
    assert {label.query_id for label in batch.labels} == {built(WELLS)[0].queries[0].query_id}


def test_question_asked_twice_is_one_query() -> None:
    """Records with the same question are one query with the labels of both."""
    batch, _ = built(question("Q?", document("One.")), question("Q?", document("Two.", "misinfo", "two")))
    assert len(batch.queries) == 1
    assert sorted(label.label for label in batch.labels) == ["correct", "misinfo"]


def test_order_carries_nothing() -> None:
    """The batch is the same for any order of questions and documents, and sorted by ids that are digests."""
    turned = [{**record, "documents": list(reversed(record["documents"]))} for record in (WELLS, MILLS)]  # type: ignore[call-overload]
    for own_candidates in (False, True):
        straight, _ = built(WELLS, MILLS, own_candidates=own_candidates)
        assert built(*reversed(turned), own_candidates=own_candidates)[0] == straight
        assert [query.query_id for query in straight.queries] == sorted(query.query_id for query in straight.queries)
        assert [each.passage_id for each in straight.passages] == sorted(each.passage_id for each in straight.passages)


def test_ids_depend_on_the_content_only() -> None:
    """A passage has the same id whatever question, label and answer it comes with."""
    one, _ = built(question("Q?", document("It is so.")))
    two, _ = built(question("R?", document("It is so.", "misinfo", "no"), document("Not so.")))
    assert one.passages[0].passage_id in {passage.passage_id for passage in two.passages}
    assert one.queries[0].query_id.startswith("q-")


def test_own_candidates_are_the_documents_of_the_question() -> None:
    """With own candidates each query brings exactly its own documents, and else none."""
    batch, _ = built(WELLS, MILLS, own_candidates=True)
    brought = {query.text: {each.text for each in query.candidates or ()} for query in batch.queries}
    assert brought == {
        "How many wells has Brook?": {"Brook has ten wells.", "Brook has two wells."},
        "How many mills has Brook?": {"Brook has ten wells."},
    }
    assert {query.candidates for query in built(WELLS, MILLS)[0].queries} == {None}


def test_order_of_own_candidates_differs_between_questions() -> None:
    """The order of candidates is shuffled by question: neither the order of the file nor that of the ids shows."""
    documents = [document(f"Brook has {number} wells.") for number in range(6)]
    batch, _ = built(*(question(f"Q{number}?", *documents) for number in range(6)), own_candidates=True)
    orders = {tuple(each.passage_id for each in query.candidates or ()) for query in batch.queries}
    assert len(orders) > 1


def test_writes_the_three_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command writes the three files, skips blank lines, prints the counts and exits with 0."""
    assert main([str(source_of(tmp_path, WELLS, "", MILLS)), str(tmp_path / "out")]) == 0
    rows = {path.name: path.read_text(encoding="utf-8").splitlines() for path in (tmp_path / "out").iterdir()}
    assert {name: len(lines) for name, lines in rows.items()} == {
        "queries.jsonl": 2,
        "passages.jsonl": 2,
        "labels.jsonl": 3,
    }
    assert set(json.loads(rows["queries.jsonl"][0])) == {"query_id", "text"}
    assert set(json.loads(rows["passages.jsonl"][0])) == {"passage_id", "text"}
    assert set(json.loads(rows["labels.jsonl"][0])) == {"query_id", "passage_id", "label", "answer"}
    counts = "2 queries, 2 passages, 3 labels (1 correct, 1 misinfo, 1 noise), 0 conflicting labels left out"
    assert counts in capsys.readouterr().out


def test_own_candidates_flag_reaches_the_file(tmp_path: Path) -> None:
    """With the flag each line of queries.jsonl holds candidates with id and text."""
    assert main([str(source_of(tmp_path, MILLS)), str(tmp_path), "--own-candidates"]) == 0
    (candidate,) = json.loads((tmp_path / "queries.jsonl").read_text(encoding="utf-8"))["candidates"]
    assert set(candidate) == {"passage_id", "text"}


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('{"question": ', "not JSON: Expecting value at column 14"),
        ("[]", "expected an object with question and documents, got list"),
        ('{"documents": []}', "question: expected a text that is not empty, got null"),
        ('{"question": " ", "documents": []}', 'question: expected a text that is not empty, got " "'),
        ('{"question": "Q?"}', "documents: expected a list, got NoneType"),
        (
            '{"question": "Q?", "documents": [7]}',
            "documents[0]: expected an object with text, type and answer, got int",
        ),
        (
            json.dumps(question("Q?", document("T", "true"))),
            "documents[0].type: expected one of correct, misinfo, noise, got 'true'",
        ),
        (
            json.dumps(question("Q?", document("T"), document(""))),
            'documents[1].text: expected a text that is not empty, got ""',
        ),
        ('{"question": "\\ud800", "documents": []}', "question: holds half of a surrogate pair, which is no character"),
    ],
)
def test_broken_line_is_one_error_and_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], line: str, problem: str
) -> None:
    """A broken line ends the run with its number, what was expected and exit code 2; no file is touched."""
    source = source_of(tmp_path, WELLS, "", line)
    out = tmp_path / "out"
    assert main([str(source), str(out)]) == 2
    printed = capsys.readouterr()
    assert printed.err == f"ramdocs: {source}: line 3: {problem}\n"
    assert printed.out == ""
    assert not out.exists()


def test_bytes_that_are_no_utf8_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Invalid UTF-8 is an error with its line and byte."""
    source = tmp_path / "source.jsonl"
    source.write_bytes(json.dumps(WELLS).encode() + b'\n{"question": "\xff"}\n')
    assert main([str(source), str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err == f"ramdocs: {source}: line 2: byte 15 is not UTF-8\n"


def test_failed_run_leaves_earlier_files_alone(tmp_path: Path) -> None:
    """The files of an earlier run stay as they are when a later one fails."""
    assert main([str(source_of(tmp_path, WELLS)), str(tmp_path / "out")]) == 0
    before = {path: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert main([str(source_of(tmp_path, MILLS, "{")), str(tmp_path / "out")]) == 2
    assert {path: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


@pytest.mark.parametrize("content", [None, "", "\n\n"])
def test_missing_or_empty_file_is_one_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | None
) -> None:
    """A file that is missing or holds no question is one line and exit code 2."""
    source = tmp_path / "source.jsonl"
    if content is not None:
        source.write_text(content)
    assert main([str(source), str(tmp_path / "out")]) == 2
    problem = "holds no question" if content is not None else "No such file or directory"
    assert capsys.readouterr().err == f"ramdocs: {source}: {problem}\n"


@pytest.mark.skipif(
    not REAL.exists(), reason="the RAMDocs file is not at hand: set REDO_TEST_DATA to its folder's parent"
)
def test_real_file_keeps_every_label(tmp_path: Path) -> None:
    """Of the real file every question becomes a query and every document is labelled as the file labels it."""
    assert main([str(REAL), str(tmp_path)]) == 0
    rows = {
        path.stem: [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        for path in tmp_path.iterdir()
    }
    asked = {row["query_id"]: row["text"] for row in rows["queries"]}
    texts = {row["passage_id"]: row["text"] for row in rows["passages"]}
    written = {
        (asked[row["query_id"]], texts[row["passage_id"]], row["label"], row["answer"]) for row in rows["labels"]
    }
    with REAL.open(encoding="utf-8") as lines:
        records = [json.loads(line) for line in lines]
    expected = {
        (record["question"].strip(), each["text"].strip(), each["type"], each["answer"].strip())
        for record in records
        for each in record["documents"]
    }
    assert len(asked) == len(records)
    assert written == expected

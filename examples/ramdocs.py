"""RAMDocs as a batch: questions whose documents contradict each other.

    python examples/ramdocs.py RAMDOCS.jsonl OUTDIR [--own-candidates]

turns a file of the form that RAMDocs has (Wang et al. 2025, "Retrieval-Augmented Generation with Conflicting Evidence",
https://arxiv.org/abs/2504.13079) into `queries.jsonl`, `passages.jsonl` and `labels.jsonl`. A line of it is an object
with a `question` and `documents`, each with `text`, `type` (`correct`, `misinfo` or `noise`) and `answer`.

The documents of all questions become one corpus. A text that stands in several places is one passage, with one label a
question. Ids are digests of the content and the files are sorted by them: in the original the order of the documents
gives their labels away, here no order and no id does. A text that one question labels in two ways gets no label there;
how often that happens is printed.

With `--own-candidates` each query brings its own documents as `candidates`, in an order made by hashing, and REDO then
skips retrieval.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from examples.batch_files import Batch, Candidate, Label, Passage, Query, content_id, hash_order, write

LABELS = ("correct", "misinfo", "noise")


class FormatError(ValueError):
    """A record is not of the form that RAMDocs has. The message names the field and what was expected."""


@dataclass(frozen=True, slots=True)
class Document:
    """A document of one question."""

    text: str
    label: str
    answer: str

    @property
    def passage_id(self) -> str:
        """A digest of the text."""
        return content_id(self.text)


@dataclass(frozen=True, slots=True)
class Question:
    """A question with its documents."""

    text: str
    documents: tuple[Document, ...]

    @property
    def query_id(self) -> str:
        """A digest of the text."""
        return f"q-{content_id(self.text)}"


def _text_of(record: Mapping[str, object], name: str, where: str = "") -> str:
    """A field that must be a text of at least one visible character."""
    value = record.get(name)
    if not isinstance(value, str) or not value.strip():
        raise FormatError(f"{where}{name}: expected a text that is not empty, got {json.dumps(value)[:40]}")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise FormatError(f"{where}{name}: holds half of a surrogate pair, which is no character") from None
    return value.strip()


def _document(value: object, where: str) -> Document:
    """Read one document."""
    if not isinstance(value, dict):
        raise FormatError(f"{where}: expected an object with text, type and answer, got {type(value).__name__}")
    label = _text_of(value, "type", f"{where}.")
    if label not in LABELS:
        raise FormatError(f"{where}.type: expected one of {', '.join(LABELS)}, got {label!r}")
    return Document(_text_of(value, "text", f"{where}."), label, _text_of(value, "answer", f"{where}."))


def read_question(record: object) -> Question:
    """Read one record.

    Raises:
        FormatError: a field is missing or of another type.
    """
    if not isinstance(record, dict):
        raise FormatError(f"expected an object with question and documents, got {type(record).__name__}")
    documents = record.get("documents")
    if not isinstance(documents, list):
        raise FormatError(f"documents: expected a list, got {type(documents).__name__}")
    read = tuple(_document(value, f"documents[{index}]") for index, value in enumerate(documents))
    return Question(_text_of(record, "question"), read)


def read_questions(lines: Iterable[bytes]) -> Iterator[Question]:
    """Read a file line by line; blank lines count but say nothing.

    Raises:
        FormatError: a line is broken, and the message begins with its number; or there is no question at all.
    """
    found = False
    for number, line in enumerate(lines, start=1):
        if line.strip():
            found = True
            try:
                yield read_question(json.loads(line.rstrip(b"\r\n")))
            except UnicodeDecodeError as error:
                raise FormatError(f"line {number}: byte {error.start + 1} is not UTF-8") from None
            except json.JSONDecodeError as error:
                raise FormatError(f"line {number}: not JSON: {error.msg} at column {error.colno}") from None
            except FormatError as error:
                raise FormatError(f"line {number}: {error}") from None
    if not found:
        raise FormatError("holds no question")


def build(questions: Iterable[Question], *, own_candidates: bool = False) -> tuple[Batch, int]:
    """Pool the documents of all questions into one corpus.

    Args:
        questions: what was read; a question that is asked twice is one query with the documents of both.
        own_candidates: whether each query brings its own documents along.

    Returns:
        The batch, and how many labels were left out because one question gives a text two of them.
    """
    texts: dict[str, str] = {}
    passages: dict[str, str] = {}
    answers: dict[str, dict[str, dict[str, str]]] = {}
    for question in questions:
        texts[question.query_id] = question.text
        by_passage = answers.setdefault(question.query_id, {})
        for document in question.documents:
            passages[document.passage_id] = document.text
            by_passage.setdefault(document.passage_id, {}).setdefault(document.label, document.answer)
    queries = [
        Query(query_id, text, candidates=_candidates(query_id, answers[query_id], passages) if own_candidates else None)
        for query_id, text in texts.items()
    ]
    labels = [
        Label(query_id, passage_id, *next(iter(by_label.items())))
        for query_id, by_passage in answers.items()
        for passage_id, by_label in by_passage.items()
        if len(by_label) == 1
    ]
    batch = Batch(
        queries=tuple(sorted(queries, key=lambda query: query.query_id)),
        passages=tuple(Passage(passage_id, passages[passage_id]) for passage_id in sorted(passages)),
        labels=tuple(sorted(labels, key=lambda label: (label.query_id, label.passage_id))),
    )
    return batch, sum(map(len, answers.values())) - len(labels)


def _candidates(query_id: str, own: Iterable[str], texts: Mapping[str, str]) -> tuple[Candidate, ...]:
    """A query's own passages in an order that its hash makes."""
    in_order = sorted(own, key=lambda passage_id: hash_order(query_id, passage_id))
    return tuple(Candidate(passage_id, texts[passage_id]) for passage_id in in_order)


def main(argv: Sequence[str] | None = None) -> int:
    """Read the file and write the batch. Returns the exit code: 0, or 2 where the input cannot be used."""
    parser = argparse.ArgumentParser(description="Turn a file of RAMDocs' form into a batch.")
    parser.add_argument("source", metavar="RAMDOCS.jsonl", type=Path, help="file with one question a line")
    parser.add_argument("outdir", metavar="OUTDIR", type=Path, help="folder for the three files")
    parser.add_argument("--own-candidates", action="store_true", help="each query brings its own documents")
    options = parser.parse_args(argv)
    source: Path = options.source
    outdir: Path = options.outdir
    try:
        with source.open("rb") as lines:
            batch, conflicting = build(read_questions(lines), own_candidates=options.own_candidates)
        write(batch, outdir)
    except FormatError as error:
        print(f"ramdocs: {source}: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"ramdocs: {error.filename or outdir}: {error.strerror}", file=sys.stderr)
        return 2
    print(f"{outdir}: {batch}, {conflicting} conflicting labels left out")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

"""Questions about the packages installed beside this script, answered from their own documentation.

    python examples/installed_docs.py OUTDIR

writes `queries.jsonl`, `passages.jsonl` and `labels.jsonl` from the metadata of the running interpreter's packages. It
needs no network, and the same packages give the same bytes.

Passages of a distribution:
  * `NAME VERSION metadata`: the structured fields as sentences, one sentence a topic;
  * `NAME VERSION classifiers`: the Python versions and licences that its trove classifiers list, where there are any;
  * `NAME VERSION README`: the sections of its long description, in pieces of at most 120 words. Change logs, credits,
    sponsors, tables, badges, link targets and code are left out; install commands stay. At most 40 pieces.
`published_at` is set where the description names a date next to the installed version, and nowhere else.

Labels follow from the structured fields by the rules below; the fields are taken for the truth. The metadata passage is
`correct` for every question. Of the other passages of the distribution:

| topic | `correct` | `misinfo`, with what it says as the answer |
|---|---|---|
| python | has the lower bound of Requires-Python as its lowest | promises a version that Requires-Python excludes |
| licence | states licences of the families of the metadata only | says that the package is under another family |
| install | has a command that installs this name | never |
| homepage | shows that address | never |
| repository | shows that address | sends the reader to the same project of another owner |
| summary | contains the summary | never |
| version | calls that version the current one | never: what is current is not what is installed |
| author, maintainer | names that person as such | never |
| status | says as much as the classifier does | calls an alpha or beta ready for production, or the reverse |
| dependencies | says that there are none, and there are none | says that there are none, and there are some |

Text about the past, about other releases or under a condition ("dropped", "no longer", "if", "branch") is no statement
of these kinds, and neither is a single Python version without "and newer". A passage that says both things gets no
label. `noise` is a passage of the same distribution that does not touch the topic, told by the words in it; at most 10
a question, chosen by hash. A passage that touches the topic without a verdict has no label, nor has any passage of
another distribution.

Run it with the interpreter of the project's environment, whose packages it describes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence
from email.message import Message
from importlib.metadata import distributions as installed
from pathlib import Path
from typing import cast

from examples.batch_files import Batch, Label, Passage, Query, content_id, hash_order, write
from examples.package_facts import Facts, read_facts
from examples.package_readme import Piece, read_pieces
from examples.package_topics import TOPICS, Topic, listed

OWN_NAME = "redo"
NOISE_LABELS = 10
NO_ANSWER = "unknown"  # what RAMDocs gives as the answer of noise


def _metadata_piece(facts: Facts) -> Piece:
    """The structured fields as sentences."""
    answers = ((topic, topic.answer(facts)) for topic in TOPICS)
    told = (topic.statement.format(name=facts.name, answer=answer) for topic, answer in answers if answer)
    return Piece("metadata", "", tuple(told))


def _classifier_piece(facts: Facts) -> Piece:
    """Python versions and licences as the trove classifiers list them."""
    told = []
    if facts.python_classifiers:
        told.append(f"{facts.name} supports Python {listed(facts.python_classifiers)}, by its classifiers.")
    if facts.licence_classifiers:
        told.append(f"{facts.name} is licensed under the {listed(facts.licence_classifiers)}, by its classifiers.")
    return Piece("classifiers", "", tuple(told))


def _passage(facts: Facts, piece: Piece) -> Passage:
    """A piece as a passage. README sections are introduced by the package and their title."""
    source = f"{facts.name} {facts.version} {'README' if piece.kind == 'readme' else piece.kind}"
    text = piece.body
    if piece.kind == "readme":
        text = f"{facts.name}, {piece.title}: {text}" if piece.title else f"{facts.name}: {text}"
    metadata = {"distribution": facts.key, "kind": piece.kind}
    return Passage(content_id(source, text), text, source, facts.published_at, metadata)


def _labels(facts: Facts, topic: Topic, query_id: str, pieces: dict[str, Piece]) -> Iterator[Label]:
    """Labels of one query: the verdicts, and noise from what does not touch the topic."""
    noise = []
    for passage_id, piece in pieces.items():
        if piece.kind == "metadata":
            yield Label(query_id, passage_id, "correct", topic.answer(facts))
            continue
        said = {verdict.label: verdict.answer for verdict in reversed(list(topic.judge(facts, piece)))}
        if len(said) == 1:
            yield Label(query_id, passage_id, *next(iter(said.items())))
        elif not said and not topic.touches(piece):
            noise.append(passage_id)
    for passage_id in sorted(noise, key=lambda each: hash_order(query_id, each))[:NOISE_LABELS]:
        yield Label(query_id, passage_id, "noise", NO_ANSWER)


def build(distributions: Iterable[Message]) -> Batch:
    """Turn the metadata of distributions into a batch.

    Args:
        distributions: METADATA files. Of one name the first counts, as it does for imports; REDO itself and files
            without name or version are left out.

    Returns:
        The three files, each sorted by id. The order of the input decides nothing but which of two namesakes counts.
    """
    queries: list[Query] = []
    passages: dict[str, Passage] = {}
    labels: list[Label] = []
    seen = {OWN_NAME}
    for message in distributions:
        facts = read_facts(message)
        if facts is None or facts.key in seen:
            continue
        seen.add(facts.key)
        told = (_metadata_piece(facts), _classifier_piece(facts), *read_pieces(facts, message))
        own = {(passage := _passage(facts, piece)).passage_id: (passage, piece) for piece in told if piece.sentences}
        passages |= {passage_id: passage for passage_id, (passage, _) in own.items()}
        pieces = {passage_id: piece for passage_id, (_, piece) in own.items()}
        for topic in TOPICS:
            if topic.answer(facts):
                query_id = f"{facts.key}:{topic.name}"
                wording = topic.wordings[int(hash_order(query_id), 16) % len(topic.wordings)]
                metadata = {"distribution": facts.key, "topic": topic.name}
                queries.append(Query(query_id, wording.format(name=facts.name), metadata))
                labels += _labels(facts, topic, query_id, pieces)
    return Batch(
        queries=tuple(sorted(queries, key=lambda query: query.query_id)),
        passages=tuple(passages[passage_id] for passage_id in sorted(passages)),
        labels=tuple(sorted(labels, key=lambda label: (label.query_id, label.passage_id))),
    )


def _installed_metadata() -> Iterator[Message]:
    """METADATA of every distribution that this interpreter can import, as far as it can be read."""
    for distribution in installed():
        try:
            metadata = cast("Message | None", distribution.metadata)  # the standard library's is a Message, typed less
        except (OSError, UnicodeDecodeError):
            continue
        if metadata is not None:
            yield metadata


def main(argv: Sequence[str] | None = None) -> int:
    """Read the packages of this interpreter and write the batch. Returns the exit code: 0, or 2 where that fails."""
    parser = argparse.ArgumentParser(description="Write a batch of questions about the installed packages.")
    parser.add_argument("outdir", metavar="OUTDIR", type=Path, help="folder for the three files")
    outdir: Path = parser.parse_args(argv).outdir
    try:
        outdir.mkdir(parents=True, exist_ok=True)  # before the work: it is what fails most often
        batch = build(_installed_metadata())
        if not batch.queries:
            print("installed_docs: this interpreter has no packages with metadata to ask about", file=sys.stderr)
            return 2
        write(batch, outdir)
    except OSError as error:
        print(f"installed_docs: {error.filename or outdir}: {error.strerror}", file=sys.stderr)
        return 2
    packages = len({query.metadata["distribution"] for query in batch.queries})
    print(f"{outdir}: {packages} distributions, {batch}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

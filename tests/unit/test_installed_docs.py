"""Behaviour of examples/installed_docs.py on metadata written for these tests."""

from __future__ import annotations

import json
from collections import Counter
from email.message import Message
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from examples.batch_files import Batch, Passage, write
from examples.installed_docs import build, main


def metadata(readme: str = "", **headers: str | list[str]) -> Message:
    """Make the METADATA of a distribution, of `lamp 2.1.0` unless said otherwise; underscores stand for hyphens."""
    message = Message()
    given: dict[str, str | list[str]] = {"Name": "lamp", "Version": "2.1.0", **headers}
    for header, values in given.items():
        for value in [values] if isinstance(values, str) else values:
            message[header.replace("_", "-")] = value
    message.set_payload(readme)
    return message


def markdown(readme: str, **headers: str | list[str]) -> Message:
    """Make the METADATA of a distribution whose description is Markdown."""
    return metadata(readme, Description_Content_Type="text/markdown", **headers)


def passages_of(batch: Batch, kind: str) -> list[Passage]:
    """The passages of one kind."""
    return [passage for passage in batch.passages if passage.metadata["kind"] == kind]


def readme_texts(message: Message) -> set[str]:
    """The texts of the README passages of one distribution."""
    return {passage.text for passage in passages_of(build([message]), "readme")}


def verdicts(message: Message, topic: str, kind: str = "readme") -> set[tuple[str, str]]:
    """Label and answer of the passages of one kind for a topic, without noise."""
    batch = build([message])
    ids = {passage.passage_id for passage in passages_of(batch, kind)}
    labels = [label for label in batch.labels if label.passage_id in ids and label.query_id.endswith(f":{topic}")]
    return {(label.label, label.answer) for label in labels if label.label != "noise"}


def test_asks_only_where_a_field_answers() -> None:
    """A question is asked for each topic that a structured field answers, and for no other."""
    bare = build([metadata()])
    assert [query.query_id for query in bare.queries] == ["lamp:dependencies", "lamp:install", "lamp:version"]
    full = build(
        [metadata(Requires_Python=">=3.9", License_Expression="MIT", Summary="Turns light on", Author="Ann Ode")]
    )
    assert {query.query_id for query in full.queries} - {query.query_id for query in bare.queries} == {
        "lamp:python",
        "lamp:licence",
        "lamp:summary",
        "lamp:author",
    }


def test_questions_name_the_distribution_in_varied_words() -> None:
    """Every question names its distribution, and one topic is asked in more than one wording."""
    batch = build([metadata(Name=f"lamp{number}", Requires_Python=">=3.9") for number in range(12)])
    for query in batch.queries:
        assert str(query.metadata["distribution"]) in query.text
    wordings = {
        q.text.replace(str(q.metadata["distribution"]), "") for q in batch.queries if q.metadata["topic"] == "python"
    }
    assert len(wordings) > 1


def test_metadata_passage_states_each_field_in_a_sentence() -> None:
    """The structured fields become sentences whose subject is the distribution; the passage is correct throughout."""
    message = metadata(
        Name="Lamp_Kit",
        Summary="Turns light on.",
        Requires_Python="!=3.9.1,>=3.9",
        License_Expression="MIT",
        Author_email='"Ann Ode" <ann@example.org>, Bo Li <bo@example.org>',
        Project_URL=["Homepage, https://lamp.example.org", "Source, https://github.com/lamps/lamp-kit"],
        Requires_Dist=["wick>=2", "Oil", 'fan; extra == "wind"'],
        Classifier="Development Status :: 4 - Beta",
    )
    batch = build([message])
    (passage,) = passages_of(batch, "metadata")
    assert passage.source == "Lamp_Kit 2.1.0 metadata"
    assert passage.text == (
        "Lamp_Kit requires Python >=3.9, !=3.9.1. The license of Lamp_Kit is MIT. "
        "Lamp_Kit is installed with `pip install Lamp_Kit`. The home page of Lamp_Kit is https://lamp.example.org. "
        "The source code of Lamp_Kit is at https://github.com/lamps/lamp-kit. "
        "Lamp_Kit is described as: Turns light on. The installed version of Lamp_Kit is 2.1.0. "
        "Lamp_Kit was written by Ann Ode and Bo Li. The development status of Lamp_Kit is Beta. "
        "Lamp_Kit depends on Oil and wick."
    )
    labels = {
        label.query_id: (label.label, label.answer) for label in batch.labels if label.passage_id == passage.passage_id
    }
    assert set(labels) == {query.query_id for query in batch.queries}
    assert labels["lamp-kit:python"] == ("correct", ">=3.9, !=3.9.1")


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("Lamp officially supports Python 3.10+.", ("correct", "Python 3.10+")),
        ("Lamp requires Python 3.10 or later.", ("correct", "Python 3.10 or later")),
        ("Lamp runs on Python >= 3.10 and nothing else.", ("correct", "Python >=3.10")),
        ("Python 3.10 to 3.14 are supported by the lamp.", ("correct", "Python 3.10 to 3.14")),
        ("Tested with CPython 3.10, 3.11 and 3.12 every night.", ("correct", "Python 3.10, 3.11 and 3.12")),
        ("Lamp is compatible with Python 3.8 and newer.", ("misinfo", "Python 3.8 and newer")),
        ("Lamp works on Python 3.8, 3.9 and 3.10 alike.", ("misinfo", "Python 3.8, 3.9 and 3.10")),
        ("A small lamp library for Python 3.8+ programs.", ("misinfo", "Python 3.8+")),
    ],
)
def test_python_promises_are_held_against_requires_python(sentence: str, expected: tuple[str, str]) -> None:
    """A README with the right lower bound is correct; one that promises an excluded version is misinfo."""
    assert verdicts(markdown(sentence, Requires_Python=">=3.10"), "python") == {expected}


@pytest.mark.parametrize(
    "sentence",
    [
        "Support for Python 3.8 and 3.9 was dropped last year.",
        "Python 3.8+ is no longer supported by this lamp.",
        "If you need Python 3.8 or newer, take the old lamp.",
        "The 1.x branch supports Python 3.8 and newer lamps.",
        "Lamp 1.4 supports Python 3.8+ on most machines.",
        "Lamp requires more oil on Python < 3.8 machines.",
        "It is more robust than asyncio on Python 3.8.",
        "Lamp supports Python 3.12+ free threading as well.",
        "Tested with Python 3.8, 3.9 and 3.10 long ago.",
    ],
)
def test_history_and_conditions_are_no_promises(sentence: str) -> None:
    """Sentences about the past, another release or a condition get no label, and are no noise either."""
    batch = build([markdown(sentence, Requires_Python=">=3.10")])
    (passage,) = passages_of(batch, "readme")
    labelled = {label.passage_id for label in batch.labels if label.query_id == "lamp:python"}
    assert passage.passage_id not in labelled


def test_passage_that_says_both_gets_no_label() -> None:
    """A passage with a right and a wrong promise is neither correct nor misinfo."""
    both = markdown("Lamp supports Python 3.10+. Lamp supports Python 3.8+.", Requires_Python=">=3.10")
    assert verdicts(both, "python") == set()


def test_classifiers_can_dispute_the_fields() -> None:
    """Trove classifiers that list an excluded Python or another licence are misinfo; those that fit are correct."""
    python = "Programming Language :: Python :: "
    fields: dict[str, str] = {"Requires_Python": ">=3.10", "License": "ISC"}
    wrong = [python + "3", python + "3.9", python + "3.10", "License :: OSI Approved :: BSD License"]
    right = [python + "3.10", python + "3.11", "License :: OSI Approved :: ISC License (ISCL)"]
    stale = metadata(Classifier=wrong, **fields)
    assert verdicts(stale, "python", "classifiers") == {("misinfo", "Python 3.9 and 3.10")}
    assert verdicts(stale, "licence", "classifiers") == {("misinfo", "BSD")}
    fresh = metadata(Classifier=right, **fields)
    assert verdicts(fresh, "python", "classifiers") == {("correct", "Python 3.10 and 3.11")}
    assert verdicts(fresh, "licence", "classifiers") == {("correct", "ISC")}


@pytest.mark.parametrize(
    ("readme", "expected"),
    [
        ("Lamp is released under the MIT license.", {("correct", "MIT")}),
        ("# Lamp\n\n## License\n\nMIT", {("correct", "MIT")}),
        ("This project is licensed under the Apache License 2.0.", {("misinfo", "Apache")}),
        ("The bundled font is licensed under the Apache License.", set()),
        ("Unlike lamps under the GPL license, this one is bright.", set()),
        ("Lamp talks to Apache servers all day long.", set()),
    ],
)
def test_licence_families_are_compared(readme: str, expected: set[tuple[str, str]]) -> None:
    """A README that names the same licence family is correct, one that gives the package another is misinfo."""
    assert verdicts(markdown(readme, License_Expression="MIT"), "licence") == expected


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("pip install Lamp_kit", {("correct", "pip install lamp-kit")}),
        ("python -m pip install --upgrade 'lamp.kit[all]>=2'", {("correct", "python -m pip install lamp-kit")}),
        ("uv add --dev lamp-kit  # or pip", {("correct", "uv add lamp-kit")}),
        ("pip install lamp-kit-extras", set()),
        ("pip install -r lamp.txt", set()),
    ],
)
def test_install_commands_are_kept_and_checked(command: str, expected: set[tuple[str, str]]) -> None:
    """A command that installs this very name is correct, however the name is spelt; other commands get no label."""
    message = markdown(f"## Installation\n\n```sh\n{command}\n```\n", Name="lamp-kit")
    assert verdicts(message, "install") == expected


@pytest.mark.parametrize(
    ("requirements", "expected"),
    [
        ([], {("correct", "no dependencies")}),
        (["oil"], {("misinfo", "no dependencies")}),
        (['oil; extra == "fuel"'], {("correct", "no dependencies")}),
    ],
)
def test_claim_of_no_dependencies_is_checked(requirements: list[str], expected: set[tuple[str, str]]) -> None:
    """A README's "no dependencies" is correct where nothing is always required, and misinfo where something is."""
    assert (
        verdicts(markdown("Lamp has no dependencies at all.", Requires_Dist=requirements), "dependencies") == expected
    )


def test_requirements_under_conditions_leave_the_question_out() -> None:
    """Where every requirement hangs on a platform, no question about dependencies is asked."""
    batch = build([metadata(Requires_Dist='oil; sys_platform == "win32"')])
    assert "lamp:dependencies" not in {query.query_id for query in batch.queries}


@pytest.mark.parametrize(
    ("status", "sentence", "expected"),
    [
        ("3 - Alpha", "It is production-ready and very bright.", {("misinfo", "ready for production")}),
        ("5 - Production/Stable", "Lamp is production-ready and very bright.", {("correct", "ready for production")}),
        (
            "5 - Production/Stable",
            "This library is still experimental, so take care.",
            {("misinfo", "not ready for production")},
        ),
        ("5 - Production/Stable", "Dimming works well, although dimmers are still experimental.", set()),
    ],
)
def test_readiness_is_held_against_the_status(status: str, sentence: str, expected: set[tuple[str, str]]) -> None:
    """What a README says of the package's own readiness is compared with its development status."""
    assert verdicts(markdown(sentence, Classifier=f"Development Status :: {status}"), "status") == expected


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        (
            "Get the code: `git clone https://github.com/lamps/lamp.git` and look.",
            {("correct", "https://github.com/lamps/lamp")},
        ),
        ("The source code is at https://github.com/ann/lamp these days.", {("misinfo", "ann/lamp")}),
        ("The source code of the wick is at https://github.com/ann/wick too.", set()),
        ("Report problems at https://github.com/lamps/lamp/issues please.", set()),
    ],
)
def test_repository_addresses_are_compared(sentence: str, expected: set[tuple[str, str]]) -> None:
    """The repository's address is correct; the same project under another owner is misinfo."""
    assert verdicts(markdown(sentence, Project_URL="Source, https://github.com/lamps/lamp"), "repository") == expected


def test_people_are_matched_by_role() -> None:
    """A full name counts for the role that the sentence gives it, and for no other."""
    message = markdown("Lamp is maintained by Bo Li for all of us.", Author="Bo Li", Maintainer="Bo Li")
    assert verdicts(message, "maintainer") == {("correct", "Bo Li")}
    assert verdicts(message, "author") == set()


def test_markdown_loses_its_markup() -> None:
    """Badges, images, tags, link targets, tables and code go; words, headings and install commands stay."""
    message = markdown(
        "# Lamp\n\n"
        "[![build](https://ci.example.org/badge.svg)](https://ci.example.org) <!-- note -->\n\n"
        "<p align='center'>The **bright** [lamp](https://lamp.example.org) for `all` of you.</p>\n\n"
        "## 1. Usage ##\n\n* turn it on\n* leave it on,\n  for long\n\n"
        "| a | b |\n|---|---|\n| 1 | 2 |\n\n"
        "```python\nimport lamp\nlamp.on()\n```\n"
        "Then\n----\n\nInstall it now:\n\n    pip install lamp\n\n[lamp]: https://lamp.example.org\n"
    )
    assert readme_texts(message) == {
        "lamp: The bright lamp for all of you.",
        "lamp, Usage: turn it on. leave it on, for long.",
        "lamp, Then: Install it now: `pip install lamp`.",
    }


def test_restructured_text_loses_its_markup() -> None:
    """Directives, substitutions, targets, roles and literal blocks go; notes and install commands stay."""
    message = metadata(
        "====\nLamp\n====\n\n.. image:: lamp.png\n   :alt: a lamp\n\n|build| The *bright* "
        "`lamp <https://l.example>`_ for :ref:`all` of ``you``, see docs_.\n\n"
        "Usage\n-----\n\n.. note::\n\n   Mind the wick of the lamp.\n\nTurn it on::\n\n    import lamp\n\n"
        "Install\n-------\n\n.. code-block:: sh\n\n   $ pip install lamp\n\n"
        ">>> lamp.on()\n\n.. _docs: https://docs.example\n.. |build| image:: build.svg\n"
    )
    assert readme_texts(message) == {
        "lamp: The bright lamp for all of you, see docs.",
        "lamp, Usage: Mind the wick of the lamp. Turn it on:",
        "lamp, Install: `pip install lamp`.",
    }


def test_change_logs_and_credits_are_left_out() -> None:
    """Sections about changes, sponsors and contributors go with everything under them, and so do dated releases."""
    message = markdown(
        "# Lamp\n\nA lamp that you can read by.\n\n## Changelog\n\n### Notes\n\n"
        "Lamp supports Python 3.6 and newer now.\n\n## v2.0.0\n\nThe lamp got a new and longer wick.\n\n"
        "## Sponsors\n\nMany thanks to the oil company here.\n\n## Contributing\n\nSend us your wicks by the post.\n\n"
        "## Care\n\nKeep the lamp clean and dry always.\n\n"
        "1.9.0 (2020-01-01):\n\n- the lamp supports Python 3.5 and newer\n"
    )
    assert readme_texts(message) == {
        "lamp: A lamp that you can read by.",
        "lamp, Care: Keep the lamp clean and dry always.",
    }


def test_long_sections_are_cut_at_sentences() -> None:
    """A section longer than 120 words becomes several passages that end where sentences end and lose no word."""
    sentences = [f"Sentence number {number} says that the lamp is bright." for number in range(40)]
    bodies = {text.removeprefix("lamp: ") for text in readme_texts(markdown(" ".join(sentences)))}
    assert len(bodies) == 4
    assert all(len(body.split()) <= 120 and body.endswith(".") for body in bodies)
    assert Counter(" ".join(bodies).split()) == Counter(" ".join(sentences).split())


def test_a_sentence_longer_than_a_passage_is_cut_between_words() -> None:
    """Even one endless sentence yields passages of at most 120 words."""
    bodies = {text.removeprefix("lamp: ") for text in readme_texts(markdown("word " * 300))}
    assert max(len(body.split()) for body in bodies) == 120


def test_readme_passages_are_capped_and_fragments_dropped() -> None:
    """At most 40 passages a README, none under 5 words, save short sections that can answer a question."""
    many = "".join(f"## Part {number}\n\nThis part speaks of wick {number}.\n\n" for number in range(60))
    assert len(readme_texts(markdown(many))) == 40
    assert readme_texts(markdown("## Joy\n\nSo bright.\n\n## License\n\nMIT\n")) == {"lamp, License: MIT."}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("## 2.1.0 (2024-05-06)", "2024-05-06"),
        ("2.1.0 - 2024-05-06", "2024-05-06"),
        ("## 2.0.0 (2024-05-06)", None),
        ("## 12.1.0 (2024-05-06)", None),
        ("## 2.1.0 (2024-15-06)", None),
        ("Written on 2024-05-06.", None),
    ],
)
def test_date_comes_from_the_line_of_this_version(line: str, expected: str | None) -> None:
    """The date is that which the description gives the installed version, and missing where it gives none."""
    (passage,) = passages_of(build([markdown(f"A lamp.\n\n{line}\n\nMore light.")]), "metadata")
    assert passage.published_at == expected


def test_noise_does_not_touch_the_topic_and_is_capped() -> None:
    """At most ten passages a question are noise; none mentions the topic, and none belongs to another distribution."""
    many = "".join(f"## Part {number}\n\nThis part speaks of wick {number}.\n\n" for number in range(30))
    touching = "## Snakes\n\nLamp was tried with Python once.\n\n"
    other = metadata("Oil burns in every lamp there is.", Name="oil", Requires_Python=">=3.12")
    batch = build([markdown(many + touching, Requires_Python=">=3.10"), other])
    texts = {passage.passage_id: passage for passage in batch.passages}
    noise = [label for label in batch.labels if label.label == "noise" and label.query_id == "lamp:python"]
    assert len(noise) == 10
    assert {label.answer for label in noise} == {"unknown"}
    assert all("Python" not in texts[label.passage_id].text for label in noise)
    for label in batch.labels:
        assert label.query_id.startswith(f"{texts[label.passage_id].metadata['distribution']}:")


def test_first_of_namesakes_counts_and_nameless_and_own_are_skipped() -> None:
    """Of one normalised name the first counts; REDO and metadata without a name are left out."""
    batch = build([metadata(Name="La.mp"), metadata(Name="la_mp"), metadata(Name=[]), metadata(Name="redo")])
    assert {passage.source for passage in batch.passages} == {"La.mp 2.1.0 metadata"}
    assert {query.query_id.split(":")[0] for query in batch.queries} == {"la-mp"}


def test_identical_passages_are_one() -> None:
    """A text that stands twice in a README is one passage."""
    part = "## Light\n\nThe lamp gives a warm light.\n\n"
    batch = build([markdown("# Lamp\n\n" + part + part)])
    assert [passage.text for passage in passages_of(batch, "readme")] == ["lamp, Light: The lamp gives a warm light."]
    assert len({(label.query_id, label.passage_id) for label in batch.labels}) == len(batch.labels)


def test_order_of_the_input_changes_no_byte(tmp_path: Path) -> None:
    """The files are the same whatever order the distributions are found in, and sorted by id."""
    messages = [metadata(f"Lamp {number} is a lamp that shines.", Name=f"lamp{number}") for number in range(5)]
    write(build(messages), tmp_path / "a")
    write(build(reversed(messages)), tmp_path / "b")
    for name, key in (("queries", "query_id"), ("passages", "passage_id"), ("labels", "query_id")):
        content = (tmp_path / "a" / f"{name}.jsonl").read_bytes()
        assert content == (tmp_path / "b" / f"{name}.jsonl").read_bytes()
        ids = [json.loads(line)[key] for line in content.splitlines()]
        assert ids == sorted(ids)
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == [
        "labels.jsonl",
        "passages.jsonl",
        "queries.jsonl",
    ]


def test_passage_ids_follow_the_content() -> None:
    """The id of a passage changes with its text and with its source, and with nothing else."""
    first, same, other_text, other_source = (
        passages_of(build([message]), "readme")[0].passage_id
        for message in (
            markdown("The lamp gives a warm light."),
            markdown("The lamp gives a warm light.", Summary="Light"),
            markdown("The lamp gives a cold light."),
            metadata("The lamp gives a warm light.", Version="3"),
        )
    )
    assert first == same
    assert len({first, other_text, other_source}) == 3


@settings(deadline=None)
@given(st.text(alphabet=st.sampled_from("aB3.9 \n-=#*`[]()|<>:_\\+~^!&;\"'Python"), max_size=200), st.booleans())
def test_any_description_can_be_read(readme: str, is_markdown: bool) -> None:  # noqa: FBT001
    """Whatever a description holds, reading it ends, and no passage is empty or over-long."""
    content_type = "text/markdown" if is_markdown else "text/x-rst"
    message = metadata(readme, Description_Content_Type=content_type, Requires_Python=">=3.10")
    for passage in passages_of(build([message]), "readme"):
        assert passage.text.removeprefix("lamp").strip(" :,")


def test_describes_the_packages_of_this_environment(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On the real environment it asks 400 questions or more, labels known passages only, and prints what it wrote."""
    assert main([str(tmp_path / "made" / "here")]) == 0
    rows = {
        path.stem: [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        for path in (tmp_path / "made" / "here").iterdir()
    }
    assert len(rows["queries"]) >= 400
    assert {row["query_id"] for row in rows["labels"]} == {row["query_id"] for row in rows["queries"]}
    assert {row["passage_id"] for row in rows["labels"]} <= {row["passage_id"] for row in rows["passages"]}
    printed = capsys.readouterr().out
    assert f"{len(rows['queries'])} queries, {len(rows['passages'])} passages, {len(rows['labels'])} labels" in printed


def test_folder_that_cannot_be_made_is_one_line_and_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where OUTDIR is a file, one line says so and the exit code is 2."""
    taken = tmp_path / "taken"
    taken.write_text("")
    assert main([str(taken)]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.splitlines() == [f"installed_docs: {taken}: File exists"]

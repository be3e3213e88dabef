"""What a passage says about its package, held against the structured fields. The rules stand in installed_docs.py.

Each judge yields a verdict for every statement that it finds. Text about the past, about other releases or under a
condition is no statement.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from packaging.utils import canonicalize_name

from examples.package_facts import MINORS, Facts, families, projects
from examples.package_readme import FEWEST_WORDS, INSTALL_COMMAND, Piece

OF_ANOTHER_TIME = re.compile(
    r"""\b(?:drop\w*|remov\w*|no\ longer|end(?:s|ed)|end[-\ ]of[-\ ](?:life|support)|EOL|unsupported
    |not\ (?:\w+\ )?support\w*|deprecat\w*|last\ (?:\w+\ )?(?:version|release)\w*|previous\w*|before|prior|until
    |used\ to|was|were|had|branch\w*|if|unless|will|add(?:s|ed)?|plan\w*|originally|formerly)\b""",
    re.IGNORECASE | re.VERBOSE,
)
PYTHON_MINOR = r"(?:2\.[0-7]|3\.[0-3]?\d)(?!\d)"
PYTHON_VERSIONS = re.compile(
    rf"""\b(?P<word>C?Pythons?)\b(?:\ (?:versions?|interpreters?|releases?))?[\s(]*(?P<least>>=|\u2265)?[\s*]*
    (?P<versions>{PYTHON_MINOR}(?:\.\d+)?\+?
    (?:\s*(?:,?\s*(?:and|or|to|through|&)|,|-|\u2013)\s*(?:C?Python\ )?{PYTHON_MINOR}\+?)*)
    (?P<open>\**\ ?(?:\(?(?:and|or)\ (?:newer|above|later|higher|greater|up|upwards)|onwards?|upwards?)\b)?""",
    re.IGNORECASE | re.VERBOSE,
)
PROMISE_BEFORE = re.compile(
    r"""\b(?:supports?|supported|requires?|needs?|compatible\ with|works?\ (?:with|on|in|under)
    |runs?\ (?:on|under|with|in)|targets?|tested\ (?:on|with|against)|for)\b[^.;]{0,45}$""",
    re.IGNORECASE | re.VERBOSE,
)
PROMISE_AFTER = re.compile(r"^[^.;]{0,20}\b(?:is|are) (?:\w+ )?(?:supported|required)\b", re.IGNORECASE)
PYTHON_SECTION = re.compile(r"require|prerequisite|compatib|supported|python version", re.IGNORECASE)
OTHER_RELEASE = re.compile(r"(?<!python )\b\d+(?:\.\w+)+,? (?:supports|requires|needs|works|runs|is)\b", re.IGNORECASE)
LICENSED = re.compile(
    r"\b(?:licen[sc]ed|released|distributed|available)\b.{0,40}?\bunder\b|\blicen[sc]e[sd]?\b", re.IGNORECASE
)
LICENCE_OF_A_PART = re.compile(
    r"\b(?:bundl|vendor|depend|third|part(?:s|ly)?\b|portion|some\b|includes?\b|contains?\b|cop(?:y|ied)\b|taken"
    r"|files?\b.* under|function|contribut|other|upstream|follows|unless|except|separate)",
    re.IGNORECASE,
)
NO_REQUIREMENTS = re.compile(
    r"(?:\b(?:has|have|requires?|needs?|with)|^|\*\*|[:,.] )\s*(?:no|zero)"
    r"(?: (?:required|runtime|external|python|third-party))* dependenc(?:y|ies)\b(?! on\b)",
    re.IGNORECASE,
)
READY = re.compile(
    r"\bis (?:\w+ )?(?:production[- ](?:ready|stable)|ready for production)|\bproduction[- ]ready plugin", re.IGNORECASE
)
UNREADY = re.compile(
    r"^(?:this )?[\w.-]+ (?:is|remains) (?:still |currently )?(?:in |an? )?(?:early )?(?:pre-)?"
    r"(?:alpha|beta|experimental)\b"
    r"|\bnot (?:yet )?ready for production",
    re.IGNORECASE,
)
LOCATED = re.compile(r"git clone|source code|repository|git\+|of this (?:library|package|project)\b", re.IGNORECASE)
SUBJECT_FIRST = re.compile(r"^(?:it|this (?:project|package|library|software|module|repository))\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a passage says to a question: `correct` or `misinfo`, and its answer."""

    label: str
    answer: str


def _correct(answer: str) -> Verdict:
    """The passage says what the fields say."""
    return Verdict("correct", answer)


def _misinfo(answer: str) -> Verdict:
    """The passage says what the fields rule out."""
    return Verdict("misinfo", answer)


def _about_package(facts: Facts, sentence: str) -> bool:
    """Whether the package itself is what a sentence speaks of first."""
    named = re.match(rf"{re.escape(facts.key)}(?![\w-])", canonicalize_name(sentence))
    return bool(named or SUBJECT_FIRST.match(sentence))


def judge_python(facts: Facts, piece: Piece) -> Iterator[Verdict]:
    """Compare the Python versions that are promised with Requires-Python."""
    for sentence in piece.sentences:
        if OF_ANOTHER_TIME.search(sentence) or OTHER_RELEASE.search(sentence):
            continue
        for match in PYTHON_VERSIONS.finditer(sentence):
            minors = re.findall(PYTHON_MINOR, match["versions"])
            stated = min(minors, key=MINORS.index)
            bounded = bool(match["least"] or match["open"]) or "+" in match["versions"] or len(minors) > 1
            before, after = sentence[: match.start()], sentence[match.end() :]
            promise = PROMISE_BEFORE.search(before) or PROMISE_AFTER.search(after) or PYTHON_SECTION.search(piece.title)
            if not promise or not bounded:
                continue
            answer = " ".join(
                f"Python {match['least'] or ''}{match['versions']} {(match['open'] or '').strip(' (*')}".split()
            )
            if not set(minors) <= set(facts.allowed_pythons):
                if not re.search(r"tested \w+\b[^.;]{0,45}$", before, re.IGNORECASE):
                    yield _misinfo(answer)
            elif stated == facts.allowed_pythons[0]:
                yield _correct(answer)


def judge_licence(facts: Facts, piece: Piece) -> Iterator[Verdict]:
    """Compare the licence families that are named with those of the metadata."""
    titled = re.search(r"\blicen[sc]|copyright", piece.title, re.IGNORECASE)
    for sentence in piece.sentences:
        if not (titled or LICENSED.search(sentence)) or LICENCE_OF_A_PART.search(sentence):
            continue
        named = families(sentence)
        if not named:
            continue
        if named <= facts.licence_families:
            yield _correct(" and ".join(sorted(named)))
        elif not named & facts.licence_families and (_about_package(facts, sentence) or titled):
            yield _misinfo(" and ".join(sorted(named)))


def judge_install(facts: Facts, piece: Piece) -> Iterator[Verdict]:
    """Find a command that installs the package by its name."""
    for match in INSTALL_COMMAND.finditer(piece.body):
        words = re.findall(r"^[\w.-]*\w", "\n".join(re.split(r"[\s\"']+", match["rest"])), re.MULTILINE)
        if facts.key in {canonicalize_name(word) for word in words if not word.startswith("-")}:
            yield _correct(f"{match['command']} {facts.name}")


def _address(url: str) -> str:
    """An address without what may differ and still be the same."""
    return re.sub(r"^https?://(?:www\.)?|/+$|\.git$", "", url.strip().lower())


def judge_homepage(facts: Facts, piece: Piece) -> Iterator[Verdict]:
    """Find the address of the home page."""
    shown = {_address(url.rstrip(".,;:)")) for url in re.findall(r"https?://[^\s<>\"']+", piece.body)}
    if _address(facts.homepage) in shown:
        yield _correct(facts.homepage)


def judge_repository(facts: Facts, piece: Piece) -> Iterator[Verdict]:
    """Compare code host addresses with the repository of the metadata."""
    own = projects(facts.repository)
    names = {name for _, name in own}
    for sentence in piece.sentences:
        located = LOCATED.search(sentence)
        shown = projects(sentence, whole=not located)
        if shown & own:
            yield _correct(facts.repository)
        elif located:
            yield from (_misinfo(f"{owner}/{name}") for owner, name in sorted(shown) if name in names)


def judge_summary(facts: Facts, piece: Piece) -> Iterator[Verdict]:
    """Find the summary, whatever its punctuation."""
    plain = (" ".join(re.findall(r"\w+", text.lower())) for text in (facts.summary, piece.body))
    summary, body = plain
    if len(summary.split()) >= FEWEST_WORDS - 2 and f" {summary} " in f" {body} ":
        yield _correct(facts.summary)


def judge_version(facts: Facts, piece: Piece) -> Iterator[Verdict]:
    """Find the installed version, called the current one."""
    version = re.escape(facts.version)
    if re.search(
        rf"\b(?:current|latest) (?:\w+ )?(?:version|release)(?: is|:)? v?{version}(?![\d.]*\d)",
        piece.body,
        re.IGNORECASE,
    ):
        yield _correct(facts.version)


def judge_people(people: Sequence[str], role: str, piece: Piece) -> Iterator[Verdict]:
    """Find a full name beside a word for that role."""
    for sentence in piece.sentences:
        if re.search(rf"\b(?:{role})\b", sentence, re.IGNORECASE):
            for person in people:
                if " " in person and person.lower() in sentence.lower():
                    yield _correct(person)


def judge_status(facts: Facts, piece: Piece) -> Iterator[Verdict]:
    """Compare what is said about readiness with the development status."""
    ready = facts.status in ("Production/Stable", "Mature")
    for sentence in piece.sentences:
        if OF_ANOTHER_TIME.search(sentence) or not _about_package(facts, re.sub(r"^\w+: ", "", sentence)):
            continue
        if READY.search(sentence):
            yield (_correct if ready else _misinfo)("ready for production")
        elif UNREADY.search(sentence):
            yield (_misinfo if ready else _correct)("not ready for production")


def judge_dependencies(facts: Facts, piece: Piece) -> Iterator[Verdict]:
    """Compare "no dependencies" with Requires-Dist."""
    for sentence in piece.sentences:
        if NO_REQUIREMENTS.search(sentence) and not OF_ANOTHER_TIME.search(sentence):
            yield (_misinfo if facts.requirements else _correct)("no dependencies")

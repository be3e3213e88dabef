"""The questions that are asked about a package, and where their answers come from."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from examples import package_verdicts as verdicts
from examples.package_facts import Facts
from examples.package_readme import Piece


def listed(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join((", ".join(names[:-1]), names[-1])) if len(names) > 1 else "".join(names)


@dataclass(frozen=True, slots=True)
class Topic:
    """One kind of question.

    Attributes:
        name: the end of the query ids.
        wordings: the question; `{name}` is the distribution. One is taken, by hash.
        answer: what the structured fields answer; `""` where they do not, and then nothing is asked.
        statement: the answer as a sentence about `{name}`.
        judge: verdicts on a passage of the description.
        touched: matches text that touches the topic, so that it is no noise.
        by_title: whether `touched` looks at the title of the section only.
    """

    name: str
    wordings: tuple[str, ...]
    answer: Callable[[Facts], str]
    statement: str
    judge: Callable[[Facts, Piece], Iterator[verdicts.Verdict]]
    touched: re.Pattern[str]
    by_title: bool = False

    def touches(self, piece: Piece) -> bool:
        """Whether a piece has to do with the topic."""
        looked_at = piece.title if self.by_title else f"{piece.title} {piece.body}"
        return bool(self.touched.search(looked_at))


def _dependency_answer(facts: Facts) -> str:
    """Names of the requirements; nothing where all depend on conditions."""
    if facts.requirements:
        return listed(facts.requirements)
    return "" if facts.conditional_requirements else "no other package"


TOPICS = (
    Topic(
        "python",
        (
            "Which Python versions does {name} support?",
            "Which version of Python does {name} require?",
            "What is the lowest Python version that {name} runs on?",
        ),
        lambda facts: facts.requires_python,
        "{name} requires Python {answer}.",
        verdicts.judge_python,
        re.compile(r"\bC?Pythons?\b|\bPyPy|\b[23]\.\d", re.IGNORECASE),
    ),
    Topic(
        "licence",
        (
            "Under which licence is {name} released?",
            "What is the license of {name}?",
            "How is {name} licensed?",
        ),
        lambda facts: facts.licence if facts.licence_families else "",
        "The license of {name} is {answer}.",
        verdicts.judge_licence,
        re.compile(r"licen[sc]|copyright|free software|open[- ]source|\bMIT\b|\bBSD\b|\bGPL|Apache", re.IGNORECASE),
    ),
    Topic(
        "install",
        (
            "How do I install {name}?",
            "Which command installs {name}?",
            "How can {name} be installed with pip?",
        ),
        lambda facts: f"pip install {facts.name}",
        "{name} is installed with `{answer}`.",
        verdicts.judge_install,
        re.compile(r"install|\bpip\b|\bconda\b|\buv\b|download|wheel|git clone|\bPyPI\b", re.IGNORECASE),
    ),
    Topic(
        "homepage",
        (
            "What is the home page of {name}?",
            "Where is the website of {name}?",
            "What is the address of the {name} homepage?",
        ),
        lambda facts: facts.homepage,
        "The home page of {name} is {answer}.",
        verdicts.judge_homepage,
        re.compile(r"https?:|www\.|home ?page|web ?site|documentation|\bdocs\b", re.IGNORECASE),
    ),
    Topic(
        "repository",
        (
            "Where is the source code of {name}?",
            "In which repository is {name} developed?",
            "Where can I find the source repository of {name}?",
        ),
        lambda facts: facts.repository,
        "The source code of {name} is at {answer}.",
        verdicts.judge_repository,
        re.compile(r"https?:|repositor|source code|git ?hub|git ?lab|\bgit\b", re.IGNORECASE),
    ),
    Topic(
        "summary",
        (
            "What is {name} for?",
            "What does the package {name} do?",
            "What is {name}?",
        ),
        lambda facts: facts.summary,
        "{name} is described as: {answer}.",
        verdicts.judge_summary,
        re.compile(
            r"^$|feature|overview|introduc|about|why|what|descri|purpose|usage|example|getting started", re.IGNORECASE
        ),
        by_title=True,
    ),
    Topic(
        "version",
        (
            "Which version of {name} is installed?",
            "What is the installed version of {name}?",
            "Which release of {name} is in this environment?",
        ),
        lambda facts: facts.version,
        "The installed version of {name} is {answer}.",
        verdicts.judge_version,
        re.compile(r"\bversion|\brelease|\d\.\d", re.IGNORECASE),
    ),
    Topic(
        "author",
        (
            "Who is the author of {name}?",
            "Who wrote {name}?",
            "Who created {name}?",
        ),
        lambda facts: listed(facts.authors),
        "{name} was written by {answer}.",
        lambda facts, piece: verdicts.judge_people(
            facts.authors, r"written by|created by|developed by|author(?:s|ed)?", piece
        ),
        re.compile(r"author|maintain|written|created|copyright|developed|contact|\bteam\b", re.IGNORECASE),
    ),
    Topic(
        "maintainer",
        (
            "Who maintains {name}?",
            "Who is the maintainer of {name}?",
            "Who looks after {name}?",
        ),
        lambda facts: listed(facts.maintainers),
        "{name} is maintained by {answer}.",
        lambda facts, piece: verdicts.judge_people(facts.maintainers, r"maintain(?:ed|ers?|s)", piece),
        re.compile(r"author|maintain|written|created|copyright|developed|contact|\bteam\b", re.IGNORECASE),
    ),
    Topic(
        "status",
        (
            "What is the development status of {name}?",
            "Is {name} ready for production?",
            "How mature is {name}?",
        ),
        lambda facts: facts.status,
        "The development status of {name} is {answer}.",
        verdicts.judge_status,
        re.compile(r"alpha|beta|stable|production|mature|experimental|status|active|maintenance|young", re.IGNORECASE),
    ),
    Topic(
        "dependencies",
        (
            "Which packages does {name} depend on?",
            "What are the dependencies of {name}?",
            "Which other packages does {name} need?",
        ),
        _dependency_answer,
        "{name} depends on {answer}.",
        verdicts.judge_dependencies,
        re.compile(r"depend|requir|\bneeds?\b|relies|built on|based on|install", re.IGNORECASE),
    ),
)

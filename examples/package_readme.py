"""The long descriptions of packages as short texts: sections of README files, without their markup.

Markdown and reStructuredText are read line by line, as far as README files use them; it is no full parser of either.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from email.message import Message

from packaging.utils import canonicalize_name

from examples.package_facts import Facts, description_of, one_line

LONGEST_WORDS = 120
FEWEST_WORDS = 5
MOST_PIECES = 40
INSTALL_COMMAND = re.compile(
    r"(?P<command>(?:\bpython3? -m )?\b(?:pip3?|pipx|uv pip|uv tool|uv|poetry|conda|mamba) (?:install|add)) +"
    r"(?P<rest>[^\n;&#`]+)"
)
KEPT_DIRECTIVES = ("note", "warning", "tip", "important", "hint", "attention", "admonition", "caution", "danger")
CODE_DIRECTIVES = ("code", "code-block", "sourcecode", "highlight", "doctest", "testcode", "console")
DATED_RELEASE = re.compile(r"v?\d+(?:\.\w+)+,? *\(?\d{4}-\d\d-\d\d")
LEFT_OUT = re.compile(
    r"""^v?\d+\.\d|^(?:version|release)\ v?\d|^\d{4}-\d\d-\d\d|^unreleased$|\bchange\ ?logs?\b|^changes?\b|\bhistory\b
    |release\ notes|\bwhat.?s\ (?:new|changed)|^news\b|recent\ (?:change|release)|contribut|\bsponsor|\bbackers?\b
    |\bfunding|\bdonat|^credits|^thanks|acknowledge?ment|support(?:ing|ers?)\ (?:us|the\ project|this)|^supporters
    |^changed\ in\b|^(?:added|changed|fixed|removed|deprecated|improve(?:d|ments)|bug\ ?fix(?:es)?)$
    |^release\ information$|\bchanges$|table\ of\ contents|^contents$|code\ of\ conduct|^cit(?:ing|ation|e)\b|^badges$
    |^to.?do\b|^roadmap\b""",
    re.IGNORECASE | re.VERBOSE,
)
SHORT_ANSWER = re.compile(r"^licen[sc](?:e|ing)$|^requirements?$|^prerequisites?$|^install", re.IGNORECASE)
SENTENCE_END = re.compile(
    r"(?<!\be\.g\.)(?<!\bi\.e\.)(?<!\bvs\.)(?<!\betc\.)(?<=[.!?])[\"')\]]*\s+(?=[\"'(`\[]*[A-Z0-9])"
)


@dataclass(frozen=True, slots=True)
class Piece:
    """A run of sentences that becomes a passage.

    Attributes:
        kind: `metadata`, `classifiers` or `readme`.
        title: of the section; `""` for the opening, and where there are no sections.
        sentences: what it says.
    """

    kind: str
    title: str
    sentences: tuple[str, ...]

    @property
    def body(self) -> str:
        """The sentences as one text."""
        return " ".join(self.sentences)


@dataclass(slots=True)
class _Section:
    """A heading and the paragraphs under it. `level` counts from 1; 0 is the text before the first heading."""

    level: int
    title: str
    paragraphs: list[str] = field(default_factory=list)


def _code(lines: Sequence[str]) -> str:
    """The install commands of a block of code that is short; other code says nothing in words."""
    commands = [line.strip().lstrip("$%> ") for line in lines if line.strip()]
    kept = [line.split(" #")[0].strip() for line in commands if INSTALL_COMMAND.search(line) or "git clone " in line]
    return " ".join(f"`{line}`." for line in kept) if len(commands) <= 8 else ""  # noqa: PLR2004


def _markdown_words(text: str) -> str:
    """Markdown without its marks: no images, link targets, emphasis or code ticks."""
    text = re.sub(r"!\[[^\]]*\](?:\([^)]*\)|\[[^\]]*\])", "", text)
    text = re.sub(r"\[([^\[\]]*)\]\([^()]*(?:\([^()]*\)[^()]*)*\)", r"\1", text)
    text = re.sub(r"\[([^\[\]]+)\]\[[^\]]*\]", r"\1", text)
    text = re.sub(r"\[\^\w+\]|<(https?://[^>]*)>", r"\1", text)
    text = re.sub(r"(?<![\w\"'`])\[([^\[\]]+)\]", r"\1", text)
    text = re.sub(r"\\([\\`*_{}\[\]()#+.!|-])", r"\1", text)
    text = re.sub(r"(\*\*|__)(?=\S)(.+?)(?<=\S)\1", r"\2", text)
    text = re.sub(r"(?<![\w*])([*_])(?=\S)([^*_]+?)(?<=\S)\1(?![\w*])", r"\2", text)
    return re.sub(r"``?([^`]+)``?", r"\1", text)


def _rst_words(text: str) -> str:
    """ReStructuredText without its marks: no substitutions, link targets, roles or emphasis."""
    text = re.sub(r"(?<!\w)\|(?=\S)[^|\n]+(?<=\S)\|_{0,2}", "", text)
    text = re.sub(r"(?<=\w``)\\\s?|\\\s", "", text)
    text = re.sub(r"`([^`<]+?)\s*<[^>`]*>`_{1,2}", r"\1", text)
    text = re.sub(r"(?::[\w:.+-]+:)?``?([^`]+)``?_{0,2}", r"\1", text)
    text = re.sub(r"(\*\*?)(?=\S)(.+?)(?<=\S)\1", r"\2", text)
    return re.sub(r"\b([A-Za-z][\w-]*[A-Za-z0-9])_{1,2}(?=[\s.,;:)]|$)", r"\1", text)


def _words(text: str, *, markdown: bool) -> str:
    """A text on one line, without marks."""
    text = html.unescape(_markdown_words(text) if markdown else _rst_words(text))
    return " ".join(text.encode("utf-8", "ignore").decode().split()).strip(" |\\")


def _paragraph(lines: Iterable[str], *, markdown: bool) -> str:
    """A paragraph on one line that ends as a sentence does. `""` where no words are left."""
    text = " ".join(line.strip() for line in lines)
    text = _words(re.sub(r"^(?:[-*+\u2022]|\d+[.)]|>+)\s+(?:\[[ xX]\]\s+)?", "", text), markdown=markdown)
    if not re.search(r"[A-Za-z]{2}", text):
        return ""
    return text if text[-1] in ".!?:;," else f"{text}."


def _without_html(text: str) -> str:
    """No comments and no tags; addresses in angle brackets stay."""
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r"<(?:br|/p|/div|/h\d|/li|/tr)\b[^<>]*>", "\n", text)
    return re.sub(r"</?(?!https?:)[A-Za-z][\w-]*(?:\s[^<>]*)?/?>", "", text)


def _indent(line: str) -> int:
    """Leading spaces."""
    return len(line) - len(line.lstrip())


def _block(lines: Sequence[str], start: int, indent: int) -> int:
    """Where the lines from `start` on stop being blank or indented deeper than `indent`."""
    end = start
    while end < len(lines) and (not lines[end].strip() or _indent(lines[end]) > indent):
        end += 1
    return end


def _underline(line: str, title: str) -> str:
    """The character that underlines a title, or `""`."""
    line = line.rstrip()
    fits = len(line) >= max(3, len(title.strip()) - 2) and bool(title.strip())
    return (
        line[0]
        if fits and re.fullmatch(r"([=~^\"'`#*+:.<>_-])\1+", line) and not re.fullmatch(r"(\W)\1*", title)
        else ""
    )


class _Reader:
    """Reads one description line by line into sections."""

    def __init__(self, *, markdown: bool) -> None:
        self._markdown = markdown
        self._styles: list[str] = []
        self._open: list[str] = []
        self.sections = [_Section(0, "")]

    def read(self, text: str) -> list[_Section]:
        """Read the whole text and return its sections in order."""
        lines = _without_html(text).split("\n")
        at = 0
        while at < len(lines):
            at = self._markdown_step(lines, at) if self._markdown else self._rst_step(lines, at)
        self._close()
        return self.sections

    def _close(self) -> None:
        """End the open paragraph."""
        lines, self._open = self._open, []
        if lines and DATED_RELEASE.match(lines[0]):
            self._head(self.sections[-1].level + 1, lines[0])
        elif paragraph := _paragraph(lines, markdown=self._markdown):
            self.sections[-1].paragraphs.append(paragraph)

    def _head(self, level: int, title: str) -> None:
        """Begin a section."""
        self._close()
        self.sections.append(
            _Section(level, _words(re.sub(r"^\d+\.\s+", "", title), markdown=self._markdown).rstrip(".:"))
        )

    def _styled(self, style: str) -> int:
        """The level of a heading: styles count in the order in which they first appear."""
        if style not in self._styles:
            self._styles.append(style)
        return self._styles.index(style) + 1

    def _command(self, lines: Sequence[str]) -> None:
        """Keep what a block of code says about installing."""
        self._close()
        if kept := _code(lines):
            self.sections[-1].paragraphs.append(kept)

    def _text(self, line: str) -> None:
        """Add a line of running text."""
        if re.match(r"\s*(?:[-*+\u2022]|\d+[.)])\s", line):
            self._close()
        self._open.append(line)

    def _markdown_step(self, lines: Sequence[str], at: int) -> int:
        """Take what stands at line `at`; return where the next thing stands."""
        line = lines[at]
        if fence := re.match(r"\s*(?:> ?)?(`{3,}|~{3,})", line):
            end = next((n for n in range(at + 1, len(lines)) if lines[n].lstrip("> ").startswith(fence[1])), len(lines))
            self._command(lines[at + 1 : end])
            return end + 1
        if heading := re.match(r" {0,3}(#{1,6})\s+(.*?)\s*#*\s*$", line):
            self._head(len(heading[1]), heading[2])
        elif len(self._open) == 1 and re.fullmatch(r" {0,3}(=+|-{2,})\s*", line):
            title = self._open.pop()
            self._head(1 if line.strip()[0] == "=" else 2, title)
        elif not line.strip() or re.fullmatch(r"\s*([-*_=])(\s*\1){2,}\s*", line):
            self._close()
        elif _indent(line) >= 4 and not self._open and not re.match(r"\s*(?:[-*+]|\d+[.)])\s", line):  # noqa: PLR2004
            end = _block(lines, at, 3)
            self._command(lines[at:end])
            return end
        elif not re.match(r"\s*\||\s{0,3}\[[^\]]+\]:\s|\s*>>>|\s*:?-{3,}:?\s*\|", line):
            self._text(re.sub(r"^\s*>\s?(?:\[!\w+\])?", "", line))
        return at + 1

    def _rst_step(self, lines: list[str], at: int) -> int:
        """Take what stands at line `at`; return where the next thing stands."""
        line = lines[at]
        following = lines[at + 1] if at + 1 < len(lines) else ""
        if re.match(r"\s*\.\.(?:\s|$)|__\s", line):
            return self._rst_markup(lines, at)
        if at + 2 < len(lines) and _underline(line, following) and line.rstrip() == lines[at + 2].rstrip():
            self._head(self._styled(line[0] * 2), following.strip())
            return at + 3
        if not self._open and _indent(line) == 0 and (style := _underline(following, line)):
            self._head(self._styled(style), line.strip())
            return at + 2
        if re.match(r"=+(?: +=+)+\s*$", line):
            rulers = [n for n in range(at + 1, len(lines)) if re.match(r"=+(?: +=+)*\s*$", lines[n])]
            return next((n + 1 for n in rulers if n + 1 >= len(lines) or not lines[n + 1].strip()), len(lines))
        if line.lstrip().startswith(">>>"):
            return next((n for n in range(at, len(lines)) if not lines[n].strip()), len(lines))
        if not line.strip() or re.match(r"\s*(?:\+[-=+]+|\|.*\|)\s*$|([-=~*_^])\1{3,}\s*$", line):
            self._close()
        elif line.rstrip().endswith("::"):
            self._text(re.sub(r"::\s*$", ":" if line.strip() != "::" else "", line))
            end = _block(lines, at + 1, _indent(line))
            self._command(lines[at + 1 : end])
            return end
        else:
            self._text(re.sub(r"^\s*\| ", "", line))
        return at + 1

    def _rst_markup(self, lines: list[str], at: int) -> int:
        """Read a directive, comment or target. The text of notes stays, in place of the directive."""
        self._close()
        end = _block(lines, at + 1, _indent(lines[at]))
        directive = re.match(r"\s*\.\. ([\w-]+)::\s*(.*)", lines[at])
        if directive and directive[1].lower() in CODE_DIRECTIVES:
            self._command([line for line in lines[at + 1 : end] if not re.match(r"\s*:[\w-]+:", line)])
        elif directive and directive[1].lower() in KEPT_DIRECTIVES:
            kept = [directive[2], *(line.strip() for line in lines[at + 1 : end])]
            lines[at:end] = [line for line in kept if not re.match(r":[\w-]+:", line)] + [""]
            return at
        return end


def _sections(facts: Facts, message: Message) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Title and paragraphs of each section that documents the package.

    The title is `""` before the first heading, and under a heading that is the title of the whole description: one
    that is the package's name, or that comes first of all and does not announce a short answer.
    """
    markdown = "markdown" in one_line(message, "Description-Content-Type").lower()
    sections = _Reader(markdown=markdown).read(description_of(message))
    first = 0 if sections[0].paragraphs else 1
    dropped_at: int | None = None
    for number, section in enumerate(sections):
        if dropped_at is not None and section.level > dropped_at:
            continue
        dropped_at = section.level if LEFT_OUT.search(section.title) else None
        if dropped_at is None:
            heads_all = number == first and not SHORT_ANSWER.search(section.title)
            opening = heads_all or canonicalize_name(section.title) == facts.key
            yield ("" if opening else section.title), tuple(section.paragraphs)


def _packed(paragraphs: Iterable[str]) -> Iterator[tuple[str, ...]]:
    """Pack sentences into runs of at most `LONGEST_WORDS` words. A longer sentence is cut between words."""
    run: list[str] = []
    room = LONGEST_WORDS
    for sentence in (sentence for paragraph in paragraphs for sentence in SENTENCE_END.split(paragraph)):
        words = sentence.split()
        if len(words) > room and run:
            yield tuple(run)
            run, room = [], LONGEST_WORDS
        while len(words) > LONGEST_WORDS:
            yield (" ".join(words[:LONGEST_WORDS]),)
            words = words[LONGEST_WORDS:]
        if words:
            run.append(" ".join(words))
            room -= len(words)
    if run:
        yield tuple(run)


def read_pieces(facts: Facts, message: Message) -> Iterator[Piece]:
    """The first `MOST_PIECES` pieces of the description.

    A piece of fewer than `FEWEST_WORDS` words is left out, except where the title asks what so few words can answer.
    """
    made = 0
    for title, paragraphs in _sections(facts, message):
        for sentences in _packed(paragraphs):
            long_enough = sum(len(sentence.split()) for sentence in sentences) >= FEWEST_WORDS
            if made < MOST_PIECES and (long_enough or SHORT_ANSWER.search(title)):
                made += 1
                yield Piece("readme", title, sentences)

"""Secrets in texts, masked before anything is written.

A mask takes the place of a secret character for character, so that every span still points at what it pointed at.
What is found by any pattern is masked, again and again until nothing is found in what is left: masking a masked text
changes nothing.

Built in are

email   an address, `name@host.domain`.
card    13 to 19 digits, in groups of at least three by single spaces or hyphens, that begin with 2 to 6, as the numbers
        of payment cards do (ISO/IEC 7812-1), and end in the check digit of Luhn's formula (annex B there).
key     keys of AWS, GitHub, GitLab, Slack, Google, Stripe and OpenAI by their fixed beginnings, JSON web tokens, what
        follows `Bearer`, private key blocks, and what is assigned to a password, secret, token or API key.

They take time in proportion to the length of the text: what repeats in them never gives back what it took, or is
bounded. More patterns come from a TOML file, as `name = 'regular expression'`; where one has a group called `secret`,
only that is masked. How long those take is their author's care.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Final

from core.errors import ConfigError

DEFAULT_PATTERNS: Final = "email,card,key"
NO_PATTERNS: Final = "none"
MASK: Final = "*"

_Find = Callable[[str], Iterator[tuple[int, int]]]
_NOTHING: Final[Mapping[str, int]] = MappingProxyType({})
_PASSES = 20  # two are the rule: one that masks, one that finds nothing
_NAME = re.compile(r"[a-z][a-z0-9_]{0,30}")


@dataclass(frozen=True, slots=True)
class Pattern:
    """A kind of secret.

    Attributes:
        name: what its finds are counted by.
        find: yields where they are, as start and end.
    """

    name: str
    find: _Find


@dataclass(frozen=True, slots=True)
class Redaction:
    """Masks what its patterns find. Without patterns it changes nothing."""

    patterns: tuple[Pattern, ...] = ()

    @classmethod
    def of(cls, names: str, file: Path | None = None) -> Redaction:
        """Make it from the settings `LEDGER_REDACT` and `LEDGER_REDACT_FILE`.

        Args:
            names: names of built-in patterns, separated by commas, or `none`.
            file: a TOML file of more patterns, which count whatever `names` says.

        Raises:
            ConfigError: a name that is not built in, or a file that cannot be read, is no TOML, or holds something that
                is no regular expression; the message names the setting, or the file and the key.
        """
        wanted = [name for part in names.split(",") if (name := part.strip())]
        built_in = _built_in()
        if wanted == [NO_PATTERNS]:
            wanted = []
        for name in wanted:
            if name not in built_in:
                known = ", ".join(built_in)
                raise ConfigError(
                    f"LEDGER_REDACT: unknown pattern {name!r}, expected some of {known}, or {NO_PATTERNS}"
                )
        patterns = [built_in[name] for name in dict.fromkeys(wanted)]
        return cls((*patterns, *(() if file is None else _read_patterns(file, taken=built_in))))

    def masked(self, text: str) -> tuple[str, Mapping[str, int]]:
        """Mask a text.

        Returns:
            The text, as long as it was, and how often each pattern masked something.
        """
        masked, counts = self._mask_once(text)
        if not counts:
            return text, _NOTHING
        total = dict(counts)
        for _ in range(_PASSES):
            masked, counts = self._mask_once(masked)
            if not counts:
                return masked, total
            for name, count in counts.items():
                total[name] = total.get(name, 0) + count
        # A pattern that finds a little more each time: nothing is left for it.
        return MASK * len(text), total

    def _mask_once(self, text: str) -> tuple[str, dict[str, int]]:
        counts: dict[str, int] = {}
        found: list[tuple[int, int]] = []
        for pattern in self.patterns:
            for start, end in pattern.find(text):
                if text.count(MASK, start, end) < end - start:
                    found.append((start, end))
                    counts[pattern.name] = counts.get(pattern.name, 0) + 1
        return _with_masks(text, sorted(found)) if found else text, counts


def _with_masks(text: str, spans: Sequence[tuple[int, int]]) -> str:
    parts: list[str] = []
    at = 0
    for start, end in spans:  # they may overlap
        if end > at:
            parts.append(text[at : max(at, start)] + MASK * (end - max(at, start)))
            at = end
    return "".join((*parts, text[at:]))


def _read_patterns(file: Path, *, taken: Mapping[str, Pattern]) -> Iterator[Pattern]:
    where = f"LEDGER_REDACT_FILE: {file}"
    try:
        known = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:  # ValueError: no UTF-8, or no TOML
        raise ConfigError(f"{where}: {error}") from None
    for name, text in known.items():
        if not _NAME.fullmatch(name) or name in taken:
            raise ConfigError(
                f"{where}: {name!r}: expected a name of its own, of small letters, digits and underscores, up to 31"
            )
        if not isinstance(text, str):
            raise ConfigError(f"{where}: {name}: expected a regular expression as text, not {text!r}")
        try:
            expression = re.compile(text)
        except re.error as error:
            raise ConfigError(f"{where}: {name}: {text!r} is no regular expression: {error}") from None
        yield Pattern(name, _finder((expression,)))


def _finder(expressions: Sequence[re.Pattern[str]]) -> _Find:
    """What the expressions find: their group `secret` where they have one, else all."""
    groups = tuple((expression, "secret" if "secret" in expression.groupindex else 0) for expression in expressions)

    def find(text: str) -> Iterator[tuple[int, int]]:
        for expression, group in groups:
            for match in expression.finditer(text):
                start, end = match.span(group)
                if start < end:  # neither nothing, nor a group that took no part
                    yield start, end

    return find


# --- the built-in patterns ----------------------------------------------------------------------------------------

_LETTER = "0-9A-Za-z\u00c0-\u024f"  # and the Latin letters with accents; words of other scripts need no spaces
_EMAIL = rf"(?<![{_LETTER}._%+-])[{_LETTER}._%+-]++@[{_LETTER}-]++(?:\.[{_LETTER}-]++)++"
_CARD = r"(?<![0-9A-Za-z_])(?<![0-9]\.)[0-9]++(?:[ -][0-9]++)*+(?![A-Za-z_])"
_CARD_DIGITS = range(13, 20)
_CARD_GROUP = 3
_FIRST_DIGITS = "23456"
_DOUBLED = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)  # twice the digit, and the digits of that added up

_AHEAD, _BEHIND = r"(?<![0-9A-Za-z_-])", r"(?![0-9A-Za-z_])"
_BEGIN, _END = r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----", r"-----END [^-]*+-----"
_ASSIGNED = ("passw", "passphrase", "pwd", "secret", "token", "apikey", "api_", "api-", "access", "private", "account")
_ASSIGNMENT = (
    r"(?i:passw(?:or)?d|passphrase|pwd|secret|token|api[_-]?key|(?:access|private|account|secret)[_-]?key)"
    r"(?:[ \t]?=[ \t]?[\"']?|[\"'][ \t]?[:=][ \t]?[\"'])(?P<secret>[^\s\"'&,;<>(){}\[\]]{4,}+)"
)
_KEYS: Final[tuple[tuple[tuple[str, ...], str], ...]] = (  # words, one of which is in every find, and the expression
    (("akia", "asia"), rf"{_AHEAD}A[KS]IA[0-9A-Z]{{16}}{_BEHIND}"),
    (("gh", "glpat-"), rf"{_AHEAD}(?:gh[opusr]_[0-9A-Za-z]{{36,}}+|github_pat_\w{{22,}}+|glpat-[\w-]{{20,}}+)"),
    (("xox",), rf"{_AHEAD}xox[a-z]-[0-9A-Za-z-]{{10,}}+"),
    (("aiza",), rf"{_AHEAD}AIza[\w-]{{35}}{_BEHIND}"),
    (("sk-", "k_live_", "k_test_"), rf"{_AHEAD}(?:sk-[\w-]{{20,}}+|[prs]k_(?:live|test)_[0-9A-Za-z]{{16,}}+)"),
    (("eyj",), rf"{_AHEAD}eyJ[\w-]{{8,}}+\.[\w-]{{8,}}+\.[\w-]*+"),
    (("private key",), rf"{_BEGIN}(?:[^-]|-(?!----))*+(?:{_END})?"),
    (("bearer",), r"(?i:\bbearer)[ \t]++(?P<secret>(?=[A-Za-z._~+/-]*+[0-9])[\w.~+/-]{16,}+=*+)"),
    (_ASSIGNED, _ASSIGNMENT),
)


@cache
def _built_in() -> Mapping[str, Pattern]:
    """By name, made when they are first asked for: not every process that reads the settings masks something."""
    return MappingProxyType(
        {
            "email": Pattern("email", _find_emails),
            "card": Pattern("card", _find_cards),
            "key": Pattern("key", _find_keys),
        }
    )


@cache
def _key_finders() -> tuple[tuple[tuple[str, ...], _Find], ...]:
    return tuple((words, _finder((re.compile(expression),))) for words, expression in _KEYS)


def _find_keys(text: str) -> Iterator[tuple[int, int]]:
    lowered = text.lower()
    for words, find in _key_finders():
        for word in words:
            if word in lowered:  # told in no time, and nearly always no
                yield from find(text)
                break


def _find_emails(text: str) -> Iterator[tuple[int, int]]:
    if "@" in text:
        for match in _expression(_EMAIL).finditer(text):
            yield match.span()


@cache
def _expression(text: str) -> re.Pattern[str]:
    return re.compile(text)


def _find_cards(text: str) -> Iterator[tuple[int, int]]:
    for run in _expression(_CARD).finditer(text):
        if run.end() - run.start() >= _CARD_DIGITS.start:
            yield from _cards_in(run)


def _cards_in(run: re.Match[str]) -> Iterator[tuple[int, int]]:
    """The cards in a run of groups of digits, the leftmost and longest first; none shares a group with another."""
    groups = [(match.start(), match.end()) for match in re.finditer("[0-9]+", run.group())]
    first = 0
    while first < len(groups):
        last = _longest_card(run.group(), groups, first)
        if last is None:
            first += 1
        else:
            yield run.start() + groups[first][0], run.start() + groups[last][1]
            first = last + 1


def _longest_card(run: str, groups: Sequence[tuple[int, int]], first: int) -> int | None:
    """Index of the last group of the longest card that begins with the group `first`."""
    if run[groups[first][0]] not in _FIRST_DIGITS:
        return None
    digits, found = "", None
    for last in range(first, len(groups)):
        start, end = groups[last]
        if end - start < _CARD_GROUP or len(digits) + end - start >= _CARD_DIGITS.stop:
            break
        digits += run[start:end]
        if len(digits) in _CARD_DIGITS and _has_check_digit(digits):
            found = last
    return found


def _has_check_digit(digits: str) -> bool:
    """Luhn's formula: every second digit from the right but one doubled, the sum is a multiple of ten."""
    values = [int(digit) for digit in reversed(digits)]
    return (sum(values[::2]) + sum(_DOUBLED[value] for value in values[1::2])) % 10 == 0

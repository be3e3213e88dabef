"""What the structured fields of installed packages say: names, versions, licences, addresses, people, requirements.

The fields are those of the core metadata specification, https://packaging.python.org/specifications/core-metadata/.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from email.message import Message

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name

MINORS = tuple(f"2.{minor}" for minor in range(8)) + tuple(f"3.{minor}" for minor in range(40))
PATCHES = (0, 1, 2, 5, 10, 20, 30)  # enough to meet what a bound or an exclusion leaves of a minor version
LICENCE_FAMILIES = {
    "Affero GPL": r"\bA(?:ffero )?GPL|\bAGPL",
    "Apache": r"\bApache",
    "Artistic": r"\bArtistic",
    "BSD": r"\b0?BSD",
    "CC0": r"\bCC0",
    "GPL": r"\bGPL|GNU General Public",
    "ISC": r"\bISC\b|\bISCL\b",
    "LGPL": r"\bLGPL|GNU (?:Lesser|Library)",
    "MIT": r"\bMIT\b",
    "MPL": r"\bMPL|Mozilla Public",
    "PSF": r"\bPSF|Python Software Foundation License|\bCNRI",
    "Unlicense": r"\bUnlicense\b",
    "Zlib": r"\bzlib\b",
}
LONGEST_LICENCE = 80  # characters; a longer field holds the text of the licence
HOME_LABELS = ("homepage", "home", "home-page", "website")
REPOSITORY_LABELS = ("source", "repository", "sourcecode", "github", "code", "sources", "githubhomepage")


@dataclass(frozen=True, slots=True)
class Facts:
    """What the structured fields of one distribution say. An empty string or tuple means that they do not."""

    name: str
    version: str
    summary: str = ""
    requires_python: str = ""
    allowed_pythons: tuple[str, ...] = ()
    licence: str = ""
    licence_classifiers: tuple[str, ...] = ()
    python_classifiers: tuple[str, ...] = ()
    status: str = ""
    homepage: str = ""
    repository: str = ""
    authors: tuple[str, ...] = ()
    maintainers: tuple[str, ...] = ()
    requirements: tuple[str, ...] = ()
    conditional_requirements: bool = False
    published_at: str | None = None

    @property
    def key(self) -> str:
        """The normalised name of PEP 503."""
        return canonicalize_name(self.name)

    @property
    def licence_families(self) -> frozenset[str]:
        """Families that the licence names."""
        return families(self.licence)


def families(text: str) -> frozenset[str]:
    """Licence families that a text names."""
    return frozenset(name for name, pattern in LICENCE_FAMILIES.items() if re.search(pattern, text, re.IGNORECASE))


def allowed_minors(specifiers: SpecifierSet) -> tuple[str, ...]:
    """The Python minor versions of which some release is allowed, lowest first."""
    return tuple(minor for minor in MINORS if any(specifiers.contains(f"{minor}.{patch}") for patch in PATCHES))


def one_line(message: Message, name: str) -> str:
    """A header on one line, `""` where it is missing or says UNKNOWN."""
    value = " ".join(str(message.get(name) or "").split())
    return "" if value == "UNKNOWN" else value.encode("utf-8", "ignore").decode()


def all_lines(message: Message, name: str) -> tuple[str, ...]:
    """Every header of that name, each on one line."""
    return tuple(" ".join(str(value).split()) for value in message.get_all(name) or ())


def description_of(message: Message) -> str:
    """The long description: the header of old metadata, or the body of newer."""
    text = str(message.get("Description") or message.get_payload() or "")
    return "" if text.strip() == "UNKNOWN" else text.replace("\r\n", "\n").replace("\t", "    ")


def _licence(message: Message, classifiers: Sequence[str]) -> str:
    """The licence: the expression, else a short licence field, else the classifiers."""
    if expression := one_line(message, "License-Expression"):
        return expression
    lines = str(message.get("License") or "").strip().splitlines()
    if lines and families(lines[0]) and len(lines[0]) <= LONGEST_LICENCE:
        return lines[0].strip().rstrip(".")
    return ", ".join(classifiers)


def _people(message: Message, role: str) -> tuple[str, ...]:
    """Names of authors or maintainers: of the name field, else those before the addresses of the e-mail field."""
    if named := one_line(message, role):
        parts = (part.strip() for part in re.split(r",|;| and ", named))
        return tuple(
            dict.fromkeys(part for part in parts if part and not re.match(r"(?:many )?others\b", part.lower()))
        )
    pairs = re.findall(r'\s*"?([^"<>,@][^"<>@]*?)"?\s*<[^>]*>', one_line(message, f"{role}-email"))
    return tuple(dict.fromkeys(name.strip(" ,") for pair in pairs for name in pair.split(",") if name.strip(" ,")))


def projects(text: str, *, whole: bool = False) -> frozenset[tuple[str, str]]:
    """Owner and repository, in lower case, of every code host address in a text.

    Args:
        text: what to search.
        whole: leave out addresses of something inside a repository, such as its issues.
    """
    end = r"(?!\.?[\w-]|/\w)" if whole else ""
    found = re.findall(rf"\b(?:github|gitlab|codeberg)\.(?:com|org)[/:]([\w.-]+)/([\w.-]+){end}", text.lower())
    return frozenset((owner, name.rstrip(".").removesuffix(".git")) for owner, name in found)


def _addresses(message: Message) -> tuple[str, str]:
    """Home page and repository."""
    urls: dict[str, str] = {}
    for entry in all_lines(message, "Project-URL"):
        label, _, url = entry.partition(",")
        urls.setdefault(re.sub(r"[\W_]", "", label.lower()), url.strip())
    home = one_line(message, "Home-page") or next((urls[label] for label in HOME_LABELS if label in urls), "")
    repository = next((urls[label] for label in REPOSITORY_LABELS if label in urls), "")
    if not repository and projects(home):
        repository = home
    return home, repository


def _requirements(message: Message) -> tuple[tuple[str, ...], bool]:
    """Names of what is always required, and whether anything is required under a condition other than an extra."""
    always: set[str] = set()
    conditional = False
    for entry in all_lines(message, "Requires-Dist"):
        try:
            requirement = Requirement(entry)
        except InvalidRequirement:
            continue
        if requirement.marker is None:
            always.add(requirement.name)
        elif "extra" not in str(requirement.marker):
            conditional = True
    return tuple(sorted(always, key=str.lower)), conditional


def _published(description: str, version: str) -> str | None:
    """The date that stands within a line or two of the installed version, as change logs have it."""
    near = (
        rf"(?m)^[^\n]{{0,12}}(?<![\d.]){re.escape(version)}(?![\d.])[^\n]{{0,90}}?(?:\n[^\n]{{0,20}}\n)?[^\n]{{0,9}}?"
    )
    match = re.search(near + r"\b(20\d\d-\d\d-\d\d)\b", description)
    try:
        return date.fromisoformat(match[1]).isoformat() if match else None
    except ValueError:
        return None


def read_facts(message: Message) -> Facts | None:
    """Read the structured fields of one METADATA file; `None` for one without a name or version."""
    name, version = one_line(message, "Name"), one_line(message, "Version")
    if not name or not version:
        return None
    classifiers = [tuple(part.strip() for part in entry.split("::")) for entry in all_lines(message, "Classifier")]
    licences = tuple(parts[-1] for parts in classifiers if parts[0] == "License" and parts[-1] != "OSI Approved")
    status = next((parts[-1] for parts in classifiers if parts[0] == "Development Status"), "")
    pythons = {parts[2] for parts in classifiers if parts[:2] == ("Programming Language", "Python") and len(parts) > 2}  # noqa: PLR2004
    requires = one_line(message, "Requires-Python")
    try:
        specifiers = SpecifierSet(requires)
    except InvalidSpecifier:
        specifiers = SpecifierSet()
    homepage, repository = _addresses(message)
    requirements, conditional = _requirements(message)
    return Facts(
        name=name,
        version=version,
        summary=one_line(message, "Summary").rstrip("."),
        requires_python=", ".join(sorted(map(str, specifiers), key=lambda item: (item[0] != ">", item))),
        allowed_pythons=allowed_minors(specifiers),
        licence=_licence(message, licences),
        licence_classifiers=licences,
        python_classifiers=tuple(minor for minor in MINORS if minor in pythons),
        status=re.sub(r"^\d - ", "", status),
        homepage=homepage,
        repository=repository,
        authors=_people(message, "Author"),
        maintainers=_people(message, "Maintainer"),
        requirements=requirements,
        conditional_requirements=conditional,
        published_at=_published(description_of(message), version),
    )

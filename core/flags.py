"""Flags and the rollout bucket: who gets REDO, decided from values alone.

There are three flags. `resolve` joins what the kill switches, a run, the overrides, the store and the environment say
into one answer and tells where each value came from. `in_rollout` decides whether a key takes part at a percentage.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from types import MappingProxyType
from typing import Final, TypeAlias

from mmh3 import mmh3_32_uintdigest

from core.errors import FlagError
from core.model import Query

FlagValue: TypeAlias = bool | int | float

REDO_ENABLED: Final = "orchestrator.redo_enabled"
LEDGER_ENABLED: Final = "ledger.enabled"
ROLLOUT_PERCENTAGE: Final = "rollout_percentage"


class FlagKind(StrEnum):
    """What values a flag takes."""

    SWITCH = "true or false"
    PERCENTAGE = "a number from 0 to 100 with at most three decimals"


@dataclass(frozen=True, slots=True)
class FlagDefinition:
    """One flag.

    Attributes:
        name: as users write it.
        kind: what values it takes.
        default: its value where nobody has set it.
        environment_variable: the variable that can set it, where there is one.
        description: what it does, for `redo flags` and the run form.
    """

    name: str
    kind: FlagKind
    default: FlagValue
    environment_variable: str | None
    description: str


DEFINITIONS: Final[Mapping[str, FlagDefinition]] = MappingProxyType(
    {
        definition.name: definition
        for definition in (
            FlagDefinition(
                name=REDO_ENABLED,
                kind=FlagKind.SWITCH,
                default=False,
                environment_variable="ORCHESTRATOR_REDO_ENABLED",
                description="REDO answers the queries that are in the rollout.",
            ),
            FlagDefinition(
                name=LEDGER_ENABLED,
                kind=FlagKind.SWITCH,
                default=False,
                environment_variable="LEDGER_ENABLED",
                description="Every query's trace goes to the ledger, whichever arm answered it.",
            ),
            FlagDefinition(
                name=ROLLOUT_PERCENTAGE,
                kind=FlagKind.PERCENTAGE,
                default=100,
                environment_variable=None,
                description="The share of the keys that are in the rollout.",
            ),
        )
    }
)

# What each flag becomes when a kill switch is on.
_OFF: Final[Mapping[str, FlagValue]] = MappingProxyType(
    {REDO_ENABLED: False, LEDGER_ENABLED: False, ROLLOUT_PERCENTAGE: 0}
)


# --- the bucket ---------------------------------------------------------------------------------------------------


def _hash(key: str, group: str) -> int:
    # mmh3 5.3.1 crashes the interpreter on a str with a lone surrogate, hence bytes, and an encoding that never fails.
    return mmh3_32_uintdigest(f"{group}:{key}".encode("utf-8", "surrogatepass"), 0)


def rollout_bucket(key: str, group: str = "redo") -> int:
    """Return the bucket of a key, 1 to 100: the same on every machine, and the same as Unleash's.

    It is `(murmur3_x86_32("group:key" in UTF-8, seed 0) mod 100) + 1`, the formula of Unleash's client specification.

    >>> rollout_bucket("q-0001")
    29
    """
    return _hash(key, group) % 100 + 1


def in_rollout(key: str, percentage: float, group: str = "redo") -> bool:
    """Say whether a key takes part at a percentage.

    A whole percentage gives Unleash's answer: the key is in where its bucket is at most the percentage. A fraction
    splits the next bucket into 1,000 parts by the hash's further digits, `(h div 100) mod 1000`: at 12.5 the buckets 1
    to 12 are in, and those keys of bucket 13 whose digits are below 500. Both levels together are one number below
    100,000 that belongs to the key, and it is in where that number is below 1,000 times the percentage. So cohorts
    nest: raising the percentage never takes anyone out. 0 is nobody, 100 is everybody.

    Args:
        key: who is asked for: see `bucket_key`. Any text has a place, the empty one too.
        percentage: 0 to 100, as `parse_flag` lets it through; further decimals are rounded away.
        group: names the experiment, so that two of them draw different cohorts.

    >>> in_rollout("q-0001", 28), in_rollout("q-0001", 29)
    (False, True)
    """
    h = _hash(key, group)
    return h % 100 * 1000 + h // 100 % 1000 + 0.5 < percentage * 1000  # by half a part: safe from binary fractions


def bucket_key(query: Query) -> str | None:
    """Return what the query's bucket hangs on: its session, else its user, else its id; `None` means legacy.

    An empty text counts as not given.
    """
    return query.session_id or query.user_id or query.query_id or None


# --- values -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Flags:
    """The value of every flag. Without arguments: the defaults."""

    redo_enabled: bool = False
    ledger_enabled: bool = False
    rollout_percentage: float = 100

    def as_dict(self) -> dict[str, FlagValue]:
        """The values by the flags' names."""
        return {
            REDO_ENABLED: self.redo_enabled,
            LEDGER_ENABLED: self.ledger_enabled,
            ROLLOUT_PERCENTAGE: self.rollout_percentage,
        }


def definition_of(name: str) -> FlagDefinition:
    """Return the definition of a flag. Raises FlagError, with the names that exist, where there is none."""
    definition = DEFINITIONS.get(name)
    if definition is None:
        raise FlagError(f"flag {name!r}: unknown; there are {', '.join(DEFINITIONS)}")
    return definition


def _refused(definition: FlagDefinition, value: object) -> FlagError:
    return FlagError(f"flag {definition.name!r}: {value!r} is not {definition.kind.value}")


def parse_flag(name: str, value: object) -> FlagValue:
    """Return the value if the flag can take it, as bool, or as int where a percentage is whole, else as float.

    Text is refused, `"true"` too: see `parse_flag_text`.

    Raises:
        FlagError: no such flag, or a value of the wrong type, out of range or too fine.

    >>> parse_flag("rollout_percentage", 12.5)
    12.5
    """
    definition = definition_of(name)
    if definition.kind is FlagKind.SWITCH:
        if not isinstance(value, bool):
            raise _refused(definition, value)
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _refused(definition, value)
    if not 0 <= value <= 100 or Decimal(str(value)) % Decimal("0.001"):  # noqa: PLR2004 - also false for NaN
        raise _refused(definition, value)
    return int(value) if value == int(value) else float(value)


_SWITCH_TEXT: Final = MappingProxyType(
    {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}
)
_NUMBER_TEXT: Final = re.compile(r"[0-9]{1,3}(\.[0-9]{1,3}0*)?")


def parse_flag_text(name: str, text: str) -> FlagValue:
    """Return the value that a text stands for, as a command line or an environment variable gives it.

    Switches: true, false, 1, 0, yes, no, on, off in any case. Percentages: plain decimal numbers. White space around
    the text is ignored.

    Raises:
        FlagError: no such flag, or a text that stands for none of its values.
    """
    definition = definition_of(name)
    stripped = text.strip()
    if definition.kind is FlagKind.SWITCH:
        switch = _SWITCH_TEXT.get(stripped.lower())
        if switch is None:
            raise _refused(definition, text)
        return switch
    if _NUMBER_TEXT.fullmatch(stripped) is None:
        raise _refused(definition, text)
    return parse_flag(name, float(stripped))


def environment_flags(environ: Mapping[str, str]) -> dict[str, FlagValue]:
    """Return the flags that environment variables set. A variable that is empty counts as not set.

    Raises:
        FlagError: a variable has a value that its flag cannot take; the message names the variable.
    """
    found: dict[str, FlagValue] = {}
    for definition in DEFINITIONS.values():
        variable = definition.environment_variable
        text = environ.get(variable, "").strip() if variable else ""
        if text:
            try:
                found[definition.name] = parse_flag_text(definition.name, text)
            except FlagError as error:
                raise FlagError(f"environment variable {variable}: {error}") from None
    return found


# --- resolution ---------------------------------------------------------------------------------------------------


class FlagSource(StrEnum):
    """Where a flag's value came from, strongest first."""

    KILL_SWITCH = "kill_switch"
    RUN = "run"
    OVERRIDE = "override"
    STORED = "stored"
    ENVIRONMENT = "environment"
    DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class KillSwitches:
    """Which kill switches are on. One is enough: off wins over everything.

    Attributes:
        environment: `REDO_KILL_SWITCH` is set.
        file: the file `kill-switch` exists under `REDO_HOME`.
        store: the shared state says `killed`.
    """

    environment: bool = False
    file: bool = False
    store: bool = False

    @property
    def on(self) -> tuple[str, ...]:
        """Names of those that are on."""
        return tuple(
            name
            for name, is_on in (("environment", self.environment), ("file", self.file), ("store", self.store))
            if is_on
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """A flag's value for a while, for one key or for everybody.

    Attributes:
        flag: name of the flag.
        value: its value while the override lasts.
        expires_at: when it ends, with a time zone. From that moment on it does not count.
        key: the bucket key that it is for; `None` is everybody. One for the key is stronger than one for everybody.
        actor, reason: who set it, and why.
    """

    flag: str
    value: FlagValue
    expires_at: datetime
    key: str | None = None
    actor: str
    reason: str


@dataclass(frozen=True, slots=True)
class ResolvedFlag:
    """One flag's value, and where it came from. `detail` says it in words: which switch, whose override."""

    name: str
    value: FlagValue
    source: FlagSource
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Resolution:
    """The value of every flag with its source.

    Attributes:
        flags: the values, for the decision.
        resolved: the same with sources, in the order of the definitions, for people.
    """

    flags: Flags
    resolved: tuple[ResolvedFlag, ...] = field(repr=False)

    def of(self, name: str) -> ResolvedFlag:
        """Return one flag. Raises FlagError where there is none of that name."""
        definition_of(name)
        return next(flag for flag in self.resolved if flag.name == name)


def resolve(
    *,
    kill: KillSwitches,
    run: Mapping[str, object],
    overrides: Iterable[Override],
    stored: Mapping[str, object],
    environment: Mapping[str, object],
    now: datetime,
    key: str | None = None,
) -> Resolution:
    """Join what every source says. The strongest source that names a flag decides it.

    Order: kill switch, then run, override, stored, environment, default. A kill switch turns both switches off and sets
    the percentage to 0. Among overrides of one strength the last one in `overrides` counts. Only the overrides depend
    on `key`: for a key that none of them names the answer is that of `key=None`, which can be kept.

    Args:
        kill: the kill switches.
        run: values that hold for one run, from `--flag NAME=VALUE`.
        overrides: all that are known, expired ones too.
        stored: the stored values. Names that are no flags are passed over: a newer version may have written them.
        environment: see `environment_flags`.
        now: the time that overrides are held against.
        key: the bucket key of a query, where the answer is for one.

    Raises:
        FlagError: a source names an unknown flag or holds a value that its flag cannot take. The message names the
            source. Nothing is guessed: a weaker source could switch on what somebody meant to limit. With a kill switch
            on nothing else is read, and nothing is raised.
    """
    if kill.on:
        off = (ResolvedFlag(name, _OFF[name], FlagSource.KILL_SWITCH, ", ".join(kill.on)) for name in DEFINITIONS)
        return _resolution(off)
    override_values, override_details = _overridden(overrides, now, key)
    known = {name: value for name, value in stored.items() if name in DEFINITIONS}
    layers = {
        FlagSource.RUN: _checked(FlagSource.RUN, run),
        FlagSource.OVERRIDE: override_values,
        FlagSource.STORED: _checked(FlagSource.STORED, known),
        FlagSource.ENVIRONMENT: _checked(FlagSource.ENVIRONMENT, environment),
        FlagSource.DEFAULT: {name: definition.default for name, definition in DEFINITIONS.items()},
    }
    resolved: list[ResolvedFlag] = []
    for name in DEFINITIONS:
        source = next(source for source, values in layers.items() if name in values)
        detail = override_details[name] if source is FlagSource.OVERRIDE else ""
        resolved.append(ResolvedFlag(name, layers[source][name], source, detail))
    return _resolution(resolved)


def _resolution(resolved: Iterable[ResolvedFlag]) -> Resolution:
    flags = tuple(resolved)
    redo, ledger, percentage = (flag.value for flag in flags)
    return Resolution(Flags(bool(redo), bool(ledger), percentage), flags)


def _checked(source: FlagSource, values: Mapping[str, object]) -> dict[str, FlagValue]:
    try:
        return {name: parse_flag(name, value) for name, value in values.items()}
    except FlagError as error:
        raise FlagError(f"{source.value}: {error}") from None


def _overridden(
    overrides: Iterable[Override], now: datetime, key: str | None
) -> tuple[dict[str, FlagValue], dict[str, str]]:
    values: dict[str, FlagValue] = {}
    details: dict[str, str] = {}
    live = [o for o in overrides if o.expires_at > now and (o.key is None or o.key == key)]
    for override in sorted(live, key=lambda o: o.key is not None):  # stable: those for the key come last and win
        values |= _checked(FlagSource.OVERRIDE, {override.flag: override.value})
        whom = "everybody" if override.key is None else override.key
        until = override.expires_at.isoformat(timespec="seconds")
        details[override.flag] = f"for {whom} until {until}, by {override.actor}: {override.reason}"
    return values, details

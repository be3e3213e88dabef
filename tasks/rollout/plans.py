"""Plans as people give them: a few options, or a TOML file with every step."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Literal, TypeAlias

from core.errors import ConfigError
from core.rollout.plan import Phase, Plan, Step

Approval: TypeAlias = Literal["never", "full", "always"]
"""Before which steps a person must say yes: none, the last one, or each at which REDO answers more people."""

_UNITS_S: Final = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86_400.0}
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]*)")
_FULL: Final = 100.0


def plan_of(
    *,
    percentages: Sequence[float] = (10, 25, 50),
    soak_s: float = 3600.0,
    min_samples: int = 500,
    approval: Approval = "never",
    rollback_soak_s: float = 600.0,
) -> Plan:
    """A plan with the guide's phases: everything off in shadow, these percentages, everybody.

    The ledger comes on with the second percentage, when the first has passed.

    Args:
        percentages: the steps between nobody and everybody, rising.
        soak_s: how long each step lasts at least, in seconds.
        min_samples: how many queries each arm must have answered at each step.
        approval: before which steps a person must say yes.
        rollback_soak_s: how long a gradual rollback stays at each step, in seconds.

    Raises:
        ConfigError: the percentages do not rise, or a number is out of its range.
    """
    steps = [
        Step(phase=Phase.INFRASTRUCTURE, percentage=0, soak_s=soak_s, min_samples_per_arm=min_samples, shadow=True)
    ]
    rising = [value for value in percentages if value != _FULL]
    for place, percentage in enumerate((*rising, _FULL)):
        is_last = place == len(rising)
        steps.append(
            Step(
                phase=Phase.FULL if is_last else Phase.GRADUAL,
                percentage=int(percentage) if float(percentage).is_integer() else percentage,
                soak_s=soak_s,
                min_samples_per_arm=min_samples,
                ledger_enabled=place > 0,
                approval=approval == "always" or (approval == "full" and is_last),
            )
        )
    return Plan(steps=tuple(steps), rollback_soak_s=rollback_soak_s)


def plan_from_file(path: Path) -> Plan:
    """Read a plan from TOML. Its fields are those of `Plan` and, under `[[steps]]`, of `Step`; missing ones default.

    Raises:
        ConfigError: the file cannot be read, has a field that a plan does not have, or makes no sense.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: {error}") from None
    known = Plan().to_dict()
    steps = data.get("steps", [])
    _refuse_unknown(str(path), data, known)
    for number, step in enumerate(steps if isinstance(steps, list) else []):
        if isinstance(step, Mapping):
            _refuse_unknown(f"{path}: steps[{number}]", step, Plan().steps[0].to_dict())
    try:
        return Plan.from_dict(data)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def _refuse_unknown(place: str, found: Mapping[str, object], known: Mapping[str, object]) -> None:
    unknown = sorted(set(found) - set(known))
    if unknown:
        raise ConfigError(f"{place}: {', '.join(unknown)}: no such field, expected some of {', '.join(known)}")


def parse_duration_s(text: str) -> float:
    """Read a duration: `90`, `90s`, `15m`, `2h`, `1d`.

    Raises:
        ConfigError: it is none.

    >>> parse_duration_s("1.5h")
    5400.0
    """
    found = _DURATION.fullmatch(text.strip().lower())
    if found is None or found[2] not in _UNITS_S:
        raise ConfigError(f"{text!r} is no duration, expected a number with s, m, h or d, as in 15m")
    return float(found[1]) * _UNITS_S[found[2]]


def parse_percentages(text: str) -> tuple[float, ...]:
    """Read percentages: `10,25,50`.

    Raises:
        ConfigError: one is no number.
    """
    values = []
    for part in text.split(","):
        try:
            values.append(float(part))
        except ValueError:
            raise ConfigError(f"percentages: {part.strip()!r} is no number, expected a list as in 10,25,50") from None
    return tuple(values)

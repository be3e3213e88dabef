"""What a check comes to: five verdicts in one order, and their join."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum


class Verdict(StrEnum):
    """What a check, or all checks together, came to; the best first, the worst last.

    The worst of several is what they come to together (`join`, `worst`). So the join is a semilattice: the order in
    which checks are read, or read twice, makes no difference.
    """

    PASS = "pass"  # noqa: S105 - no password
    PENDING = "pending"  # good so far: time or samples are still missing
    INCONCLUSIVE = "inconclusive"  # nothing can be said: no data, old data, data of something else
    ERROR = "error"  # the check itself did not work
    FAIL = "fail"  # the data say no

    @property
    def severity(self) -> int:
        """0 for the best, 4 for the worst."""
        return _ORDER.index(self)


_ORDER = tuple(Verdict)


def join(one: Verdict, other: Verdict) -> Verdict:
    """The worse of two.

    >>> join(Verdict.PASS, Verdict.ERROR).value
    'error'
    """
    return max(one, other, key=_ORDER.index)


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """The worst of all. Of none it is INCONCLUSIVE: where nothing was checked nothing is known."""
    return max(verdicts, key=_ORDER.index, default=Verdict.INCONCLUSIVE)

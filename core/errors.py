"""Every error that REDO raises on purpose.

    RedoError
    ├── InputError               what the caller gave cannot be used: the command line exits with 2
    │   ├── BatchError           a batch: file missing, no good record, an id that belongs to other input
    │   ├── ConfigError          a setting, with its name
    │   └── FlagError            a flag: unknown name, wrong type, value out of range
    ├── RecordError              one record of a file, with its field: quarantined, never fatal for the batch
    ├── RetrieverError           the passage index is missing or broken
    ├── StoreError               an object or state store refused or failed
    │   └── TransientStoreError  the same call may succeed later: timeouts, 5xx, lost connections
    ├── StateConflict            somebody else changed a stored value first: load it and decide again
    └── CircuitOpenError         a breaker did not let a call through

Errors cross process borders between workers, so each one is rebuilt from its arguments by pickle.
"""

from __future__ import annotations


class RedoError(Exception):
    """Base class: catch it, never raise it."""


class InputError(RedoError):
    """What the caller gave cannot be used. The message says what, where, and what was expected."""


class BatchError(InputError):
    """A batch cannot be run as given."""


class ConfigError(InputError):
    """A setting has a value that cannot be used."""


class FlagError(InputError):
    """A flag does not exist, or was given a value that it cannot take."""


class RecordError(RedoError):
    """One record cannot be read.

    Attributes:
        field: path of the offending field inside the record, `""` for the record as a whole.
        reason: what is wrong and what was expected.
    """

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(field, reason)
        self.field = field
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.field}: {self.reason}" if self.field else self.reason


class RetrieverError(RedoError):
    """The passage index cannot be opened or does not answer."""


class StoreError(RedoError):
    """An object or state store refused a request, or failed for good."""


class TransientStoreError(StoreError):
    """A store failed in a way that a later attempt may survive."""


class StateConflict(RedoError):  # noqa: N818 - no error of the program: a race that was lost, and an answer to it
    """A stored value has another version than the one that the change was made from. Nothing was written.

    Attributes:
        name: the value's name.
        expected_version: the version that the caller knew; 0 means that there was none.
    """

    def __init__(self, name: str, expected_version: int) -> None:
        super().__init__(name, expected_version)
        self.name = name
        self.expected_version = expected_version

    def __str__(self) -> str:
        return f"state {self.name!r}: version {self.expected_version} is no longer the newest; load it and try again"


class CircuitOpenError(RedoError):
    """A breaker did not let a call through.

    Attributes:
        name: the breaker's name.
        reason: why, as the text of a `core.breaker.RejectReason`.
        retry_after_s: seconds until a call may be tried, where that is known.
    """

    def __init__(self, name: str, reason: str, retry_after_s: float | None) -> None:
        super().__init__(name, reason, retry_after_s)
        self.name = name
        self.reason = reason
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        wait = "" if self.retry_after_s is None else f", next attempt in {self.retry_after_s:.1f} s"
        return f"breaker {self.name!r}: {self.reason}{wait}"

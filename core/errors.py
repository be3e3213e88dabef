"""Every error that REDO raises on purpose.

    RedoError
    ├── InputError               what the caller gave cannot be used: the command line exits with 2
    │   ├── BatchError           a batch: file missing, no good record, an id that belongs to other input
    │   ├── ConfigError          a setting, with its name
    │   └── FlagError            a flag: unknown name, wrong type, value out of range
    ├── RecordError              one record of a file, with its field: quarantined, never fatal for the batch
    ├── RetrieverError           the passage index is missing or broken
    └── StoreError               an object store refused or failed
        └── TransientStoreError  the same call may succeed later: timeouts, 5xx, lost connections

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
    """An object store refused a request, or failed for good."""


class TransientStoreError(StoreError):
    """An object store failed in a way that a later attempt may survive."""

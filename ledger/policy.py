"""What of a trace is kept: how much detail, how many bytes, and what is masked.

Every query has its row, whatever the level: level and sample decide about detail. So the ledger stays complete, and
what it says of how many and how good stays exact.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from core.errors import ConfigError
from core.model import Decision, Selection
from core.trace import Trace
from ledger.level import MIN_TRACE_BYTES, Level
from ledger.redaction import DEFAULT_PATTERNS, Redaction
from ledger.rows import Texts

_HASH_DIGITS: Final = 13  # 52 bits: as many as a float counts exactly


def _default_redaction() -> Redaction:
    return Redaction.of(DEFAULT_PATTERNS)


@dataclass(frozen=True, slots=True, kw_only=True)
class TracePolicy:
    """What of a trace is kept.

    Attributes:
        level: `full`, or `min`; with `off` nothing is encoded at all.
        sample_rate: share of the traces that level full keeps in full, 0 to 1; the others are kept as at min.
        max_trace_bytes: the most bytes of a row as canonical JSON; see `ledger.truncation`.
        redaction: masks secrets.
        texts: the masked texts that it remembers; they save time and change no result.

    Raises:
        ConfigError: a value that cannot be used.
    """

    level: Level = Level.FULL
    sample_rate: float = 1.0
    max_trace_bytes: int = 100_000
    redaction: Redaction = field(default_factory=_default_redaction)
    texts: Texts = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "texts", Texts(self.redaction))
        if not 0.0 <= self.sample_rate <= 1.0:
            raise ConfigError(f"LEDGER_SAMPLE_RATE: expected 0 to 1, not {self.sample_rate}")
        if self.max_trace_bytes < MIN_TRACE_BYTES:
            raise ConfigError(
                f"LEDGER_MAX_TRACE_BYTES: expected at least {MIN_TRACE_BYTES}, which ids, digests and decisions alone"
                f" can take, not {self.max_trace_bytes}"
            )

    def level_of(self, trace: Trace, selection: Selection, trace_id: str) -> Level:
        """The level that a trace is kept at: `full` or `min`.

        What somebody will want to look into is kept in full whatever level and sample say: an error, a fallback, a
        deadline that was hit, a contradiction or an ambiguity.

        Args:
            trace: what happened.
            selection: the selection that the row describes.
            trace_id: its identity, which the sample is drawn by: the same trace is in it, or not, every time.
        """
        if trace.error is not None or trace.decision is Decision.FALLBACK or trace.deadline_hit:
            return Level.FULL
        if selection.contradictions or selection.ambiguities:
            return Level.FULL
        return Level.FULL if self.level is Level.FULL and self._is_in_sample(trace_id) else Level.MIN

    def _is_in_sample(self, trace_id: str) -> bool:
        """A trace id is a hash already: its first digits are a number drawn evenly."""
        return int(trace_id[:_HASH_DIGITS], 16) < self.sample_rate * 16**_HASH_DIGITS

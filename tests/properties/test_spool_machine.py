"""Adding, merging, sending, failing and being killed in any order: each trace is in the ledger once in the end."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from core.adapters.manual_clock import ManualClock
from core.errors import TransientStoreError
from ledger.delivery import Delivery, Round
from ledger.spool import Kind, SetAside, Spool
from tests.spool_samples import (
    LEDGER,
    PLENTY,
    KilledError,
    TroubledLedger,
    chain_of,
    committed_ids,
    key_of,
    rows,
    writer_of,
)

HOMES = 2


class SpoolMachine(RuleBasedStateMachine):
    """Two folders over one ledger. A chunk is kept by either, or by both, as by two writers of one batch."""

    @initialize()
    def begin(self) -> None:
        """Empty folders, an empty ledger."""
        self.clock = ManualClock()
        self.store = TroubledLedger(self.clock)
        self.folder = Path(tempfile.mkdtemp())
        self.spools = [
            Spool(self.folder / str(number) / "spool", max_bytes=PLENTY, clock=self.clock, pause=self.clock.advance)
            for number in range(HOMES)
        ]
        self.kept: set[str] = set()
        self.attempts = 0

    def teardown(self) -> None:
        """In the end, with a ledger that is well, all is there."""
        if not hasattr(self, "store"):
            return
        self.heal()
        for _ in range(2):
            for spool in self.spools:
                assert self.deliver(spool).errors == ()
        assert committed_ids(self.store) == sorted(self.kept)
        for spool in self.spools:
            assert spool.waiting() == ()
            assert {item.kind for item in spool.quarantined()} <= {SetAside.ANOTHER_ATTEMPT}
            numbers = [item.sequence for item in chain_of(self.store, writer_of(spool))]
            assert numbers == list(range(1, len(numbers) + 1))
        shutil.rmtree(self.folder)

    def deliver(self, spool: Spool) -> Round:
        """Send all that waits."""
        return Delivery(spool, lambda _uri: self.store).deliver_all()

    def heal(self) -> None:
        """The ledger works from now on."""
        self.store.before = self.store.after = lambda _verb, _key: None

    @rule(home=st.integers(0, HOMES - 1), number=st.integers(0, 4), seconds=st.integers(-5, 5))
    def add(self, home: int, number: int, seconds: int) -> None:
        """Keep the traces of a chunk, perhaps once more, by a clock that may go backwards."""
        self.clock.set_utc(self.clock.utc_now() + timedelta(seconds=seconds))
        self.attempts += 1
        ids = [f"chunk-{number}-{place}" for place in range(2)]
        payload = rows(*ids, attempt=self.attempts)
        self.spools[home].add(payload, ledger=LEDGER, key=key_of(*ids, number=number))
        self.kept |= set(ids)

    @rule(home=st.integers(0, HOMES - 1))
    def add_part(self, home: int) -> None:
        """Keep a small entry, each with a trace of its own."""
        self.attempts += 1
        trace_id = f"part-{self.attempts}"
        key = key_of(trace_id, batch_id=f"service-{home}", number=self.attempts)
        payload = rows(trace_id, batch_id=f"service-{home}")
        self.spools[home].add(payload, ledger=LEDGER, key=key, mergeable=True)
        self.kept.add(trace_id)

    @rule(home=st.integers(0, HOMES - 1))
    def send(self, home: int) -> None:
        """Send all."""
        self.heal()
        self.deliver(self.spools[home])

    @rule(home=st.integers(0, HOMES - 1), call=st.integers(1, 9), done=st.booleans(), kill=st.booleans())
    def send_with_trouble(self, home: int, call: int, *, done: bool, kill: bool) -> None:
        """At some call the ledger fails, or the sender is killed; before the call has its effect, or after."""
        error: BaseException = KilledError() if kill else TransientStoreError("no answer")
        trouble = _at(call, error)
        if done:
            self.store.after = trouble
        else:
            self.store.before = trouble
        with suppress(KilledError):
            self.deliver(self.spools[home])
        self.heal()

    @rule(home=st.integers(0, HOMES - 1))
    def killed_between_merging_and_removing(self, home: int) -> None:
        """The parts are there again beside what they were merged into."""
        spool = self.spools[home]
        parts = {item.path: item.path.read_bytes() for item in spool.waiting() if item.kind is Kind.PART}
        self.store.before = _at(1, KilledError())
        with suppress(KilledError):
            self.deliver(spool)
        self.heal()
        merged = [item for item in spool.waiting() if item.kind is Kind.MERGED]
        for item in merged:
            entry = spool.read(item)
            assert entry is not None
            for path, content in parts.items():
                if path.name in entry.parts:
                    path.write_bytes(content)

    @invariant()
    def nothing_counts_twice(self) -> None:
        """At no time, and nothing counts that nobody asked to be kept."""
        if hasattr(self, "store"):
            found = committed_ids(self.store)
            assert len(found) == len(set(found))
            assert set(found) <= self.kept


def _at(call: int, error: BaseException) -> Callable[[str, str], None]:
    """What raises at the call with this number, and lets the others be."""
    left = [call]

    def count(_verb: str, _key: str) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise error

    return count


TestSpool = SpoolMachine.TestCase
TestSpool.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)

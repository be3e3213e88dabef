"""Sending what waits: once, in a chain that nothing is missing from, whatever the store does meanwhile."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from core.adapters.manual_clock import ManualClock
from core.digest import bytes_digest
from core.errors import StoreError, TransientStoreError
from ledger.delivery import Delivered, Delivery
from ledger.manifest import MANIFESTS, TRACES, Link, Manifest, manifest_key
from ledger.spool import Kind, Quarantined, SetAside, Spool, Waiting
from tests.memory_ledger import MemoryLedgerStore
from tests.spool_samples import (
    LEDGER,
    PLENTY,
    KilledError,
    TroubledLedger,
    chain_of,
    committed_ids,
    ids_in,
    key_of,
    raising,
    rows,
    writer_of,
)


@pytest.fixture
def clock() -> ManualClock:
    """One that stands still."""
    return ManualClock()


@pytest.fixture
def store(clock: ManualClock) -> TroubledLedger:
    """An empty ledger."""
    return TroubledLedger(clock)


@pytest.fixture
def spool(tmp_path: Path, clock: ManualClock) -> Spool:
    """An empty spool with plenty of room."""
    return a_spool(tmp_path / "home", clock)


def a_spool(home: Path, clock: ManualClock) -> Spool:
    """The spool of one `REDO_HOME`."""
    return Spool(home / "spool", max_bytes=PLENTY, clock=clock, pause=clock.advance)


@pytest.fixture
def delivery(spool: Spool, store: TroubledLedger) -> Delivery:
    """One that sends to the ledger, whatever its URI."""
    return Delivery(spool, lambda _uri: store)


def added(spool: Spool, *ids: str, attempt: int = 1, number: int = 0, **more: object) -> Waiting:
    """Traces with these ids, spooled."""
    return spool.add(rows(*ids, attempt=attempt), ledger=LEDGER, key=key_of(*ids, number=number), **more)  # type: ignore[arg-type]


def keys_in(store: MemoryLedgerStore, prefix: str = "") -> list[str]:
    """What the ledger has."""
    return [found.key for found in store.objects(prefix)]


class TestOneEntry:
    """From the spool to the ledger."""

    def test_object_then_manifest_then_forgotten(
        self, spool: Spool, store: TroubledLedger, delivery: Delivery, clock: ManualClock
    ) -> None:
        """The manifest names the object and comes last; the entry goes when both are there."""
        waiting = added(spool, "a", "b")
        assert delivery.deliver(waiting) == Delivered(ledger=LEDGER, key=key_of("a", "b"), rows=2, created=True)
        payload = rows("a", "b")
        assert store.read(key_of("a", "b")) == payload
        (manifest,) = chain_of(store, writer_of(spool))
        assert (manifest.sequence, manifest.previous, manifest.spooled) == (1, None, False)
        assert manifest.committed_at == clock.utc_now().isoformat()
        assert (manifest.object.key, manifest.object.rows, manifest.object.sha256) == (
            key_of("a", "b"),
            2,
            bytes_digest(payload),
        )
        assert spool.waiting() == ()
        assert [key for verb, key in store.calls if verb == "append"] == [
            key_of("a", "b"),
            manifest_key(key_of("a", "b")),
        ]

    def test_an_entry_costs_two_requests(self, spool: Spool, store: TroubledLedger, delivery: Delivery) -> None:
        """Nothing is asked that a new key does not need."""
        delivery.deliver(added(spool, "a"))
        assert [verb for verb, _ in store.calls] == ["append", "append"]

    def test_an_entry_that_is_gone_was_sent_by_somebody_else(
        self, spool: Spool, store: TroubledLedger, delivery: Delivery
    ) -> None:
        """Nothing is asked of the ledger."""
        waiting = added(spool, "a")
        spool.remove([waiting])
        assert delivery.deliver(waiting) is None
        assert store.calls == []

    def test_manifests_make_a_chain(self, spool: Spool, store: TroubledLedger, delivery: Delivery) -> None:
        """Each names the one before it by the digest of its bytes."""
        for name in "abc":
            delivery.deliver(added(spool, name))
        chain = chain_of(store, writer_of(spool))
        assert [manifest.sequence for manifest in chain] == [1, 2, 3]
        links = [
            Link(key=manifest_key(item.object.key), sha256=bytes_digest(store.read(manifest_key(item.object.key))))
            for item in chain
        ]
        assert [manifest.previous for manifest in chain] == [None, links[0], links[1]]

    def test_each_ledger_has_a_chain_of_its_own(self, spool: Spool, clock: ManualClock) -> None:
        """One folder writes to several ledgers; whoever checks one of them sees a whole chain."""
        stores = {"one": TroubledLedger(clock), "two": TroubledLedger(clock)}
        delivery = Delivery(spool, stores.__getitem__)
        for number, uri in enumerate(["one", "two", "one"]):
            name = f"t{number}"
            delivery.deliver(spool.add(rows(name), ledger=uri, key=key_of(name)))
        writer = writer_of(spool)
        assert [item.sequence for item in chain_of(stores["one"], writer)] == [1, 2]
        assert [item.sequence for item in chain_of(stores["two"], writer)] == [1]

    def test_a_receipt_is_left_where_it_is_wanted(self, spool: Spool, delivery: Delivery) -> None:
        """Below the home, in a folder that is still there, and nowhere else."""
        home = spool.folder.parent
        (home / "runs").mkdir(parents=True)
        delivery.deliver(added(spool, "a", receipt="runs/stored.json"))
        assert json.loads((home / "runs/stored.json").read_text()) == {"key": key_of("a"), "rows": 1, "created": True}
        for trace_id, receipt in (("b", "gone/stored.json"), ("c", "../stored.json")):
            assert isinstance(delivery.deliver(added(spool, trace_id, receipt=receipt)), Delivered)
        assert not (home / "gone").exists()
        assert not (home.parent / "stored.json").exists()

    def test_a_damaged_entry_is_set_aside(self, spool: Spool, store: TroubledLedger, delivery: Delivery) -> None:
        """The ledger is not asked, and the others are not held up."""
        damaged, good = added(spool, "a"), added(spool, "b")
        damaged.path.write_bytes(damaged.path.read_bytes()[:-1])
        outcome = delivery.deliver(damaged)
        assert isinstance(outcome, Quarantined)
        assert outcome.kind is SetAside.DAMAGED
        assert spool.waiting() == (good,)
        assert store.calls == []

    def test_the_newest_of_one_key_is_sent(self, spool: Spool, store: TroubledLedger, delivery: Delivery) -> None:
        """A chunk that was computed again before its traces were sent: the last attempt's answers were served."""
        first = added(spool, "a", attempt=1)
        spool.clock.advance(1)  # type: ignore[attr-defined]
        added(spool, "a", attempt=2)
        assert isinstance(delivery.deliver(first), Delivered)
        assert store.read(key_of("a")) == rows("a", attempt=2)
        assert (spool.waiting(), spool.quarantined()) == ((), ())


class TestTakenKeys:
    """Somebody has written there before."""

    def test_the_same_bytes_are_a_success(self, spool: Spool, store: TroubledLedger, delivery: Delivery) -> None:
        """As after a crash between the object and its manifest."""
        store.append(key_of("a"), rows("a"))
        outcome = delivery.deliver(added(spool, "a"))
        assert isinstance(outcome, Delivered)
        assert not outcome.created
        assert committed_ids(store) == ["a"]

    def test_the_whole_again_changes_nothing(
        self, tmp_path: Path, store: TroubledLedger, clock: ManualClock, spool: Spool, delivery: Delivery
    ) -> None:
        """Another folder with the same traces: object and manifest stay, and its own chain does not begin."""
        delivery.deliver(added(spool, "a"))
        before = {key: store.read(key) for key in keys_in(store)}
        other = a_spool(tmp_path / "other", clock)
        assert isinstance(Delivery(other, lambda _uri: store).deliver(added(other, "a")), Delivered)
        assert {key: store.read(key) for key in keys_in(store)} == before
        assert (other.waiting(), other.quarantined()) == ((), ())
        assert isinstance(Delivery(other, lambda _uri: store).deliver(added(other, "b")), Delivered)
        assert [item.sequence for item in chain_of(store, writer_of(other))] == [1]

    def test_another_attempt_stands(self, spool: Spool, store: TroubledLedger, delivery: Delivery) -> None:
        """The same traces in other bytes: those of the ledger stay, are committed, and ours are set aside."""
        store.append(key_of("a", "b"), rows("a", "b", attempt=7))
        outcome = delivery.deliver(added(spool, "a", "b"))
        assert isinstance(outcome, Delivered)
        assert store.read(key_of("a", "b")) == rows("a", "b", attempt=7)
        (manifest,) = chain_of(store, writer_of(spool))
        assert manifest.object.sha256 == bytes_digest(rows("a", "b", attempt=7))
        (aside,) = spool.quarantined()
        assert (aside.kind, aside.rows) == (SetAside.ANOTHER_ATTEMPT, 2)
        assert spool.waiting() == ()

    def test_two_writers_of_one_batch(self, tmp_path: Path, store: TroubledLedger, clock: ManualClock) -> None:
        """One is killed after its object; the other commits that, and the first finds it done."""
        one, other = (a_spool(tmp_path / name, clock) for name in ("one", "other"))
        mine = added(one, "a", attempt=1)
        store.after = raising(KilledError(), at=["append"], where=TRACES)
        with pytest.raises(KilledError):
            Delivery(one, lambda _uri: store).deliver(mine)
        store.after = lambda _verb, _key: None
        Delivery(other, lambda _uri: store).deliver(added(other, "a", attempt=2))
        Delivery(one, lambda _uri: store).deliver(mine)
        assert committed_ids(store) == ["a"]
        assert store.read(key_of("a")) == rows("a", attempt=1)
        assert one.quarantined() == ()
        assert [item.kind for item in other.quarantined()] == [SetAside.ANOTHER_ATTEMPT]

    @pytest.mark.parametrize("content", [b"something else", rows("a", "x")])
    def test_other_content_is_reported(
        self, content: bytes, spool: Spool, store: TroubledLedger, delivery: Delivery
    ) -> None:
        """The ledger is left as it is, and nothing is committed by us."""
        store.append(key_of("a", "b"), content)
        outcome = delivery.deliver(added(spool, "a", "b"))
        assert isinstance(outcome, Quarantined)
        assert (outcome.kind, outcome.key, outcome.rows) == (SetAside.OTHER_CONTENT, key_of("a", "b"), 2)
        assert store.read(key_of("a", "b")) == content
        assert keys_in(store, MANIFESTS) == []
        assert spool.waiting() == ()

    @pytest.mark.parametrize("nonsense", [True, False])
    def test_a_manifest_of_other_content_is_reported(
        self,
        nonsense: bool,  # noqa: FBT001
        spool: Spool,
        store: TroubledLedger,
        delivery: Delivery,
        tmp_path: Path,
        clock: ManualClock,
    ) -> None:
        """One that is none, or that names other bytes than the object has."""
        body = b"{}"
        if not nonsense:
            elsewhere = TroubledLedger(clock)
            other = a_spool(tmp_path / "other", clock)
            Delivery(other, lambda _uri: elsewhere).deliver(added(other, "a", attempt=9))
            body = elsewhere.read(manifest_key(key_of("a")))
        store.append(manifest_key(key_of("a")), body)
        outcome = delivery.deliver(added(spool, "a"))
        assert isinstance(outcome, Quarantined)
        assert "names other content" in outcome.reason
        store.delete(manifest_key(key_of("a")))
        assert isinstance(delivery.deliver(added(spool, "b")), Delivered)
        assert [item.sequence for item in chain_of(store, writer_of(spool))] == [1]  # the number was free again

    def test_an_object_that_is_collected_meanwhile_is_written_again(
        self, spool: Spool, store: TroubledLedger, delivery: Delivery
    ) -> None:
        """Its rows stand in a compacted object too; whoever reads sees them once, and none is missing."""
        store.append(key_of("a"), rows("a"))

        def collect(verb: str, key: str) -> None:
            if verb == "append" and key.startswith(MANIFESTS):
                store.after = lambda _verb, _key: None
                store.delete(key_of("a"))

        store.after = collect
        assert isinstance(delivery.deliver(added(spool, "a")), Delivered)
        assert committed_ids(store) == ["a"]


class TestFailures:
    """The store fails, or whoever sends is killed."""

    def test_an_entry_waits_while_the_ledger_fails(
        self, spool: Spool, store: TroubledLedger, delivery: Delivery
    ) -> None:
        """The error passes, the entry stays; later it goes, and its manifest says that it waited."""
        waiting = added(spool, "a")
        store.fail("append")
        with pytest.raises(TransientStoreError, match="503"):
            delivery.deliver(waiting)
        assert spool.waiting() == (waiting,)
        store.fail()
        spool.clock.advance(60)  # type: ignore[attr-defined]
        later = added(spool, "b")
        delivery.deliver(waiting)
        delivery.deliver(later)
        assert [item.spooled for item in chain_of(store, writer_of(spool))] == [True, False]

    def test_a_lost_answer_costs_no_number(self, spool: Spool, store: TroubledLedger, delivery: Delivery) -> None:
        """A manifest that arrived though its answer did not is sent again before any other, and found."""
        waiting = added(spool, "a")
        store.after = raising(TransientStoreError("no answer"), at=["append"], where=MANIFESTS)
        with pytest.raises(TransientStoreError, match="no answer"):
            delivery.deliver(waiting)
        store.after = lambda _verb, _key: None
        delivery.deliver(added(spool, "b"))
        chain = chain_of(store, writer_of(spool))
        assert [(item.sequence, item.object.key) for item in chain] == [(1, key_of("a")), (2, key_of("b"))]
        delivery.deliver(waiting)
        assert chain_of(store, writer_of(spool)) == chain
        assert (committed_ids(store), spool.waiting()) == (["a", "b"], ())

    def test_a_manifest_that_never_left_is_sent_first(
        self, spool: Spool, store: TroubledLedger, delivery: Delivery
    ) -> None:
        """Its number is taken by it, whoever is sent next."""
        waiting = added(spool, "a")
        store.before = raising(TransientStoreError("refused"), at=["append"], where=MANIFESTS)
        with pytest.raises(TransientStoreError):
            delivery.deliver(waiting)
        store.fail()
        delivery.deliver(added(spool, "b"))
        assert [(item.sequence, item.object.key) for item in chain_of(store, writer_of(spool))] == [
            (1, key_of("a")),
            (2, key_of("b")),
        ]

    @pytest.mark.parametrize("verb", ["append", "read", "objects"])
    @pytest.mark.parametrize("where", [TRACES, MANIFESTS])
    @pytest.mark.parametrize("done", [False, True])
    def test_killed_anywhere(
        self,
        verb: str,
        where: str,
        done: bool,  # noqa: FBT001
        spool: Spool,
        store: TroubledLedger,
    ) -> None:
        """Whoever comes next ends it: each trace counts once, in a chain without a gap."""
        store.append(key_of("a"), rows("a", attempt=5))  # so that objects are read and looked for too
        for name in "abc":
            added(spool, name)
        killed = raising(KilledError(), at=[verb], where=where)
        if done:
            store.after = killed
        else:
            store.before = killed
        for _ in range(6):
            with suppress(KilledError):
                Delivery(spool, lambda _uri: store).deliver_all()
        store.before = store.after = lambda _verb, _key: None
        sent = Delivery(spool, lambda _uri: store).deliver_all()
        assert sent.errors == ()
        assert committed_ids(store) == ["a", "b", "c"]
        assert [item.sequence for item in chain_of(store, writer_of(spool))] == [1, 2, 3]
        assert spool.waiting() == ()

    def test_a_collected_manifest_does_not_come_back(
        self, spool: Spool, store: TroubledLedger, delivery: Delivery
    ) -> None:
        """The power went after it was acknowledged, and it was collected before the next was sent: it stays away."""
        head = spool.folder / "head.json"
        before: list[bytes] = []

        def remember(verb: str, key: str) -> None:
            if verb == "append" and key.startswith(MANIFESTS):
                before.append(head.read_bytes())

        store.before = remember
        delivery.deliver(added(spool, "a"))
        first = store.read(manifest_key(key_of("a")))
        store.delete(manifest_key(key_of("a")))
        store.delete(key_of("a"))
        head.write_bytes(before[0])
        delivery.deliver(added(spool, "b"))
        assert keys_in(store) == [manifest_key(key_of("b")), key_of("b")]
        (manifest,) = chain_of(store, writer_of(spool))
        assert manifest.sequence == 2
        assert manifest.previous == Link(key=manifest_key(key_of("a")), sha256=bytes_digest(first))

    def test_a_lost_head_makes_another_writer(self, spool: Spool, store: TroubledLedger, delivery: Delivery) -> None:
        """No number stands twice in one chain: the next one is the first of another."""
        delivery.deliver(added(spool, "a"))
        writers = [writer_of(spool)]
        (spool.folder / "head.json").write_bytes(b"{")
        delivery.deliver(added(spool, "b"))
        writers.append(writer_of(spool))
        assert len(set(writers)) == 2
        assert [[item.sequence for item in chain_of(store, writer)] for writer in writers] == [[1], [1]]
        assert (spool.folder / "head.unreadable").read_bytes() == b"{"


class TestGuard:
    """The block in which the ledger is asked."""

    def test_it_may_keep_the_ledger_from_being_asked(self, spool: Spool, store: TroubledLedger) -> None:
        """The entry waits, and is one that waited."""
        is_open = [True]

        @contextmanager
        def guard() -> Iterator[None]:
            if is_open:
                raise StoreError("the breaker is open")
            yield

        delivery = Delivery(spool, lambda _uri: store, guard=guard)
        waiting = added(spool, "a")
        with pytest.raises(StoreError, match="breaker"):
            delivery.deliver(waiting)
        assert store.calls == []
        is_open.clear()
        delivery.deliver(waiting)
        assert [item.spooled for item in chain_of(store, writer_of(spool))] == [True]

    def test_it_sees_what_goes_wrong_with_the_ledger_alone(self, spool: Spool, store: TroubledLedger) -> None:
        """A damaged entry, other content and a taken lock say nothing about the ledger's health."""
        seen: list[BaseException] = []

        @contextmanager
        def guard() -> Iterator[None]:
            try:
                yield
            except StoreError as error:
                seen.append(error)
                raise

        delivery = Delivery(spool, lambda _uri: store, guard=guard, lock_wait_s=1)
        damaged = added(spool, "a")
        damaged.path.write_bytes(b"x")
        delivery.deliver(damaged)
        store.append(key_of("b"), b"other")
        delivery.deliver(added(spool, "b"))
        waiting = added(spool, "c")
        with spool.held(wait_s=0), pytest.raises(TransientStoreError, match="another process"):
            delivery.deliver(waiting)
        assert seen == []


class TestRound:
    """All that waits."""

    def test_all_of_it_is_sent(self, spool: Spool, store: TroubledLedger, delivery: Delivery) -> None:
        """Oldest first, and what was set aside is named."""
        for name in "abc":
            added(spool, name)
            spool.clock.advance(1)  # type: ignore[attr-defined]
        store.append(key_of("b"), b"other")
        sent = delivery.deliver_all()
        assert [item.key for item in sent.delivered] == [key_of("a"), key_of("c")]
        assert sent.rows == 2
        assert [item.key for item in sent.set_aside] == [key_of("b")]
        assert sent.errors == ()

    def test_a_ledger_that_fails_is_left_alone(self, spool: Spool, clock: ManualClock) -> None:
        """After one failure the others for it wait, and those for other ledgers go."""
        bad, good = TroubledLedger(clock), TroubledLedger(clock)
        bad.fail("append")
        delivery = Delivery(spool, {"bad": bad, "good": good}.__getitem__)
        for number, uri in enumerate(["bad", "good", "bad", "good"]):
            spool.add(rows(f"t{number}"), ledger=uri, key=key_of(f"t{number}"))
            clock.advance(1)
        sent = delivery.deliver_all()
        assert sent.errors == ("memory: 503 SlowDown",)
        assert len(bad.calls) == 1
        assert committed_ids(good) == ["t1", "t3"]
        assert len(spool.waiting()) == 2

    def test_it_ends_in_time(self, spool: Spool, store: TroubledLedger, delivery: Delivery) -> None:
        """What is left then waits."""
        for name in "abc":
            added(spool, name)
        asked = iter([False, True])
        assert delivery.deliver_all(out_of_time=lambda: next(asked)).rows == 1
        assert len(spool.waiting()) == 2
        assert len(committed_ids(store)) == 1

    def test_one_ledger_may_be_chosen(self, spool: Spool, clock: ManualClock) -> None:
        """What is for others stays."""
        stores = {"one": TroubledLedger(clock), "two": TroubledLedger(clock)}
        chosen = spool.add(rows("a"), ledger="one", key=key_of("a"))
        other = spool.add(rows("b"), ledger="two", key=key_of("b"))
        assert Delivery(spool, stores.__getitem__).deliver_all(ledger_id=chosen.ledger_id).rows == 1
        assert spool.waiting() == (other,)

    def test_a_spool_that_cannot_be_used_is_an_error(self, tmp_path: Path, store: TroubledLedger) -> None:
        """And none that is raised."""
        (tmp_path / "file").write_text("x")
        sent = Delivery(a_spool(tmp_path / "file", ManualClock()), lambda _uri: store).deliver_all()
        assert len(sent.errors) == 1


class TestParts:
    """Small entries, which are merged before they are sent."""

    def test_they_become_one_object(self, spool: Spool, store: TroubledLedger, delivery: Delivery) -> None:
        """In their order, under the number of the first."""
        for number, name in enumerate("abc"):
            added(spool, name, number=number + 5, mergeable=True)
            spool.clock.advance(1)  # type: ignore[attr-defined]
        sent = delivery.deliver_all()
        assert [item.key for item in sent.delivered] == [key_of("a", "b", "c", number=5)]
        assert ids_in(store.read(key_of("a", "b", "c", number=5))) == ["a", "b", "c"]
        assert (committed_ids(store), spool.waiting()) == (["a", "b", "c"], ())

    def test_one_alone_goes_as_it_is(self, spool: Spool, store: TroubledLedger, delivery: Delivery) -> None:
        """Under its own key."""
        added(spool, "a", mergeable=True)
        assert [item.key for item in delivery.deliver_all().delivered] == [key_of("a")]
        assert committed_ids(store) == ["a"]

    def test_an_object_has_at_most_500_rows(self, spool: Spool, store: TroubledLedger, delivery: Delivery) -> None:
        """As many as the largest chunk."""
        for number in range(4):
            added(spool, *(f"t-{number}-{place}" for place in range(200)), number=number, mergeable=True)
            spool.clock.advance(1)  # type: ignore[attr-defined]
        assert [item.rows for item in delivery.deliver_all().delivered] == [400, 400]
        assert len(set(committed_ids(store))) == 800

    def test_other_days_and_batches_stay_apart(self, spool: Spool, store: TroubledLedger, delivery: Delivery) -> None:
        """What is merged has one batch."""
        for batch_id in ("x", "y", "x"):
            name = f"{batch_id}{len(spool.waiting())}"
            key = key_of(name, batch_id=batch_id)
            spool.add(rows(name, batch_id=batch_id), ledger=LEDGER, key=key, mergeable=True)
            spool.clock.advance(1)  # type: ignore[attr-defined]
        assert [item.rows for item in delivery.deliver_all().delivered] == [2, 1]
        assert committed_ids(store) == ["x0", "x2", "y1"]

    def test_they_are_not_merged_while_the_ledger_fails(
        self, spool: Spool, store: TroubledLedger, delivery: Delivery
    ) -> None:
        """One object is tried; the parts that come meanwhile go together afterwards."""
        store.fail("append")
        for number, name in enumerate("abcd"):
            added(spool, name, number=number, mergeable=True)
            spool.clock.advance(1)  # type: ignore[attr-defined]
            delivery.deliver_all()
        assert [item.kind for item in spool.waiting()] == [Kind.ENTRY, Kind.PART, Kind.PART, Kind.PART]
        store.fail()
        assert [item.rows for item in delivery.deliver_all().delivered] == [1, 3]

    def test_a_damaged_part_is_set_aside(self, spool: Spool, store: TroubledLedger, delivery: Delivery) -> None:
        """The others are merged without it."""
        parts = [added(spool, name, number=place, mergeable=True) for place, name in enumerate("abc")]
        parts[1].path.write_bytes(b"x")
        sent = delivery.deliver_all()
        assert [item.kind for item in sent.set_aside] == [SetAside.DAMAGED]
        assert committed_ids(store) == ["a", "c"]

    def test_one_part_is_never_sent_by_its_name(self, spool: Spool, store: TroubledLedger, delivery: Delivery) -> None:
        """It may be merged at any moment, and would count twice."""
        assert delivery.deliver(added(spool, "a", mergeable=True)) is None
        assert store.calls == []


def test_the_writer_is_that_of_the_folder(spool: Spool, delivery: Delivery) -> None:
    """The same for every process that shares it."""
    assert delivery.writer() == delivery.writer() == writer_of(spool)
    assert len(delivery.writer()) == 16


def test_every_step_may_be_the_last(tmp_path: Path, clock: ManualClock) -> None:
    """Killed at each call of the store in turn, and ended by another process: each trace counts once."""

    def attempt(number: int, *, done: bool) -> bool:
        """Whether the call with this number was reached."""
        store, spool = TroubledLedger(clock), a_spool(tmp_path / f"{number}-{done}", clock)
        for place, name in enumerate("abc"):
            added(spool, name, number=place, mergeable=True)
            clock.advance(1)
        added(spool, "d", number=9)
        seen = [0]

        def kill(_verb: str, _key: str) -> None:
            seen[0] += 1
            if seen[0] == number:
                raise KilledError

        at: Callable[[str, str], None] = kill
        if done:
            store.after = at
        else:
            store.before = at
        reached = False
        try:
            Delivery(spool, lambda _uri: store).deliver_all()
        except KilledError:
            reached = True
        store.before = store.after = lambda _verb, _key: None
        Delivery(spool, lambda _uri: store).deliver_all()
        assert committed_ids(store) == ["a", "b", "c", "d"]
        assert [item.sequence for item in chain_of(store, writer_of(spool))] == [1, 2]
        assert (spool.waiting(), spool.quarantined()) == ((), ())
        return reached

    for done in (False, True):
        calls = 1
        while attempt(calls, done=done):
            calls += 1
        assert calls == 5  # two objects, each with its manifest


def test_manifests_are_read_by_whoever_knows_the_format(
    spool: Spool, store: TroubledLedger, delivery: Delivery
) -> None:
    """They are canonical JSON with the version of the format."""
    delivery.deliver(added(spool, "a"))
    body = store.read(manifest_key(key_of("a")))
    assert Manifest.decode(body, name="x").encode() == body

"""What every `LedgerStore` does, the fake included, and how the real ones fail."""

from __future__ import annotations

import errno
import http.server
import socket
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from obstore.exceptions import BaseError

from core.clock import SystemClock
from core.errors import ConfigError, StoreError, TransientStoreError
from core.ports import LedgerStore
from ledger.local import LocalLedgerStore, reported
from ledger.objects import download, open_store, upload
from ledger.s3 import store_error
from tests.memory_ledger import MemoryLedgerStore

KEY = "traces/dt=2026-03-01/batch-1-00000-0123456789abcdef.parquet"


@pytest.fixture(params=["memory", "local", "s3", "s3 without prefix"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> LedgerStore:
    """Each store, empty."""
    if request.param == "memory":
        return MemoryLedgerStore()
    if request.param == "local":
        return open_store(str(tmp_path / "ledger"))
    bucket = request.getfixturevalue("s3_bucket")
    return open_store(f"s3://{bucket}/some/pre fix" if request.param == "s3" else f"s3://{bucket}")


def keys_of(store: LedgerStore, prefix: str = "") -> list[str]:
    """The keys that a listing tells of, in its order."""
    return [found.key for found in store.objects(prefix)]


class TestEveryStore:
    """The port's promises."""

    def test_a_listing_tells_size_and_time(self, store: LedgerStore) -> None:
        """An object is listed with the bytes that it has, and with a time in UTC that is near now."""
        store.append(KEY, b"x" * 1234)
        (found,) = store.objects("traces/")
        assert (found.key, found.bytes) == (KEY, 1234)
        assert abs(found.modified_at - datetime.now(UTC)) < timedelta(minutes=5)

    def test_a_deleted_object_is_gone_and_its_key_is_free(self, store: LedgerStore) -> None:
        """After `delete` neither a listing nor `read` finds it, a second one is no error, and it can be created."""
        store.append(KEY, b"first")
        store.append(KEY + "2", b"other")
        store.delete(KEY)
        store.delete(KEY)
        assert keys_of(store) == [KEY + "2"]
        with pytest.raises(StoreError, match="no such object"):
            store.read(KEY)
        assert store.append(KEY, b"second")

    def test_an_object_is_read_back(self, store: LedgerStore) -> None:
        """What was appended is what `read` returns, byte by byte, and an empty object is one too."""
        payload = bytes(range(256)) * 4096
        assert store.append(KEY, payload)
        assert store.append("traces/empty", b"")
        assert store.read(KEY) == payload
        assert store.read("traces/empty") == b""

    def test_a_key_is_written_once(self, store: LedgerStore) -> None:
        """The second append says false and leaves the first object as it is."""
        assert store.append(KEY, b"first")
        assert not store.append(KEY, b"second")
        assert store.read(KEY) == b"first"

    def test_of_many_writers_one_wins(self, store: LedgerStore) -> None:
        """Sixteen threads race for one key: one is told true, and its object stays, whole."""
        together = threading.Barrier(16)

        def write(number: int) -> bool:
            together.wait(timeout=30)
            return store.append(KEY, b"%02d" % number * 5000)

        with ThreadPoolExecutor(16) as pool:
            outcomes = list(pool.map(write, range(16)))
        assert outcomes.count(True) == 1
        assert store.read(KEY) == b"%02d" % outcomes.index(True) * 5000

    def test_keys_are_sorted_and_begin_with_the_prefix(self, store: LedgerStore) -> None:
        """A prefix is a beginning of the key, not a folder, and nothing else is listed."""
        keys = ["traces/dt=2026-03-02/b", "traces/dt=2026-03-01/b", "traces/dt=2026-03-01/a~", "traces2/a", "other"]
        for key in keys:
            store.append(key, b"x")
        assert keys_of(store) == sorted(keys)
        assert keys_of(store, "traces/dt=2026-03-01/") == ["traces/dt=2026-03-01/a~", "traces/dt=2026-03-01/b"]
        assert keys_of(store, "traces/dt=2026-03-0") == sorted(keys[:3])
        assert keys_of(store, "traces") == sorted(keys[:4])
        assert keys_of(store, "no such") == []

    def test_an_empty_store_has_no_keys(self, store: LedgerStore) -> None:
        """Listing before the first write is no error."""
        assert keys_of(store, "traces/") == []

    def test_a_missing_object_is_an_error_for_good(self, store: LedgerStore) -> None:
        """Reading a key that nobody wrote raises StoreError, and none that invites to try again."""
        with pytest.raises(StoreError) as raised:
            store.read(KEY)
        assert not isinstance(raised.value, TransientStoreError)
        assert KEY in str(raised.value)


@pytest.fixture(params=["local", "s3"])
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A place for objects on each kind of store that has a URI."""
    if request.param == "local":
        return str(tmp_path / "place")
    return f"s3://{request.getfixturevalue('s3_bucket')}/place"


class TestPlaces:
    """URIs, and objects that are copied."""

    def test_the_uri_names_the_place(self, uri: str) -> None:
        """A store says where it is, as it was opened."""
        assert open_store(uri + "/").uri == uri

    @pytest.mark.parametrize("key", ["../x", "a/../../x", "/x", "a//x", "", "a/./x", "a\nb"])
    def test_no_key_leaves_the_place(self, uri: str, key: str) -> None:
        """A key that is not plain parts below the place is refused by every verb."""
        store = open_store(uri)
        with pytest.raises(StoreError, match="is no key"):
            store.append(key, b"x")
        with pytest.raises(StoreError, match="is no key"):
            store.read(key)

    @pytest.mark.parametrize("size", [0, 5, 20 * 1024 * 1024 + 3])
    def test_a_file_goes_there_and_comes_back(self, uri: str, tmp_path: Path, size: int) -> None:
        """Upload and download copy small files and such as go in several parts."""
        source = tmp_path / "source"
        source.write_bytes(b"abcdefg" * (size // 7) + b"x" * (size % 7))
        upload(source, f"{uri}/in/file.bin")
        download(f"{uri}/in/file.bin", tmp_path / "new" / "copy")
        assert (tmp_path / "new" / "copy").read_bytes() == source.read_bytes()

    def test_an_output_is_replaced(self, uri: str, tmp_path: Path) -> None:
        """Upload and download replace what stands at the target, and leave no other file beside it."""
        source, target = tmp_path / "source", tmp_path / "copies" / "target"
        for content in (b"first and longer", b"second"):
            source.write_bytes(content)
            upload(source, f"{uri}/file")
            download(f"{uri}/file", target)
        assert target.read_bytes() == b"second"
        assert list(target.parent.iterdir()) == [target]
        assert keys_of(open_store(uri)) == ["file"]

    def test_a_missing_object_leaves_no_file(self, uri: str, tmp_path: Path) -> None:
        """A download that fails raises StoreError with the object's name and makes no file."""
        with pytest.raises(StoreError, match=r"place/nothing: there is no such"):
            download(f"{uri}/nothing", tmp_path / "copies" / "target")
        assert list((tmp_path / "copies").iterdir()) == []

    def test_a_missing_source_is_named(self, uri: str, tmp_path: Path) -> None:
        """An upload of a file that does not exist names that file."""
        with pytest.raises(StoreError, match=r"absent: there is no such"):
            upload(tmp_path / "absent", f"{uri}/file")

    @pytest.mark.parametrize("bad", ["gs://bucket/x", "http://host/x", "s3:bucket/x", "s3://", "file:relative", ""])
    def test_an_unknown_place_names_those_that_work(self, bad: str) -> None:
        """A URI that nothing can be done with is a ConfigError that names the forms that work."""
        with pytest.raises(ConfigError, match=r"s3://bucket/prefix|file:///"):
            open_store(bad)

    def test_credentials_in_a_uri_are_not_repeated(self) -> None:
        """A URI with credentials is refused without showing them."""
        with pytest.raises(ConfigError) as raised:
            open_store("s3://AKIA:hunter2@bucket/x")
        assert "hunter2" not in str(raised.value)

    def test_a_file_uri_is_a_local_path(self, tmp_path: Path) -> None:
        """`file:///` and its escapes name the same folder as the path."""
        assert open_store(f"{tmp_path.as_uri()}/a%20b").uri == str(tmp_path / "a b")


class TestLocalFolder:
    """What only a folder can do."""

    def test_a_folder_that_is_a_file_is_refused(self, tmp_path: Path) -> None:
        """A file where the folder should be is an error that names it."""
        (tmp_path / "ledger").write_text("x")
        store = LocalLedgerStore(tmp_path / "ledger")
        with pytest.raises(StoreError, match="ledger"):
            store.append(KEY, b"x")
        with pytest.raises(StoreError, match="expected a folder"):
            store.ping()

    def test_what_a_killed_writer_leaves_is_no_object(self, tmp_path: Path) -> None:
        """A temporary file beside the objects is not listed, and does not stand in the way."""
        store = LocalLedgerStore(tmp_path)
        store.append("traces/a", b"x")
        (tmp_path / "traces" / ".0123.redo-tmp").write_bytes(b"half")
        assert keys_of(store) == ["traces/a"]

    def test_a_full_disk_may_be_emptied(self, tmp_path: Path) -> None:
        """No space is transient; a file system that is read-only is not."""
        with pytest.raises(TransientStoreError, match="No space left"), reported(tmp_path):
            raise OSError(errno.ENOSPC, "No space left on device")
        with pytest.raises(StoreError, match="Read-only") as raised, reported(tmp_path):
            raise OSError(errno.EROFS, "Read-only file system")
        assert not isinstance(raised.value, TransientStoreError)


class AnsweringServer(http.server.ThreadingHTTPServer):
    """Gives every request the answer that is set for its method, and counts the requests."""

    daemon_threads = True

    def __init__(self, answers: Mapping[str, tuple[int, str]]) -> None:
        super().__init__(("127.0.0.1", 0), AnsweringHandler)
        self.answers = answers
        self.requests: list[str] = []
        self.finished = threading.Event()


class AnsweringHandler(http.server.BaseHTTPRequestHandler):
    """One connection of an `AnsweringServer`. Status 0 never answers."""

    protocol_version = "HTTP/1.1"
    server: AnsweringServer

    def answer(self) -> None:
        """Read the request and send what is set."""
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.requests.append(self.command)
        status, code = self.server.answers[self.command]
        if status == 0:
            self.server.finished.wait(timeout=30)
            self.close_connection = True
            return
        signed = "<CanonicalRequest>x-amz-security-token:TOKEN-IN-ANSWER</CanonicalRequest>"
        body = f"<?xml version='1.0'?><Error><Code>{code}</Code>{signed}</Error>".encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_PUT = do_HEAD = answer  # noqa: N815  the names that the base class looks for

    def log_message(self, *_: object) -> None:
        """Stay quiet."""


@contextmanager
def answering(patch: pytest.MonkeyPatch, answers: Mapping[str, tuple[int, str]]) -> Iterator[AnsweringServer]:
    """Run an `AnsweringServer` that the AWS_* variables point to."""
    with AnsweringServer(answers) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        point_to(patch, server.server_port)
        try:
            yield server
        finally:
            server.finished.set()
            server.shutdown()
            thread.join()


def point_to(patch: pytest.MonkeyPatch, port: int) -> None:
    """Set the AWS_* variables for an endpoint on this machine."""
    patch.setenv("AWS_ACCESS_KEY_ID", "testing")
    patch.setenv("AWS_SECRET_ACCESS_KEY", "THE-SECRET")
    patch.setenv("AWS_SESSION_TOKEN", "THE-TOKEN")
    patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")


def everything_fails(store: LedgerStore) -> list[StoreError]:
    """The errors of all three verbs."""
    errors = []
    for call in (lambda: store.append(KEY, b"x"), lambda: store.read(KEY), lambda: keys_of(store, "traces/")):
        with pytest.raises(StoreError) as raised:
            call()
        errors.append(raised.value)
    return errors


class TestS3Failures:
    """Which failures invite to try again, and what they say."""

    def test_a_wrong_bucket_is_an_error_for_good(self, s3_server: str) -> None:
        """Every verb, and ping, say that there is no such bucket; none invites to try again."""
        assert s3_server
        store = open_store("s3://no-such-bucket/x")
        errors = everything_fails(store)
        with pytest.raises(StoreError) as raised:
            store.ping()
        for error in (*errors, raised.value):
            assert "s3://no-such-bucket/x" in str(error)
            assert "no such bucket" in str(error)
            assert not isinstance(error, TransientStoreError)

    @pytest.mark.parametrize(
        ("status", "code"),
        [(500, "InternalError"), (503, "SlowDown"), (429, "TooManyRequests"), (408, "RequestTimeout")],
    )
    def test_a_server_error_may_pass(self, monkeypatch: pytest.MonkeyPatch, status: int, code: str) -> None:
        """5xx, 429 and 408 are tried again as often as allowed, then raised as transient with status and code."""
        with answering(monkeypatch, dict.fromkeys(("GET", "PUT"), (status, code))) as server:
            errors = everything_fails(open_store("s3://bucket/ledger", retries=1))
        assert server.requests == ["PUT", "PUT", "GET", "GET", "GET", "GET"]
        for error in errors:
            assert isinstance(error, TransientStoreError)
            assert f"{status} {code}" in str(error)
            assert "s3://bucket/ledger" in str(error)

    @pytest.mark.parametrize(("status", "code"), [(403, "AccessDenied"), (401, "NoAuth"), (400, "InvalidRequest")])
    def test_a_refusal_does_not_pass(self, monkeypatch: pytest.MonkeyPatch, status: int, code: str) -> None:
        """4xx is sent once and raised for good; neither our secrets nor the answer's body are shown."""
        with answering(monkeypatch, dict.fromkeys(("GET", "PUT"), (status, code))) as server:
            errors = everything_fails(open_store("s3://bucket/ledger"))
        assert server.requests == ["PUT", "GET", "GET"]
        for error in errors:
            assert not isinstance(error, TransientStoreError)
            assert f"{status} {code}" in str(error)
            shown = f"{error!r} {error.__cause__!r}"
            assert not any(secret in shown for secret in ("THE-SECRET", "THE-TOKEN", "TOKEN-IN-ANSWER"))

    def test_a_conflict_without_an_object_may_pass(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """409 means that another writer is at the key: with no object there yet, the same call may pass later."""
        answers = {"PUT": (409, "ConditionalRequestConflict"), "HEAD": (404, "")}
        with answering(monkeypatch, answers), pytest.raises(TransientStoreError, match="another writer"):
            open_store("s3://bucket/ledger").append(KEY, b"x")

    @pytest.mark.parametrize("status", [409, 412])
    def test_a_conflict_with_an_object_means_that_it_exists(self, monkeypatch: pytest.MonkeyPatch, status: int) -> None:
        """409 or 412, with the object there: the other writer has won, and append says false."""
        with answering(monkeypatch, {"PUT": (status, "Conflict"), "HEAD": (200, "")}):
            assert open_store("s3://bucket/ledger").append(KEY, b"x") is False

    def test_a_server_that_is_down_may_come_back(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """With nobody at the address every verb raises a transient error."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        point_to(monkeypatch, port)
        for error in everything_fails(open_store("s3://bucket/ledger", timeout_s=1.0, retries=1)):
            assert isinstance(error, TransientStoreError)

    def test_a_server_that_hangs_costs_no_more_than_the_timeout(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A write without an answer is given up after the timeout and not sent again."""
        clock = SystemClock()
        with answering(monkeypatch, {"PUT": (0, "")}) as server:
            started_at = clock.now()
            with pytest.raises(TransientStoreError, match="no answer"):
                open_store("s3://bucket/ledger", timeout_s=0.3, retries=2).append(KEY, b"x")
            waited_s = clock.now() - started_at
        assert server.requests == ["PUT"]
        assert 0.2 < waited_s < 3.0

    def test_missing_credentials_are_named(self) -> None:
        """When obstore asks the instance for a role and nobody answers, the message says which variables to set."""
        error = BaseError(
            "Error performing PUT http://169.254.169.254/latest/api/token - HTTP error: error sending request"
        )
        assert "AWS_ACCESS_KEY_ID" in str(store_error(error, "s3://bucket/x"))

    def test_an_unknown_failure_is_told_in_its_first_line(self) -> None:
        """What has no status is raised for good, without obstore's picture of itself."""
        translated = store_error(BaseError("something new\n\nDebug source:\nGeneric { TOKEN }"), "s3://bucket/x")
        assert str(translated) == "s3://bucket/x: something new"
        assert type(translated) is StoreError

    def test_a_download_that_fails_midway_leaves_no_file(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """A server error in a download is transient, and no file appears."""
        with answering(monkeypatch, {"GET": (503, "SlowDown")}), pytest.raises(TransientStoreError, match="503"):
            download("s3://bucket/file", tmp_path / "file", retries=0)
        assert list(tmp_path.iterdir()) == []

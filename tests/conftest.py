"""What all tests share: a place of their own for every file, a Prefect server and an S3 server on this machine."""

from __future__ import annotations

import http.client
import logging
import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

_OURS = ("ORCHESTRATOR_", "ORCHESTRATION_", "LEDGER_", "REDO_")
_PREFECT = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
}
_SERVER_START_S = 120
_PATIENCE_MS = "60000"


def pytest_configure(config: pytest.Config) -> None:
    """Give this session its own home, before a test module imports Prefect, which reads its settings then.

    Prefect's folder is shared by all tests, because the first server in an empty one takes seconds to make its tables.
    """
    home = Path(tempfile.mkdtemp(prefix="redo-tests-")).resolve()
    config.add_cleanup(lambda: shutil.rmtree(home, ignore_errors=True))
    for name in tuple(os.environ):
        if name.startswith((*_OURS, "PREFECT_")):
            del os.environ[name]
    os.environ.pop("COLUMNS", None)  # of the terminal, or of xdist; a console would keep it for good
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # each command that a test starts would compile all of REDO anew
    os.environ.update(_PREFECT)
    os.environ.update(PREFECT_HOME=str(home / "prefect"), HOME=str(home), USERPROFILE=str(home))
    for name in ("CONFIG", "DATA", "STATE", "CACHE"):
        os.environ[f"XDG_{name}_HOME"] = str(home / name.lower())


@pytest.fixture(autouse=True)
def redo_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """`REDO_HOME` for one test: a folder that does not exist yet. No setting of ours is left from outside."""
    for name in tuple(os.environ):
        if name.startswith(_OURS):
            monkeypatch.delenv(name)
    home = tmp_path / "redo-home"
    monkeypatch.setenv("REDO_HOME", str(home))
    yield home
    wiring = sys.modules.get("tasks.wiring")
    if wiring is not None:
        for kept in vars(wiring).values():
            if hasattr(kept, "cache_clear"):
                kept.cache_clear()


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Enough time for each query: a busy machine makes none late."""
    monkeypatch.setenv("ORCHESTRATION_TIME_BUDGET_MS", _PATIENCE_MS)


@pytest.fixture
def only_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    """REDO detects by its rules alone, in other processes too: for tests whose subject is not what it finds."""
    monkeypatch.setenv("REDO_DETECTOR", "rules")


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[None]:
    """One Prefect server for all flows that run inside the test process."""
    from prefect.testing.utilities import prefect_test_harness  # noqa: PLC0415  seconds that most tests do not need

    with prefect_test_harness(server_startup_timeout=_SERVER_START_S):
        yield


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The address of an S3 server (moto) that speaks HTTP, with the AWS_* variables set for it."""
    from moto.server import ThreadedMotoServer  # noqa: PLC0415  half a second that most runs of one test do not need

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT", "AWS_REGION", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
            patch.delenv(name, raising=False)
        patch.setenv("AWS_ACCESS_KEY_ID", "testing")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "it's a secret")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_ENDPOINT_URL", endpoint)
        yield endpoint
    server.stop()


@pytest.fixture
def s3_bucket(s3_server: str) -> str:
    """The name of a new, empty bucket."""
    name = f"bucket-{secrets.token_hex(6)}"
    connection = http.client.HTTPConnection(s3_server.removeprefix("http://"), timeout=10)
    try:
        connection.request("PUT", f"/{name}")
        assert connection.getresponse().status == http.client.OK
    finally:
        connection.close()
    return name

"""DuckDB's own way to S3: the httpfs extension, from its Python package.

It is loaded from there: nothing is fetched, and nothing is written to the home folder.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Final

import duckdb

from ledger.location import S3Location
from ledger.s3 import S3Access
from ledger.view_sql import quoted

REQUEST_TIMEOUT_S: Final = 10
_THREADS: Final = 8
"""A thread waits for one request at a time. With 0.1 s a request, 8 read 40 objects twice as fast as 2."""


def load_httpfs(connection: duckdb.DuckDBPyConnection, location: S3Location) -> bool:
    """Load httpfs and give it the key; false where it, or the key, is missing.

    The key becomes a temporary secret of the connection: it is never written to a file, and no SQL shows it.
    """
    access, binary = S3Access.from_environment(), extension_file()
    if access.key_id is None or access.secret is None or binary is None:
        return False
    try:
        connection.execute(f"load {quoted(str(binary))}")
    except duckdb.Error:
        return False
    connection.execute(f"set http_timeout = {REQUEST_TIMEOUT_S}")
    connection.execute(f"set threads = {max(_THREADS, os.cpu_count() or 1)}")
    connection.execute("set enable_http_metadata_cache = true")  # objects never change
    # The extension copies the environment's key into settings, which any statement can read; a secret is redacted.
    for setting in ("s3_access_key_id", "s3_secret_access_key", "s3_session_token"):
        connection.execute(f"set {setting} = ''")
    options = {
        "key_id": access.key_id,
        "secret": access.secret,
        "session_token": access.session_token,
        "region": access.region,
        "endpoint": host_of(access),
        "url_style": None if access.endpoint is None else "path",
        "scope": f"s3://{location.bucket}",
    }
    given = ", ".join(f"{name} {quoted(value)}" for name, value in options.items() if value is not None)
    connection.execute(f"create temporary secret ledger (type s3, use_ssl {access.uses_tls}, {given})")
    return True


def extension_file() -> Path | None:
    """Where the package has the extension for this DuckDB; `None` where it is not installed."""
    package = importlib.util.find_spec("duckdb_extension_httpfs")
    if package is None or package.origin is None:
        return None
    return Path(package.origin).parent / "extensions" / f"v{duckdb.__version__}" / "httpfs.duckdb_extension"


def host_of(access: S3Access) -> str | None:
    """The endpoint as DuckDB and PyArrow want it, without its scheme; `None` for Amazon's own."""
    return None if access.endpoint is None else access.endpoint.partition("://")[2].rstrip("/")

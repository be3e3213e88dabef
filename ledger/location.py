"""What a URI names: a place in an S3 bucket, or a local path."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from core.errors import ConfigError

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://|(s3|file):")
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]")
_WORKS = "what works is s3://bucket/prefix, a local path, or file:///path"


@dataclass(frozen=True, slots=True)
class S3Location:
    """A place in a bucket. `path` is a key, or the prefix of keys; it neither begins nor ends with a slash."""

    bucket: str
    path: str

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.path}" if self.path else f"s3://{self.bucket}"


Location = S3Location | Path


def parse_location(uri: str) -> Location:
    """Read a URI. A local path comes back absolute, with `~` and links resolved; it need not exist.

    Raises:
        ConfigError: the scheme is unknown, or the rest is no bucket and key.
    """
    scheme = _SCHEME.match(uri)
    if not uri.strip():
        raise ConfigError(f"an empty location: {_WORKS}")
    if scheme is None:
        return Path(uri).expanduser().resolve()
    name = scheme[1] or scheme[2]
    if name == "s3":
        return _s3_location(uri)
    if name == "file":
        return _file_location(uri)
    raise ConfigError(f"{name}:// is nothing that REDO reads or writes: {_WORKS}")


def is_inside(key: str) -> bool:
    """Whether a key stays below the place that it is joined to: no empty, `.` or `..` segment, no control character."""
    return key.isprintable() and all(part not in {"", ".", ".."} for part in key.split("/"))


def _s3_location(uri: str) -> S3Location:
    bucket, _, path = uri.removeprefix("s3:").removeprefix("//").partition("/")
    path = path.strip("/")
    # The text is not repeated in the message: some write credentials into it.
    if not uri.startswith("s3://") or not _BUCKET.fullmatch(bucket):
        raise ConfigError("an s3 location without a valid bucket: expected s3://bucket/prefix and no credentials")
    if path and not is_inside(path):
        raise ConfigError(f"s3://{bucket}/{path}: expected a prefix without empty parts, '.' and '..'")
    return S3Location(bucket, path)


def _file_location(uri: str) -> Path:
    parts = urlsplit(uri)
    if parts.netloc not in {"", "localhost"} or not parts.path.startswith("/"):
        raise ConfigError(f"{uri}: expected file:/// and an absolute path")
    return Path(unquote(parts.path)).resolve()

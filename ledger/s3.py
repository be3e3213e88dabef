"""S3, or what speaks its protocol (MinIO, moto), through obstore.

Credentials, region and endpoint come from the standard variables: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY,
AWS_SESSION_TOKEN, AWS_REGION or AWS_DEFAULT_REGION, AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL. obstore also reads those
of web identities and containers, and asks the instance for its role. Profiles and shared files are not read.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import S3Store

from core.errors import ConfigError, StoreError, TransientStoreError
from core.ports import ObjectInfo
from ledger.location import S3Location, is_inside

_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(r"<Code>(\w+)</Code>")
_MAY_PASS = frozenset({408, 409, 425, 429})
_SERVER_ERROR = 500
_BACKOFF_S = 0.1
_LONGEST_BACKOFF_S = 2.0
# A file of many gigabytes takes long, and is stalled when nothing moves for the read timeout.
_TRANSFER_LIMIT_S = 24 * 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Access:
    """How to reach S3, for clients other than obstore. Secrets stay out of `repr`."""

    endpoint: str | None
    region: str
    key_id: str | None
    secret: str | None = field(repr=False)
    session_token: str | None = field(repr=False)

    @classmethod
    def from_environment(cls) -> S3Access:
        """Read the standard AWS variables; an empty one counts as not set."""
        read = os.environ.get
        return cls(
            endpoint=read("AWS_ENDPOINT_URL_S3") or read("AWS_ENDPOINT_URL") or read("AWS_ENDPOINT") or None,
            region=read("AWS_REGION") or read("AWS_DEFAULT_REGION") or "us-east-1",
            key_id=read("AWS_ACCESS_KEY_ID") or None,
            secret=read("AWS_SECRET_ACCESS_KEY") or None,
            session_token=read("AWS_SESSION_TOKEN") or None,
        )

    @property
    def uses_tls(self) -> bool:
        """Whether the endpoint is reached over TLS; Amazon's always is."""
        return self.endpoint is None or not self.endpoint.startswith("http://")


class S3LedgerStore:
    """A `LedgerStore` below a prefix of a bucket. `append` is one conditional PUT, `If-None-Match: *`.

    Args:
        location: bucket and prefix.
        timeout_s: seconds that one request may take.
        retries: how often a request is sent again after a server error or a lost connection. A PUT whose answer did not
            come in time is not sent again: nobody knows whether it arrived.
    """

    def __init__(self, location: S3Location, *, timeout_s: float = 5.0, retries: int = 2) -> None:
        self._location = location
        self._bucket = open_bucket(location, timeout_s=timeout_s, retries=retries)

    @property
    def uri(self) -> str:
        """`s3://bucket/prefix`."""
        return str(self._location)

    def append(self, key: str, payload: bytes) -> bool:
        """Create the object; false where the key exists already, whose object is then left as it is.

        Raises:
            TransientStoreError: a later attempt may succeed. After a timeout the object may have been created: the
                next attempt then returns false.
            StoreError: it will not.
        """
        name = self._name(key)
        try:
            obstore.put(self._bucket, key, payload, mode="create", use_multipart=False)
        except AlreadyExistsError:
            # 412 says that the object is there. 409 says that another writer is at it, and may yet fail; obstore
            # raises the same error for both.
            if not self._exists(key):
                raise TransientStoreError(f"{name}: another writer is at this key: try again") from None
            return False
        except (BaseError, OSError) as error:
            raise store_error(error, name) from None
        return True

    def read(self, key: str) -> bytes:
        """Return the object's bytes. Raises StoreError where there is none."""
        name = self._name(key)
        try:
            return bytes(obstore.get(self._bucket, key).bytes())
        except (BaseError, OSError) as error:
            raise store_error(error, name) from None

    def objects(self, prefix: str = "") -> Sequence[ObjectInfo]:
        """All objects whose keys begin with `prefix`, sorted. Raises StoreError, also where there is no bucket."""
        folder, slash, _ = prefix.rpartition("/")
        try:
            pages = obstore.list(self._bucket, prefix=folder + slash)
            found = [
                ObjectInfo(entry["path"], entry["size"], entry["last_modified"]) for page in pages for entry in page
            ]
        except (BaseError, OSError) as error:
            raise store_error(error, self.uri) from None
        return sorted((entry for entry in found if entry.key.startswith(prefix)), key=lambda entry: entry.key)

    def delete(self, key: str) -> None:
        """Remove the object; one that is not there is no error. Raises StoreError where it cannot be removed."""
        name = self._name(key)
        try:
            obstore.delete(self._bucket, key)
        except FileNotFoundError:
            return
        except (BaseError, OSError) as error:
            raise store_error(error, name) from None

    def ping(self) -> None:
        """Ask the store for one page of keys. Raises StoreError where it does not answer, or not us."""
        try:
            next(iter(obstore.list(self._bucket, chunk_size=1)), None)
        except (BaseError, OSError) as error:
            raise store_error(error, self.uri) from None

    def _exists(self, key: str) -> bool:
        try:
            obstore.head(self._bucket, key)
        except FileNotFoundError:
            return False
        except (BaseError, OSError) as error:
            raise store_error(error, self._name(key)) from None
        return True

    def _name(self, key: str) -> str:
        if not is_inside(key):
            raise StoreError(f"{self.uri}: {key!r} is no key: expected parts between single slashes, without '..'")
        return f"{self.uri}/{key}"


def open_bucket(location: S3Location, *, timeout_s: float, retries: int, transfer: bool = False) -> S3Store:
    """Return obstore's client for a location; nothing is sent yet.

    Args:
        location: bucket and prefix.
        timeout_s: seconds that a connection, and a whole request, may take.
        retries: how often a request is sent again.
        transfer: for big bodies: `timeout_s` is then the longest silence, not the longest request.
    """
    access = S3Access.from_environment()
    limit = timedelta(seconds=timeout_s)
    try:
        return S3Store(
            location.bucket,
            prefix=location.path or None,
            region=access.region,
            # A host name in front of Amazon's own addresses only: MinIO and moto have one name for all buckets.
            virtual_hosted_style_request=False,
            config={} if access.endpoint is None else {"endpoint": access.endpoint},
            client_options={
                "allow_http": not access.uses_tls,
                "connect_timeout": limit,
                "read_timeout": limit,
                "timeout": timedelta(seconds=_TRANSFER_LIMIT_S) if transfer else limit,
            },
            retry_config={
                "max_retries": retries,
                "retry_timeout": limit * (retries + 1),
                "backoff": {
                    "init_backoff": timedelta(seconds=_BACKOFF_S),
                    "max_backoff": timedelta(seconds=_LONGEST_BACKOFF_S),
                    "base": 2,
                },
            },
        )
    except (BaseError, ValueError) as error:
        raise ConfigError(f"{location}: the AWS_* variables do not describe a store: {_first_line(error)}") from None


def store_error(error: Exception, name: str) -> StoreError:
    """Turn an error of obstore into one of ours.

    The message names the object and the store's answer in a few words. The answer's body is left out, and callers raise
    `from None`: after a wrong signature S3 sends back what was signed, session token included.
    """
    head = str(error).partition("Debug source")[0]
    status_found, code_found = _STATUS.search(head), _CODE.search(head)
    status = int(status_found[1]) if status_found else None
    code = code_found[1] if code_found else ""
    answer = f"the store answered {status} {code}".rstrip()
    if code == "NoSuchBucket":
        return StoreError(f"{name}: there is no such bucket")
    if isinstance(error, FileNotFoundError):
        return StoreError(f"{name}: there is no such object")
    if status in {401, 403}:
        return StoreError(f"{name}: access denied: {answer}; check the AWS_* variables and the bucket's policy")
    if status is not None and (status in _MAY_PASS or status >= _SERVER_ERROR):
        return TransientStoreError(f"{name}: {answer}")
    if status is not None:
        return StoreError(f"{name}: {answer}")
    if "169.254." in head:
        return TransientStoreError(f"{name}: no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
    if "HTTP error" in head or isinstance(error, OSError):
        return TransientStoreError(f"{name}: no answer from the store: not reachable, too slow, or cut off")
    return StoreError(f"{name}: {_first_line(error)}")


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]

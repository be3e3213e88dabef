"""Digests of content: the same bytes for the same value, on every machine."""

from __future__ import annotations

import hashlib

import orjson


def canonical_json(value: object) -> bytes:
    """JSON with sorted keys and no white space, in UTF-8. Raises TypeError on what JSON cannot hold."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def content_digest(value: object) -> str:
    """SHA-256 of the canonical JSON, as 64 hexadecimal digits."""
    return bytes_digest(canonical_json(value))


def text_digest(text: str) -> str:
    """SHA-256 of the text in UTF-8, as 64 hexadecimal digits."""
    return bytes_digest(text.encode())


def bytes_digest(payload: bytes) -> str:
    """SHA-256 of bytes, as 64 hexadecimal digits."""
    return hashlib.sha256(payload).hexdigest()

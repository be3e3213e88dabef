"""The body of a request: JSON within bounds, and nothing that could be read in two ways."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.service.json_body import MAX_DEPTH, parse_object
from deployments.service.refusals import RefusedError
from tests.service_samples import deep


def refusal(body: bytes) -> RefusedError:
    """The error that a body is refused with."""
    with pytest.raises(RefusedError) as caught:
        parse_object(body)
    return caught.value


def test_an_object_is_read() -> None:
    """With the types that JSON has."""
    assert parse_object(b' {"a": [1, 2.5, "x", null, true]} ') == {"a": [1, 2.5, "x", None, True]}


@pytest.mark.parametrize("depth", [1, MAX_DEPTH])
def test_up_to_sixteen_levels_are_read(depth: int) -> None:
    """The object itself is the first."""
    assert "a" in parse_object(deep(depth))


@pytest.mark.parametrize("body", [deep(MAX_DEPTH + 1), deep(10_000), b"[" * 30_000 + b"]" * 30_000])
def test_deeper_bodies_are_refused(body: bytes) -> None:
    """One level too many as well as more than the stack holds."""
    error = refusal(body)
    assert (error.status, error.message) == (400, "the body is nested deeper than 16 levels")


def test_lists_are_levels_too() -> None:
    """A list counts as an object does."""
    assert refusal(b'{"a": ' + b"[" * 16 + b"]" * 16 + b"}").message.endswith("deeper than 16 levels")


def test_a_key_twice_is_refused_by_its_name() -> None:
    """Also further in: one reader would take the first, another the last."""
    error = refusal(b'{"a": {"b": 1, "b": 2}}')
    assert (error.status, error.fields) == (400, {"b": "twice"})


@pytest.mark.parametrize(
    ("body", "kind"),
    [(b"[]", "a list"), (b'"a"', "a string"), (b"1", "a number"), (b"null", "null"), (b"true", "a boolean")],
)
def test_only_an_object_will_do(body: bytes, kind: str) -> None:
    """What it is instead is named."""
    assert refusal(body).message == f"the body is {kind}, expected an object"


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"a=1&b=2", b"{'a': 1}", b'{"a": NaN}', b'{"a": -Infinity}', b'{"a": "\xff"}', b"\xff\xfe{\x00}\x00"],
)
def test_what_is_no_json_is_refused(body: bytes) -> None:
    """Forms, numbers that JSON does not have, and bytes that are no UTF-8 among it."""
    error = refusal(body)
    assert error.status == 400
    assert error.message.startswith("the body is not JSON: ")


def test_a_number_of_endless_digits_is_refused() -> None:
    """Python would spend minutes on turning some into an integer."""
    assert refusal(b'{"a": ' + b"9" * 10_000 + b"}").status == 400


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    """Nothing else is raised, whatever is sent."""
    with suppress(RefusedError):
        assert isinstance(parse_object(body), dict)

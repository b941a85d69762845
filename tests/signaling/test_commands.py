"""
The values in commands.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from punchd.signaling.commands import Addresses, Blob, Datagrams, Number, Text

ADDRESSES = st.lists(
    st.tuples(
        st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)).map(str),
        st.integers(1, 65535),
    ),
    max_size=64,
)


@given(st.lists(st.binary(max_size=1500), max_size=64))
def test_datagrams(datagrams: list[bytes]) -> None:
    """
    A list of datagrams survives, empty ones included.
    """
    argument = Datagrams()
    assert argument.fromString(argument.toString(datagrams)) == datagrams


@given(ADDRESSES)
def test_addresses(addresses: list[tuple[str, int]]) -> None:
    """
    A list of addresses of both families survives.
    """
    argument = Addresses()
    assert argument.fromString(argument.toString(addresses)) == addresses


@given(st.one_of(st.integers(-(10**15), 10**15), st.floats(-1e9, 1e9)))
def test_numbers(number: float) -> None:
    """
    Whole numbers and others survive, to the last bit.
    """
    argument = Number()
    encoded = argument.toString(number)
    if len(encoded) <= 24:
        found = argument.fromString(encoded)
        assert found == number
        assert type(found) is type(number)


@pytest.mark.parametrize(
    ("argument", "data"),
    [
        (Datagrams(), b"\0"),
        (Datagrams(), b"\0\5abc"),
        (Datagrams(), b"\0\0" * 65),
        (Addresses(), b"203.0.113.1"),
        (Addresses(), b"203.0.113.1 0"),
        (Addresses(), b"203.0.113.1 65536"),
        (Addresses(), b"203.0.113.1 x"),
        (Addresses(), b"\xff 1"),
        (Addresses(), b"h 1\n" * 64 + b"h 1"),
        (Number(), b"nan"),
        (Number(), b"inf"),
        (Number(), b"1" * 25),
        (Number(), b""),
        (Text(4), b"five!"),
        (Text(4), b"\xff"),
        (Blob(4), b"five!"),
    ],
)
def test_refused(argument: Any, data: bytes) -> None:
    """
    What has another form, or is too much, is a ValueError.
    """
    with pytest.raises(ValueError):
        argument.fromString(data)


@given(
    st.sampled_from([Datagrams(), Addresses(), Number(), Text(64), Blob(64)]),
    st.binary(max_size=200),
)
def test_anyBytes(argument: Any, data: bytes) -> None:
    """
    Nothing but ValueError is ever raised, and what was taken has one form.
    """
    try:
        value = argument.fromString(data)
    except ValueError:
        return
    again = argument.fromString(argument.toString(value))
    assert again == value

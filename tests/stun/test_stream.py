"""
Frames within a stream, however it is cut, and not more than one kept.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from punchd.errors import MalformedMessage
from punchd.stun.attributes import Attribute
from punchd.stun.message import HEADER, request
from punchd.stun.stream import FrameSplitter, pad

ID = b"transactions"
stun = st.binary(max_size=50).map(
    lambda data: request(1, ID, (Attribute.DATA, data)).serialize()
)
channel = st.tuples(st.integers(0x4000, 0x4FFF), st.binary(max_size=50)).map(
    lambda each: each[0].to_bytes(2, "big") + len(each[1]).to_bytes(2, "big") + each[1]
)


@given(st.lists(st.one_of(stun, channel), max_size=8), st.lists(st.integers(1, 30)))
def test_cutAnywhere(frames: list[bytes], cuts: list[int]) -> None:
    """
    The frames come out whole whatever the pieces they came in.
    """
    stream = b"".join(pad(each) for each in frames)
    splitter = FrameSplitter()
    got = []
    for size in cuts:
        got += splitter.dataReceived(stream[:size])
        stream = stream[size:]
    got += splitter.dataReceived(stream)
    assert got == frames
    assert splitter.pending == 0


@given(st.lists(st.binary(max_size=100), max_size=10))
def test_garbage(pieces: list[bytes]) -> None:
    """
    Arbitrary bytes raise only MalformedMessage and are not hoarded.
    """
    splitter = FrameSplitter(maximum=64)
    try:
        for each in pieces:
            splitter.dataReceived(each)
            assert splitter.pending < 68
    except MalformedMessage:
        assert any(pieces)


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00",
        b"\x00\x01\x00\x03\x21\x12\xa4\x42",
        b"\x00\x01\x00\x00\x21\x12\xa4\x43",
        b"\x80\x00\x00\x00",
    ],
)
def test_somethingElse(data: bytes) -> None:
    """
    Another protocol is told by its first bytes, even before a frame is whole.
    """
    with pytest.raises(MalformedMessage):
        FrameSplitter().dataReceived(data)
    splitter = FrameSplitter()
    with pytest.raises(MalformedMessage):
        for byte in data:
            splitter.dataReceived(bytes([byte]))


def test_tooLarge() -> None:
    """
    A frame above the limit is refused by its header alone.
    """
    splitter = FrameSplitter(maximum=HEADER + 100)
    with pytest.raises(MalformedMessage):
        splitter.dataReceived(b"\x40\x00\xff\xff")

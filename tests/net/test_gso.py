"""
Batches that are sent on from where they were read, over loopback.
"""

from __future__ import annotations

import socket
from collections.abc import Generator

import pytest

from punchd.core import Address
from punchd.net import ancillary
from punchd.net.gso import BatchSender, batchSender, packedControls, packedName
from punchd.net.receiving import STRIDE, PlainReader, Reader, reader
from tests.net.sockets import linux

pytestmark = linux

HOSTS = {4: "127.0.0.1", 6: "::1"}


class Scene:
    """
    What was read, a socket to send it by, and one that it comes to.
    """

    def __init__(self, family: int) -> None:
        kind = ancillary.addressFamily(family)
        found = reader()
        assert isinstance(found, Reader)
        self.reader = found
        self.sender = BatchSender(found)
        self.family = family
        self.sock, self.peer = (socket.socket(kind, socket.SOCK_DGRAM) for _ in "ab")
        self.peer.settimeout(5)
        self.peer.bind((HOSTS[family], 0))
        self.there: Address = self.peer.getsockname()[:2]

    def sends(
        self,
        datagrams: list[bytes],
        skip: int = 0,
        head: bytes = b"",
        last: bytes = b"",
        slot: int = 0,
    ) -> bool:
        """
        @return: whether these were sent on.
        """
        batch, segment = b"".join(datagrams), len(datagrams[0])
        start = slot * STRIDE
        self.reader.data[start : start + len(batch)] = batch
        full, rest = divmod(len(batch), segment)
        told = packedControls([ancillary.segmentControl(segment - skip + len(head))])
        return self.sender.send(
            *(self.sock.fileno(), start, segment, full, rest, skip, head, last),
            *(packedName(self.family, self.there), told),
        )

    def gets(self, count: int) -> list[bytes]:
        """
        @return: what has come.
        """
        return [self.peer.recv(65536) for _ in range(count)]

    def close(self) -> None:
        """
        Close all of it.
        """
        self.sock.close()
        self.peer.close()


@pytest.fixture(params=[4, 6])
def scene(request: pytest.FixtureRequest) -> Generator[Scene]:
    """
    One of each family.
    """
    made = Scene(request.param)
    yield made
    made.close()


def _datagrams(count: int, size: int, rest: int = 0) -> list[bytes]:
    found = [bytes([number]) * size for number in range(count)]
    return [*found, b"r" * rest] if rest else found


@pytest.mark.parametrize("rest", [0, 5])
@pytest.mark.parametrize(("skip", "width"), [(0, 0), (4, 0), (2, 2), (0, 4)])
def test_cut(scene: Scene, rest: int, skip: int, width: int) -> None:
    """
    Each datagram loses its first bytes and gets a header, the last one its own.
    """
    datagrams = _datagrams(7, 101, rest)
    head, last = b"head"[:width], b"last"[:width]
    assert scene.sends(datagrams, skip, head, last)
    expected = [head + each[skip:] for each in datagrams]
    if rest:
        expected[-1] = last + datagrams[-1][skip:]
    assert scene.gets(len(datagrams)) == expected


def test_again(scene: Scene) -> None:
    """
    A shorter last datagram leaves nothing behind for batches of the same kind, and
    each slot has batches of its own.
    """
    for rest, slot in ((3, 0), (0, 0), (60, 0), (0, 1), (3, 1), (0, 0)):
        datagrams = _datagrams(4, 80 + slot, rest)
        assert scene.sends(datagrams, 0, b"HEAD", b"LAST", slot)
        heads = [b"HEAD"] * 4 + [b"LAST"] * (rest > 0)
        pairs = zip(heads, datagrams, strict=True)
        assert scene.gets(len(datagrams)) == [head + each for head, each in pairs]


def test_many(scene: Scene) -> None:
    """
    More kinds of batches than are remembered are sent all the same.
    """
    for size in range(40, 140):
        assert scene.sends(_datagrams(3, size))
        assert scene.gets(3) == _datagrams(3, size)


def test_refused(scene: Scene) -> None:
    """
    What the kernel does not take is told, and nothing was sent.
    """
    scene.sock.close()
    assert not scene.sends(_datagrams(3, 40))


def test_source() -> None:
    """
    A batch leaves from the address that its control messages name.
    """
    scene = Scene(4)
    told = packedControls(
        [*ancillary.sourceControl(4, "127.0.0.9"), ancillary.segmentControl(40)]
    )
    scene.reader.data[:80] = bytes(80)
    name = packedName(4, scene.there)
    number = scene.sock.fileno()
    assert scene.sender.send(number, 0, 40, 2, 0, 0, b"", b"", name, told)
    assert [scene.peer.recvfrom(100)[1][0] for _ in "ab"] == ["127.0.0.9"] * 2
    scene.close()


def test_names() -> None:
    """
    A host of the other family, or none at all, is an error and no name to look up.
    """
    for family, host in ((4, "::1"), (6, "127.0.0.1"), (4, "localhost")):
        with pytest.raises(OSError):
            packedName(family, (host, 1))


def test_plainReader() -> None:
    """
    What is read one by one is not sent on as it is.
    """
    assert batchSender(PlainReader()) is None

"""
Reading many datagrams at a time gives what reading them one by one does.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from punchd.net import ancillary, receiving
from punchd.net.receiving import SLOTS, PlainReader, Read, Reader, reader
from tests.net.sockets import linux

pytestmark = linux

HOSTS = {4: "127.0.0.1", 6: "::1"}
Pair = tuple[socket.socket, socket.socket]


@pytest.fixture(params=[4, 6], name="family")
def _family(request: pytest.FixtureRequest) -> int:
    number: int = request.param
    return number


@pytest.fixture(name="pair")
def _pair(family: int) -> Iterator[Pair]:
    kind = ancillary.addressFamily(family)
    with (
        socket.socket(kind, socket.SOCK_DGRAM) as a,
        socket.socket(kind, socket.SOCK_DGRAM) as b,
    ):
        for each in (a, b):
            each.setblocking(False)
            each.bind((HOSTS[family], 0))
        yield a, b


def everything(each: Reader | PlainReader, sock: socket.socket, family: int) -> object:
    """
    @return: all that there is to be read.
    """
    select.select([sock], [], [], 5)
    found: list[Read] = []
    while True:
        try:
            found += each.read(sock, family, each.slots)
        except BlockingIOError:
            return found


def test_available() -> None:
    """
    The fast one is used where it is there.
    """
    assert isinstance(reader(), Reader)


@pytest.mark.parametrize("make", [reader, PlainReader])
def test_reads(pair: Pair, family: int, make: type[PlainReader]) -> None:
    """
    Every datagram, the empty and the greatest one too, with its source.
    """
    a, b = pair
    each = make()
    said = [b"first", b"", bytes(60000), *[b"%d" % n for n in range(2 * SLOTS)]]
    for data in said:
        a.sendto(data, b.getsockname())
    source = a.getsockname()[:2]
    assert everything(each, b, family) == [(d, len(d), b"", source) for d in said]


@pytest.mark.parametrize("make", [reader, PlainReader])
def test_batches(pair: Pair, family: int, make: type[PlainReader]) -> None:
    """
    What the kernel made one batch of comes with the size of its datagrams, to
    the address of ours that it names; what comes after it has a size of its own.
    """
    a, b = pair
    ancillary.coalesce(b)
    ancillary.askForDestination(b, family)
    size = [ancillary.segmentControl(1000)]
    a.sendmsg([bytes(2500)], size, 0, b.getsockname())
    a.sendto(b"single", b.getsockname())
    got: Any = everything(make(), b, family)
    (first, segment, one, _), (second, length, two, _) = got
    assert (len(first), segment) == (2500, 1000)
    assert (second, length) == (b"single", 6)
    assert ancillary.destination(family, one) == HOSTS[family]
    assert one == two


@pytest.mark.parametrize("make", [reader, PlainReader])
def test_overflow(pair: Pair, family: int, make: type[PlainReader]) -> None:
    """
    The kernel tells how many had no room.
    """
    a, b = pair
    each = make()
    b.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    ancillary.countOverflow(b)
    for _ in range(20):
        a.sendto(bytes(1000), b.getsockname())
    found = everything(each, b, family)
    assert isinstance(found, list)
    a.sendto(b"behind", b.getsockname())
    select.select([b], [], [], 5)
    each.read(b, family, 1)
    assert each.overflow == 20 - len(found) > 0


def test_errors(pair: Pair, family: int) -> None:
    """
    What the kernel has to tell instead is raised; what there is comes after it.
    """
    each = reader()
    with pytest.raises(BlockingIOError):
        each.read(pair[1], family, SLOTS)
    a, b = pair
    a.connect(b.getsockname())
    b.close()
    a.send(b"to nobody")
    select.select([a], [], [], 5)
    with pytest.raises(ConnectionRefusedError):
        each.read(a, family, SLOTS)


def test_manySources(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    What is remembered of sources is bounded.
    """
    monkeypatch.setattr(receiving, "_KEPT", 3)
    each = reader()
    assert isinstance(each, Reader)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.bind(("127.0.0.1", 0))
        for _ in range(10):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
                other.sendto(b"x", sock.getsockname())
                select.select([sock], [], [], 5)
                ((_, _, _, remote),) = each.read(sock, 4, SLOTS)
                assert remote == ("127.0.0.1", other.getsockname()[1])
    assert len(each.remotes) <= 3

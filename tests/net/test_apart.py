"""
Two queues for one address, in the kernel.
"""

from __future__ import annotations

import socket
from collections.abc import Generator
from typing import Any

import pytest
from twisted.internet import reactor as anyReactor
from twisted.internet.error import CannotListenError

from punchd.core import Address
from punchd.net.apart import divide
from punchd.net.udp import UDPPort

pytestmark = pytest.mark.skipif(
    not hasattr(socket, "SO_REUSEPORT"), reason="no SO_REUSEPORT"
)

reactor: Any = anyReactor


class Receiver:
    """
    Keeps what comes.
    """

    def __init__(self) -> None:
        self.received: list[bytes] = []

    def datagramReceived(self, data: bytes, local: Address, remote: Address) -> None:
        """
        Keep it.
        """
        self.received.append(data)


class Divided:
    """
    A divided port, read by hand.
    """

    def __init__(self, family: int) -> None:
        self.receivers = Receiver(), Receiver()
        first = UDPPort(reactor, self.receivers[0], family)  # type: ignore[arg-type]
        second = divide(first, reactor, self.receivers[1], (1, 3))
        assert second is not None
        self.ports = first, second
        self.socket = socket.socket(
            socket.AF_INET if family == 4 else socket.AF_INET6, socket.SOCK_DGRAM
        )
        host = "127.0.0.1" if family == 4 else "::1"
        self.address = (host, first.getHost()[1])

    def send(self, *datagrams: bytes) -> list[list[bytes]]:
        """
        @return: what each port got of these.
        """
        for each in datagrams:
            self.socket.sendto(each, self.address)
        for port in self.ports:
            port.doRead()
        return [each.received for each in self.receivers]

    def close(self) -> None:
        """
        Close all.
        """
        for port in self.ports:
            port.close()
        self.socket.close()


@pytest.fixture(name="divided", params=[4, 6])
def _divided(request: pytest.FixtureRequest) -> Generator[Divided, None, None]:
    """
    @return: one of each family.
    """
    try:
        made = Divided(request.param)
    except CannotListenError:
        pytest.skip("no IPv6 here")
    yield made
    made.close()


def test_byKind(divided: Divided) -> None:
    """
    The first two bytes decide, and whatever has none goes the usual way.
    """
    apart = [b"\0\1", b"\0\3 allocate", b"\0\1 binding"]
    others = [b"\0\4", b"\x40\0\0\1", b"\0", b"\1\1", b"\0\x16"]
    assert divided.send(*apart, *others) == [others, apart]


def test_pushesNothingOut(divided: Divided) -> None:
    """
    When the queue of the one is full, the other still takes something.
    """
    flood = [b"\0\1" + bytes(1000)] * 20000
    first, second = divided.send(*flood, b"\x40\0 data")
    assert first == [b"\x40\0 data"]
    assert 0 < len(second) < len(flood)


def test_nobodyElse(divided: Divided) -> None:
    """
    The address stays taken for whoever does not belong to it.
    """
    host, number = divided.ports[0].getHost()
    with pytest.raises(CannotListenError):
        UDPPort(
            reactor,
            Receiver(),  # type: ignore[arg-type]
            divided.ports[0].family,
            host,
            number,
        )


def test_otherPorts() -> None:
    """
    What is no socket of the kernel is left as it is.
    """
    assert divide(object(), reactor, Receiver(), (1,)) is None

"""
Where relayed addresses come from.
"""

from __future__ import annotations

import os
from typing import Any

import pytest
from twisted.internet.error import CannotListenError

from punchd.services.relayports import ATTEMPTS, LOOKS, RelayPorts

HOST = "203.0.113.10"


class _Port:
    """
    A port that is open.
    """

    def __init__(self, network: _Network, address: tuple[str, int]) -> None:
        self._network = network
        self._address = address

    def getHost(self) -> tuple[str, int]:
        """
        @return: where it is bound.
        """
        return self._address

    def close(self) -> None:
        """
        Let others have it.
        """
        self._network.taken.discard(self._address[1])


class _Network:
    """
    @ivar taken: the ports that somebody has.
    @ivar tried: how often one was asked for.
    """

    entropy = staticmethod(os.urandom)

    def __init__(self) -> None:
        self.taken: set[int] = set()
        self.tried = 0

    def listenDatagram(self, receiver: Any, family: int, host: str, port: int) -> _Port:
        """
        @return: a port.
        """
        self.tried += 1
        if port in self.taken:
            raise CannotListenError(host, port, OSError())
        self.taken.add(port)
        return _Port(self, (host, port))


def _ports(low: int, high: int) -> tuple[RelayPorts, _Network]:
    network = _Network()
    receiver: Any = None
    return RelayPorts(network, receiver, {4: HOST}, low, high), network


@pytest.mark.parametrize(("low", "high"), [(50000, 50010), (50001, 50100), (7, 7)])
def test_everyPort(low: int, high: int) -> None:
    """
    As many as there are can be had, and no more, whatever chance has it; what was
    given back can be had again.
    """
    ports, _ = _ports(low, high)
    found = [ports.open(4) for _ in range(low, high + 1)]
    assert sorted(each[1] for each in found if each) == list(range(low, high + 1))
    assert ports.open(4) is None
    ports.close((HOST, high))
    assert ports.open(4) == (HOST, high)


@pytest.mark.parametrize(("low", "high"), [(50000, 50010), (50001, 50008), (7, 8)])
def test_everyEvenPort(low: int, high: int) -> None:
    """
    The same holds for those that are even.
    """
    ports, _ = _ports(low, high)
    even = [each for each in range(low, high + 1) if each % 2 == 0]
    found = [ports.open(4, even=True) for _ in even]
    assert sorted(each[1] for each in found if each) == even
    assert ports.open(4, even=True) is None


def test_otherPeoplesPorts() -> None:
    """
    Where others have all of them, so many are tried and no more.
    """
    ports, network = _ports(40000, 60000)
    network.taken = set(range(40000, 60001))
    assert ports.open(4) is None
    assert network.tried == ATTEMPTS + LOOKS
    assert ports.open(6) is None and network.tried == ATTEMPTS + LOOKS


def test_wanted() -> None:
    """
    One that is asked for by number is given if it is free and in the range.
    """
    ports, network = _ports(50000, 50010)
    assert ports.open(4, number=50003) == (HOST, 50003)
    assert ports.open(4, number=50003) is None
    assert ports.open(4, number=50011) is None
    ports.full = True
    assert ports.open(4) is None and network.tried == 1

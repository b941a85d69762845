"""
One address for several processes, in the kernel.
"""

from __future__ import annotations

import socket
from typing import Any

import pytest
from twisted.internet import reactor as anyReactor
from twisted.internet.error import CannotListenError
from zope.interface import implementer

from punchd.interfaces import IDatagramReceiver
from punchd.net.sharing import possible, shareOut
from punchd.net.udp import UDPPort

pytestmark = pytest.mark.skipif(not possible(), reason="not Linux")

reactor: Any = anyReactor

#: Of clients; some reach each process.
_CLIENTS = 64
_DATA, _ASKED = (b"\x40\x00data", b"\x00\x16send"), (b"\x00\x01bind", b"\x00\x03allo")


@implementer(IDatagramReceiver)
class _Nobody:
    def datagramReceived(self, data: bytes, local: Any, remote: Any) -> None:
        """
        Not read here.
        """


def _taken(sockets: list[Any]) -> list[list[tuple[bytes, int]]]:
    """
    @return: the datagrams that wait at each socket, with the sender's port.
    """
    found = []
    for each in sockets:
        some: list[tuple[bytes, int]] = []
        while True:
            try:
                data, remote = each.recvfrom(100)
            except BlockingIOError:
                break
            some.append((data, remote[1]))
        found.append(some)
    return found


@pytest.mark.parametrize("family", [4, 6])
def test_sourcesMeetOneProcess(family):
    """
    Everything of one source comes to one process, what anybody may ask in a queue
    of its own; each process has some of the sources; nobody else gets the address.
    """
    host, kind = ("127.0.0.1", socket.AF_INET)
    if family == 6:
        host, kind = ("::1", socket.AF_INET6)
    port = UDPPort(reactor, _Nobody(), family, host)
    apart, others = shareOut(port, reactor, _Nobody(), (1, 3), 3)
    data = [port._socket, *(each[0] for each in others)]
    asked = [apart._socket, *(each[1] for each in others)]
    senders = [socket.socket(kind, socket.SOCK_DGRAM) for _ in range(_CLIENTS)]
    try:
        with pytest.raises(CannotListenError):
            UDPPort(reactor, _Nobody(), family, *port.getHost())
        for sender in senders:
            for each in (*_DATA, *_ASKED):
                sender.sendto(each, port.getHost())
        numbers = {each.getsockname()[1] for each in senders}
        met = []
        for some, requests in zip(_taken(data), _taken(asked), strict=True):
            sources = {number for _, number in some}
            assert sources == {number for _, number in requests}
            assert sorted(some) == sorted((d, n) for d in _DATA for n in sources)
            assert sorted(requests) == sorted((d, n) for d in _ASKED for n in sources)
            met.append(sources)
        assert all(met)
        assert set.union(*met) == numbers
        assert sum(len(each) for each in met) == _CLIENTS
    finally:
        for opened in (*senders, *(s for pair in others for s in pair)):
            opened.close()
        port.close()
        apart.close()

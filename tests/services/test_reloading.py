"""
What of a rendezvous is changed while it runs.
"""

from __future__ import annotations

import pickle
from types import SimpleNamespace
from typing import Any

from punchd.services.reloading import Exchangeable, exchange
from punchd.stun.message import Method
from punchd.turn.channeldata import channelData
from punchd.turn.guards import StaticUsers
from punchd.turn.limits import limitsOf
from punchd.turn.networks import PeerNetworks, parseNetwork
from punchd.turn.runs import RunServer
from tests.turn.link import CLIENT, OTHER, PEER, Link, Raw


class Running:
    """
    As much of a rendezvous as is changed.
    """

    def __init__(self, **users: str) -> None:
        self.users = Exchangeable(StaticUsers("users 1", users))
        self.peers = Exchangeable(PeerNetworks([], []))
        self.link = Link(make=RunServer, guards=[self.users], forbidden=self.peers)
        relay: Any = self.link.server
        self.relay: RunServer = relay
        driver = SimpleNamespace(call=lambda f, *args: f(*args, self.link.now))
        self.datagrams = SimpleNamespace(driver=driver)

    def change(self, denied: list[str], limits: dict[str, float], **users: str) -> None:
        """
        Let other users, networks or limits hold.
        """
        networks = [parseNetwork("--relay-deny", each) for each in denied]
        exchange(
            self,
            [(self.users, StaticUsers("users 1", users))],
            (self.peers, PeerNetworks([], networks)),
            limitsOf(limits),
        )


def test_users() -> None:
    """
    Who is not listed any more, or has another password, loses his address; others
    keep theirs, and a new one may come.
    """
    running = Running(ann="one", bob="two", cid="three")
    clients = {
        name: Raw(running.link, (CLIENT[0], port), name, password)
        for port, (name, password) in enumerate(
            [("ann", "one"), ("bob", "two"), ("cid", "three")], 40001
        )
    }
    for each in clients.values():
        each.allocate()
    assert len(running.relay.allocations()) == 3
    running.change([], {}, ann="one", cid="other", dora="four")
    left = [each.username for each in running.relay.allocations()]
    assert left == ["ann"]
    assert clients["ann"].code(Method.REFRESH) == 0
    assert clients["bob"].code(Method.REFRESH) == 401
    dora = Raw(running.link, OTHER, "dora", "four")
    dora.allocate()
    assert len(running.relay.allocations()) == 2


def test_networks() -> None:
    """
    What is denied from now on is reached no more, permitted or not.
    """
    running = Running(ann="one")
    ann = Raw(running.link, username="ann", password="one")
    ann.allocate()
    assert ann.bind(0x4001, PEER) == 0
    assert ann.send(channelData(0x4001, b"before"))
    running.change([f"{PEER[0]}/32"], {}, ann="one")
    assert not ann.send(channelData(0x4001, b"after"))
    assert running.relay.counters["no permission"] == 1
    assert ann.permit(PEER[0]) == 403
    running.change([], {}, ann="one")
    assert ann.permit(PEER[0]) == 0
    assert ann.send(channelData(0x4001, b"again"))


def test_limits() -> None:
    """
    Limits hold for what lives already, without charging it for the past.
    """
    running = Running(ann="one")
    ann = Raw(running.link, username="ann", password="one")
    ann.allocate()
    assert ann.bind(0x4001, PEER) == 0
    data = channelData(0x4001, bytes(1000))
    for _ in range(200):
        assert ann.send(data)
    running.change([], {"user.packets": 10, "permissions": 1}, ann="one")
    passed = sum(bool(ann.send(data)) for _ in range(200))
    assert 0 < passed < 100
    assert running.relay.counters["dropped by user"] == 200 - passed
    assert ann.permit("192.0.2.200") == 508
    running.change([], {}, ann="one")
    assert all(ann.send(data) for _ in range(100))


def test_copied() -> None:
    """
    Another process gets a copy.
    """
    peers = Exchangeable(PeerNetworks([], [parseNetwork("", "192.0.2.0/24")]))
    copied = pickle.loads(pickle.dumps(peers))
    assert copied("192.0.2.1")
    assert not copied("198.51.100.1")

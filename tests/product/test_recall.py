"""
What is remembered of a network spares to find it out: how far openers go, and how its
relay is reached.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from punchd.services.memory import AGE, Memory, Network
from punchd.testing.pair import Pair
from tests.product.talk import firstByte, product, until

_A, _B = "198.51.100.0/24", "192.0.2.0/24"


class File:
    """
    The file of a state folder; both clients have the same here.
    """

    def __init__(self, *networks: Network) -> None:
        self.content: bytes | None = None
        self.time = 1e9
        if networks:
            memory = self.memory()
            for network in networks:
                memory.noteNetwork(network)
            memory.save()

    def memory(self) -> Memory:
        """
        @return: one that begins with what the file has.
        """
        return Memory(lambda: self.time, lambda: self.content, self._save)

    def _save(self, content: bytes) -> None:
        self.content = content

    def has(self) -> dict[str, dict[str, Any]]:
        """
        @return: what the file has of networks, by prefix.
        """
        assert self.content is not None
        return {each["prefix"]: each for each in json.loads(self.content)["networks"]}


def restart(pair: Pair, file: File) -> None:
    """
    Start both clients anew, until they are registered and not a moment longer.
    """
    for client in (pair.a, pair.b):
        pair.network.runUntil(client.stopService(), 10.0)
    pair.network.advance(5.0)
    pair.options["memory"] = file.memory()
    pair.b = pair.startClient(pair.scenario.hostB, pair.identityB)
    pair.a = pair.startClient(pair.scenario.hostA, pair.identityA)
    for client in (pair.a, pair.b):
        pair.network.runUntil(client.whenRegistered(), 10.0)


def untilRelayed(pair: Pair) -> float:
    """
    @return: seconds from the dial until a relay carries the session.
    """
    began = pair.clock.seconds()
    firstByte(pair)
    until(pair, lambda: pair.kinds() == ("relayed", "relayed"), 10.0)
    return pair.clock.seconds() - began


def test_relay() -> None:
    """
    A client that was started anew where UDP is blocked goes to its relay over TCP at
    once, before it can know that; it has learnt so itself.
    """
    file = File()
    options = {"memory": file.memory()}
    with product("udpblocked", "udpblocked", seen=False, options=options) as pair:
        untilRelayed(pair)
        pair.network.advance(5.0)
        assert [file.has()[prefix]["relay"] for prefix in (_A, _B)] == ["tcp", "tcp"]
        restart(pair, File())
        slow = untilRelayed(pair)
        restart(pair, file)
        fast = untilRelayed(pair)
        assert fast < slow - 0.2


def test_udpAgain() -> None:
    """
    Where the rendezvous answers over UDP it is preferred, whatever was before; and
    that is what is remembered then.
    """
    file = File(Network(_A, relay="tcp"), Network(_B, relay="tls through a proxy"))
    options = {"memory": file.memory()}
    with product("symmetric", "symmetric", options=options) as pair:
        untilRelayed(pair)
        for client in (pair.a, pair.b):
            assert client.context.relay is not None
            assert client.context.relay.way is not None
            assert client.context.relay.way.kind == "udp"
        pair.network.advance(5.0)
        assert [file.has()[prefix]["relay"] for prefix in (_A, _B)] == ["udp", "udp"]


def test_openerTtl() -> None:
    """
    The hop limit of openers is remembered; what is measured takes its place.
    """
    file = File(Network(_A, openerTtl=5))
    options = {"memory": file.memory()}
    with product("portrestricted", "cgnat", options=options) as pair:
        pair.network.advance(30.0)
        assert file.has()[_A]["openerTtl"] == 2
        assert file.has()[_B]["openerTtl"] == 3


@pytest.mark.parametrize(("age", "ttl"), [(0.0, 5), (AGE + 1.0, 3)])
def test_silentRouters(age: float, ttl: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Where nothing can be measured, what was remembered is good for a month.
    """
    file = File(Network(_A, openerTtl=5))
    file.time += age
    options = {"memory": file.memory()}
    listen = "punchd.testing.host.Host.listenHops"
    monkeypatch.setattr(listen, lambda self, receiver, family: None)
    with product("portrestricted", "portrestricted", options=options) as pair:
        assert pair.a.context.openerTtl == ttl
        assert pair.b.context.openerTtl == 3


def test_pair() -> None:
    """
    What got through between two networks is noted with both.
    """
    file = File()
    options = {"memory": file.memory()}
    with product("portrestricted", "sequential", options=options) as pair:
        untilRelayed(pair)
        until(pair, lambda: pair.kinds() == ("direct", "direct"), 10.0)
        pair.network.advance(5.0)
        assert file.content is not None
        lessons = json.loads(file.content)["pairs"]
        found = {(each["ours"], each["openerTtl"], each["relay"]) for each in lessons}
        assert found == {(_A, 2, "udp"), (_B, 2, "udp")}


def test_ofThePair(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Where nothing is known of the network alone, what got through between the two
    tells how far openers went.
    """
    listen = "punchd.testing.host.Host.listenHops"
    monkeypatch.setattr(listen, lambda self, receiver, family: None)
    memory = File().memory()
    with product("portrestricted", "sequential", options={"memory": memory}) as pair:
        untilRelayed(pair)
        until(pair, lambda: pair.kinds() == ("direct", "direct"), 10.0)
        lesson = memory.lesson(_A, _B)
        assert lesson is not None
        assert lesson.openerTtl == 3
        lesson.openerTtl = 4
        assert pair.a.context.lessons is not None
        pair.a.context.lessons.recall(["192.0.2.10"])
        assert pair.a.context.openerTtl == 4

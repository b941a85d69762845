"""
A session with oneself, in memory.

What a process does for the first time takes it long: OpenSSL and the QUIC
library prepare what they need, and the interpreter its byte code.  The first
dial of a user, at either end, should not pay for that.
"""

from __future__ import annotations

import os
from functools import cache
from typing import Any

from twisted.internet.protocol import Protocol
from twisted.logger import Logger

from punchd.core import Address
from punchd.ice.agent import Agent
from punchd.ice.candidate import hostCandidate
from punchd.ice.credentials import makeCredentials
from punchd.identity import Identity
from punchd.signaling.offer import Answer, Offer, hashOf

from .auth import Dial
from .mux import Streams
from .quic import VIRTUAL, QuicCore
from .stream import Stream

_DIAL = "0" * 24
_NONCE = bytes(16)
_HERE: Address = ("198.51.100.1", 4000)
_THERE: Address = ("203.0.113.1", 4000)
_ROUNDS = 8


_log = Logger()


class _Echo(Protocol):
    def dataReceived(self, data: bytes) -> None:
        transport: Any = self.transport
        transport.write(data)


class _Collector(Protocol):
    def __init__(self) -> None:
        self.received = b""

    def dataReceived(self, data: bytes) -> None:
        self.received += data


@cache
def rehearse() -> None:
    """
    Do once what a dial and its answer do: some 30 ms of work, or nothing when it
    was done before.
    """
    identity = Identity.create()
    try:
        exchangeOffers(identity)
        exchangeChecks()
        exchangeBytes(identity)
    except Exception:
        # The dials to come may know better.
        _log.failure("The rehearsal of a session failed")


def exchangeOffers(identity: Identity) -> None:
    """
    Sign and open an offer and its answer.
    """
    us = identity.peerId
    common: dict[str, Any] = {
        "sender": us,
        "recipient": us,
        "dialId": _DIAL,
        "time": 0.0,
        "candidates": [hostCandidate(_HERE).toDict()],
        "incarnation": "rehearsal",
        "ufrag": "rehearsal",
        "password": "0" * 24,
    }
    offer = Offer(**common).seal(identity)
    Offer.open(offer, expectedSender=us, expectedRecipient=us, wallTime=0.0)
    answer = Answer(**common, nonce=_NONCE.hex(), offerHash=hashOf(offer))
    Answer.open(
        answer.seal(identity),
        expectedSender=us,
        expectedRecipient=us,
        offer=offer,
        dialId=_DIAL,
    )


def exchangeChecks() -> bool:
    """
    Check the one pair that two ICE agents have.

    @return: whether it is valid on both sides.
    """
    agents = {}
    for address, controlling in ((_HERE, True), (_THERE, False)):
        agents[address] = agent = Agent(
            controlling=controlling,
            credentials=makeCredentials(os.urandom),
            tieBreaker=0,
            entropy=os.urandom,
        )
        agent.addLocalCandidate(hostCandidate(address), 0.0)
    for here, there in ((_HERE, _THERE), (_THERE, _HERE)):
        agents[here].setRemoteCredentials(agents[there].credentials, 0.0)
        agents[here].addRemoteCandidate(hostCandidate(there), 0.0)
    for _ in range(_ROUNDS):
        for here, there in ((_HERE, _THERE), (_THERE, _HERE)):
            for each in agents[here].takeDatagrams():
                agents[there].datagramReceived(each.data, there, here, 0.0)
            agents[here].takeEvents()
    return all(agent.validPairs for agent in agents.values())


def exchangeBytes(identity: Identity) -> bytes:
    """
    Open a stream and send a byte, which is sent back.

    @return: what came back.
    """
    cores = QuicCore.client(), QuicCore.server(identity)
    dial = Dial(identity.peerId, identity.peerId, _DIAL, _NONCE)
    ends = []
    for core in cores:
        streams = Streams(
            core,
            clock=lambda: 0.0,
            wake=lambda: None,
            identity=identity,
            peerId=identity.peerId,
        )
        streams.authenticate(dial)
        ends.append(streams)

    def opened(service: str, stream: Stream) -> None:
        stream.accept(_Echo())

    ends[1].onIncoming = opened
    cores[0].start(0.0)
    collector = _Collector()
    ends[0].openStream("rehearsal", collector).write(b"x")
    for number in range(_ROUNDS):
        now = number / 1000
        for core, other, streams in (
            (cores[0], cores[1], ends[1]),
            (cores[1], cores[0], ends[0]),
        ):
            for each in core.takeDatagrams():
                other.datagramReceived(each.data, VIRTUAL, VIRTUAL, now)
            for event in other.takeEvents():
                streams.eventReceived(event)
            other.timeReached(now)
    return collector.received

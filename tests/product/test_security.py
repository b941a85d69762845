"""
What strangers, thieves and liars get: nothing, and nothing is sent for them.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from zope.interface import implementer

from punchd.core import Address, Datagram
from punchd.errors import NotAllowed, PeerUnavailable
from punchd.forward.publish import Publisher
from punchd.forward.rules import Allowance, Allowances
from punchd.identity import Identity
from punchd.interfaces import IDatagramReceiver
from punchd.services.client import PunchClient
from punchd.signaling.observation import Observed
from punchd.signaling.offer import Offer
from punchd.stun.attributes import Attribute
from punchd.stun.message import Method, parse, request
from punchd.testing.packet import Packet
from punchd.testing.pair import Pair

from .talk import failure, firstByte, product, talk

STRANGER = "192.0.2.200"
KIND = "portrestricted"


@contextmanager
def stranger(pair: Pair) -> Generator[PunchClient, None, None]:
    """
    A client that C{pair.b} does not allow, on a host of its own.
    """
    host = pair.network.addHost("stranger", STRANGER)
    client = pair.startClient(host, Identity.create())
    pair.network.runUntil(client.whenRegistered(), 10.0)
    pair.network.runUntil(lambda: client.gathering.mapped, 10.0)
    pair.network.advance(1.0)
    yield client
    pair.network.runUntil(client.stopService(), 10.0)


def refusal(pair: Pair, waiting: Deferred[Any]) -> tuple[Exception, float]:
    """
    @return: why it failed, and after how many seconds.
    """
    caught: list[Any] = []
    waiting.addErrback(caught.append)
    began = pair.clock.seconds()
    pair.network.runUntil(lambda: caught, 30.0)
    return caught[0].value, pair.clock.seconds() - began


def sentTo(pair: Pair, host: str) -> Any:
    """
    @return: a capture of the UDP packets that C{b} sends to a host.
    """
    return pair.network.capture(
        "sent",
        matches=lambda r: r.where == "hostB" and r.destination[0] == host,
    )


def test_notAllowed() -> None:
    """
    A dial from a peer that is not allowed is refused: no address of the callee
    reaches the dialler, and nothing is sent to the dialler's addresses.
    """
    with product(KIND, KIND) as pair, stranger(pair) as client:
        toStranger = sentTo(pair, STRANGER)
        seen = pair.network.capture("received", matches=lambda r: r.where == "stranger")
        reason, _ = refusal(pair, client.open(pair.identityB.peerId, "echo"))
        pair.network.advance(10.0)
        assert type(reason) is PeerUnavailable
        assert toStranger.stop() == []
        assert client.peers.sessions == pair.b.peers.sessions == {}
        came = [r.source[0] for r in seen.stop() if r.protocol == "udp"]
        assert set(came) <= {"203.0.113.10", "203.0.113.11"}
        [ended] = client.peers.ended.values()
        agent = ended.carrier.agent
        assert agent is None or agent.remoteCandidates == []


def test_refusalsLookAlike() -> None:
    """
    Refused, offline and unknown are one error, and take one time.
    """
    with product(KIND, KIND) as pair, stranger(pair) as client:
        found = [refusal(pair, client.open(pair.identityB.peerId, "echo"))]
        found.append(refusal(pair, client.open(Identity.create().peerId, "echo")))
        pair.network.runUntil(pair.b.stopService(), 10.0)
        found.append(refusal(pair, client.open(pair.identityB.peerId, "echo")))
        assert {type(reason) for reason, _ in found} == {PeerUnavailable}
        assert len({str(reason) for reason, _ in found}) == 1
        took = [seconds for _, seconds in found]
        assert max(took) - min(took) < 0.001


def record(pair: Pair) -> list[tuple[Any, ...]]:
    """
    Keep what is asked of C{b} from now on, as somebody who reads along at the
    rendezvous could.
    """
    kept: list[tuple[Any, ...]] = []
    incoming = pair.b.peers.incoming

    def keep(*arguments: Any) -> Any:
        kept.append(arguments)
        return incoming(*arguments)

    pair.b.peers.incoming = keep  # type: ignore
    return kept


def test_replayed() -> None:
    """
    An offer that comes a second time, during the session or after it, is
    refused, and nothing is sent.
    """
    with product(KIND, KIND, options={"linger": 5.0}) as pair:
        kept = record(pair)
        words = talk(pair)
        pair.network.advance(2.0)
        [offered] = kept
        session = pair.b.peers.sessions[pair.identityA.peerId]
        with pytest.raises(PeerUnavailable):
            pair.b.peers.incoming(*offered)
        assert pair.b.peers.sessions[pair.identityA.peerId] is session
        words.finish()
        pair.network.runUntil(pair.a.stopService(), 10.0)
        pair.network.advance(10.0)
        sent = pair.network.capture("sent", matches=lambda r: r.where == "hostB")
        with pytest.raises(PeerUnavailable):
            pair.b.peers.incoming(*offered)
        assert pair.b.peers.sessions == {}
        assert sent.stop() == []
        pair.network.advance(300.0)
        with pytest.raises(PeerUnavailable):
            pair.b.peers.incoming(*offered)


def test_replayedThroughTheRendezvous() -> None:
    """
    A stranger who has got hold of an offer cannot use it: it was signed by
    somebody else.
    """
    with product(KIND, KIND) as pair, stranger(pair) as client:
        kept = record(pair)
        firstByte(pair)
        _, dialId, offer, flight, _ = kept[0]
        toStranger = sentTo(pair, STRANGER)
        dialled = client.links.dial(pair.identityB.peerId, dialId, offer, flight)
        reason, _ = refusal(pair, dialled)
        assert type(reason) is PeerUnavailable
        pair.network.advance(5.0)
        assert toStranger.stop() == []


def test_strangersGetNoMemory() -> None:
    """
    However many offers strangers send, those of peers are taken.
    """
    with product("open", "open") as pair:
        peers = pair.b.peers
        for number in range(40):
            identity = Identity.create()
            offer = Offer(
                sender=identity.peerId,
                recipient=pair.identityB.peerId,
                dialId=f"{number:024x}",
                time=pair.b.context.wallClock(),
                candidates=[],
                incarnation="0" * 16,
                ufrag="ufrag",
                password="p" * 24,
                rtt=0.05,
            )
            with pytest.raises(PeerUnavailable):
                peers.incoming(
                    identity.peerId, offer.dialId, offer.seal(identity), [], []
                )
        assert len(peers._replays) == 0
        firstByte(pair)
        assert len(peers._replays) == 1


def test_strangersObservedNowhere() -> None:
    """
    A Binding request with a victim's source address, a valid handle and a
    valid signature, but no nonce that was sent there: the address does not
    count, and dials make nobody send to it.
    """
    victim = ("192.0.2.250", 4444)
    with product(KIND, "open") as pair:
        pair.network.addHost("victim", victim[0])
        registration = pair.a.links._links[0].registration
        assert registration is not None
        forged = [None, b"12345678", nonceOf(pair, registration)]
        answers = pair.network.capture(
            "sent", matches=lambda r: r.destination[0] == victim[0]
        )
        for nonce in forged:
            message = request(
                Method.BINDING, bytes(12), (Attribute.USERNAME, registration.handle)
            )
            if nonce is not None:
                message.add(Attribute.NONCE, nonce)
            data = message.serialize(key=registration.key)
            deliver(pair, data, victim)
        pair.network.advance(1.0)
        assert [r.where for r in answers.records] == ["rendezvous"] * 3
        assert all(len(r.payload) <= 80 for r in answers.stop())
        presence = pair.rendezvous.directory.presenceOf(registration.handle)
        assert presence is not None
        seen = presence.sightings.addresses(pair.clock.seconds())
        assert victim not in seen
        assert seen != []
        toVictim = sentTo(pair, victim[0])
        firstByte(pair)
        pair.network.advance(10.0)
        assert toVictim.stop() == []


@implementer(IDatagramReceiver)
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


def nonceOf(pair: Pair, registration: Any) -> bytes:
    """
    @return: a nonce that is good, for another address of the same client.
    """
    receiver = Receiver()
    port = pair.scenario.hostA.listenDatagram(receiver, 4, "", 0)
    observed = Observed(
        [registration.stun[0]],
        registration.handle,
        registration.key,
        pair.scenario.hostA.entropy,
    )
    observed.timeReached(pair.clock.seconds())
    for datagram in observed.takeDatagrams():
        port.send(Datagram(datagram.data, None, registration.stun[0]))
    pair.network.advance(0.2)
    port.close()
    [data] = receiver.received
    nonce = parse(data).get(Attribute.NONCE)
    assert isinstance(nonce, bytes)
    return nonce


def deliver(pair: Pair, data: bytes, source: Address) -> None:
    """
    Put a packet with a forged source on the internet.
    """
    size = 28 + len(data)
    packet = Packet("udp", source, ("203.0.113.10", 3478), data, size)
    pair.scenario.rendezvous.receive(packet, None)


@pytest.mark.parametrize("service", ["secret", "nothing"])
def test_refusedStreams(service: str) -> None:
    """
    A service that is not allowed or not there is refused with the reason, at
    the dialler.
    """
    with product(KIND, KIND) as pair:
        pair.b.peers.publish = Publisher(pair.scenario.hostB, [])
        pair.b.peers.permissions = Allowances(
            [Allowance(pair.identityA.peerId, "nothing")]
        )
        opened = pair.a.open(pair.identityB.peerId, service)
        stream = pair.network.runUntil(opened, 10.0)
        reason, _ = refusal(pair, stream.whenOpen())
        wanted = {"secret": "NotAllowed", "nothing": "NoSuchService"}
        assert type(reason).__name__ == wanted[service]


def test_permissionRemoved() -> None:
    """
    Removing the permission of a service ends its streams and no others;
    removing that of the peer ends the session, and the next dial is refused.
    """
    with product(KIND, KIND) as pair:
        peer = pair.identityA.peerId
        pair.services.made["other"] = pair.services.made["echo"]
        allowances = Allowances([Allowance(peer, "echo"), Allowance(peer, "other")])
        pair.b.peers.permissions = allowances
        _, gone, _ = firstByte(pair)
        stays, kept = pair.open("other")
        stays.write(b"1")
        pair.network.runUntil(kept.whenReceived(1), 5.0)
        allowances.replace([Allowance(peer, "other")])
        pair.b.peers.permissionsChanged()
        pair.network.runUntil(lambda: gone.reason, 5.0)
        stays.write(b"2")
        pair.network.runUntil(kept.whenReceived(2), 5.0)
        allowances.replace([])
        pair.b.peers.permissionsChanged()
        pair.network.runUntil(lambda: kept.reason, 5.0)
        pair.network.advance(2.0)
        assert pair.a.peers.sessions == pair.b.peers.sessions == {}
        assert type(failure(pair)) is PeerUnavailable


def test_permissionOfADialledPeer() -> None:
    """
    Who dials a peer does not thereby let it use services; and what a peer was
    allowed ends on a session that we dialled, while ours goes on.
    """
    with product(KIND, KIND) as pair:
        peer = pair.identityB.peerId
        pair.a.peers.publish = pair.services
        allowances = Allowances([])
        pair.a.peers.permissions = allowances
        stream, collector, _ = firstByte(pair)
        opened = pair.b.open(pair.identityA.peerId, "echo")
        theirs = pair.network.runUntil(opened, 5.0)
        reason, _ = refusal(pair, theirs.whenOpen())
        assert type(reason) is NotAllowed
        allowances.replace([Allowance(peer, None)])
        theirs = pair.network.runUntil(pair.b.open(pair.identityA.peerId, "echo"), 5.0)
        pair.network.runUntil(theirs.whenOpen(), 5.0)
        allowances.replace([])
        pair.a.peers.permissionsChanged()
        pair.network.runUntil(lambda: theirs.disconnected, 5.0)
        stream.write(b"6")
        pair.network.runUntil(collector.whenReceived(6), 5.0)

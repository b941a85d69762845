"""
A client's way to its rendezvous.
"""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from twisted.internet.defer import CancelledError, maybeDeferred
from twisted.internet.protocol import Factory, Protocol

from punchd.errors import (
    CertificateRejected,
    FingerprintMismatch,
    InvalidOption,
    RendezvousUnreachable,
)
from punchd.net.tls import ServerCredentials
from punchd.signaling.url import RendezvousURL
from punchd.testing.results import assertNoResult, failureResultOf, successResultOf
from tests.services.meeting import IDENTITIES, Client, Meeting


def refusalOf(meeting: Meeting, client: Client, failures: int = 1) -> str:
    """
    @return: why a client does not get registered.
    """
    waiting = client.link.whenRegistered(failAfterFailures=failures)
    with pytest.raises(Exception) as caught:
        meeting.network.runUntil(waiting)
    return f"{type(caught.value).__name__}: {caught.value}"


# --- the way there


def test_registered(meeting: Meeting) -> None:
    """
    Three round trips after the start: TCP, TLS, registration.
    """
    alice = meeting.addClient(1)
    registration = meeting.network.runUntil(alice.link.whenRegistered())
    assert meeting.network.clock.seconds() == pytest.approx(3 * 0.05, abs=0.001)
    assert alice.link.registered
    assert registration.stun == (("203.0.113.10", 3478),)
    assert registration.alternate == (("203.0.113.11", 3478),)
    assert registration.observedHost == alice.host.sourceFor("203.0.113.10")
    assert not registration.resumed
    assert alice.named("onRegistered") == [(registration,)]


def test_nextPortAfterItsHeadStart(meeting: Meeting) -> None:
    """
    A firewall that lets only port 443 pass costs 300 ms.
    """
    alice = meeting.addClient(1, kind="tcp443")
    meeting.network.runUntil(alice.link.whenRegistered())
    assert meeting.network.clock.seconds() == pytest.approx(0.45, abs=0.01)


def test_nextPortAfterARefusal(meeting: Meeting) -> None:
    """
    A port that nobody listens on costs a round trip.
    """
    url = RendezvousURL("203.0.113.10", (1, 2, 443), meeting.url.fingerprint)
    alice = meeting.addClient(1, url)
    meeting.network.runUntil(alice.link.whenRegistered())
    assert meeting.network.clock.seconds() == pytest.approx(0.25, abs=0.01)


def test_hostName(meeting: Meeting) -> None:
    """
    The host may be a name.
    """
    meeting.network.names["meet.example"] = ["203.0.113.10"]
    url = RendezvousURL("meet.example", (3478,), meeting.url.fingerprint)
    alice = meeting.addClient(1, url)
    meeting.network.runUntil(alice.link.whenRegistered())
    assert alice.link.registered


@pytest.mark.parametrize(
    ("host", "ports", "why"),
    [
        ("203.0.113.10", (1, 2), "TCP port 1 and 2, cannot be reached: connection was"),
        ("203.0.113.99", (3478,), "TCP port 3478, cannot be reached: no answer."),
        ("no.example", (3478,), "cannot be reached: the name is not known."),
    ],
)
def test_unreachable(
    meeting: Meeting, host: str, ports: tuple[int, ...], why: str
) -> None:
    """
    One sentence says what was tried and what came of it.
    """
    alice = meeting.addClient(1, RendezvousURL(host, ports, meeting.url.fingerprint))
    sentence = refusalOf(meeting, alice)
    assert sentence.startswith("RendezvousUnreachable: The rendezvous at " + host)
    assert why in sentence
    assert alice.named("onGaveUp") == []


@pytest.mark.parametrize("greeting", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
def test_somethingElseListens(meeting: Meeting, greeting: bytes) -> None:
    """
    A port on which something else answers is no rendezvous.
    """

    class Other(Protocol):
        def dataReceived(self, data: bytes) -> None:
            assert self.transport is not None
            self.transport.write(greeting)
            self.transport.loseConnection()

    factory: Any = Factory.forProtocol(Other)
    factory.noisy = False
    listening = meeting.host.reactor.listenTCP(99, factory)
    url = RendezvousURL("203.0.113.10", (99,), meeting.url.fingerprint)
    sentence = refusalOf(meeting, meeting.addClient(1, url))
    assert "TCP port 99, cannot be reached: " in sentence
    assert ("no TLS 1.3" if greeting else "during the handshake") in sentence
    meeting.network.runUntil(maybeDeferred(listening.stopListening))


def test_busy(meeting: Meeting) -> None:
    """
    A rendezvous that has taken the connection, but has no time, is not asked by
    another one of the same attempt.
    """
    connections: list[Any] = []

    class Busy(Protocol):
        def connectionMade(self) -> None:
            connections.append(self)

    factory: Any = Factory.forProtocol(Busy)
    factory.noisy = False
    ports = [meeting.host.reactor.listenTCP(port, factory) for port in (98, 99)]
    url = RendezvousURL("203.0.113.10", (98, 99), meeting.url.fingerprint)
    alice = meeting.addClient(1, url)
    waiting = alice.link.whenRegistered(failAfterFailures=1)
    meeting.network.advance(9.5)
    assert len(connections) == 2
    meeting.network.advance(1.0)
    failureResultOf(waiting, RendezvousUnreachable)
    for each in ports:
        meeting.network.runUntil(maybeDeferred(each.stopListening))


def test_waiting(meeting: Meeting) -> None:
    """
    Who waits may give up after some failures, or by himself; the others wait
    on.
    """
    meeting.network.runUntil(meeting.rendezvous.stopService())
    url = RendezvousURL("203.0.113.10", (3478,), IDENTITIES[0].peerId)
    alice = meeting.addClient(1, url)
    one = alice.link.whenRegistered(failAfterFailures=1)
    three = alice.link.whenRegistered(failAfterFailures=3)
    ever = alice.link.whenRegistered()
    cancelled = alice.link.whenRegistered()
    cancelled.cancel()
    failureResultOf(cancelled, CancelledError)
    meeting.network.advance(0.06)
    failureResultOf(one, RendezvousUnreachable)
    assertNoResult(three)
    meeting.network.advance(5)
    failureResultOf(three, RendezvousUnreachable)
    meeting.rendezvous.startService()
    meeting.network.advance(5)
    successResultOf(ever)


# --- who is there


def test_fingerprintMismatch(meeting: Meeting) -> None:
    """
    A rendezvous with another key than its URL says ends the link for good,
    with a sentence, before our own certificate was shown.
    """
    url = RendezvousURL("203.0.113.10", (3478, 443), IDENTITIES[3].peerId)
    alice = meeting.addClient(1, url)
    waiting = alice.link.whenRegistered()
    sentence = refusalOf(meeting, alice)
    assert sentence.startswith("FingerprintMismatch: The rendezvous at 203.0.113.10")
    assert IDENTITIES[0].peerId in sentence
    assert IDENTITIES[3].peerId in sentence
    meeting.network.advance(1)
    failureResultOf(waiting, FingerprintMismatch)
    failureResultOf(alice.link.whenRegistered(), FingerprintMismatch)
    assert len(alice.named("onGaveUp")) == 1
    assert meeting.attempts(alice, 3600) == 0
    assert meeting.rendezvous.counters["signaling: registered"] == 0


def test_fingerprintMismatchLater(meeting: Meeting) -> None:
    """
    Who was registered before keeps trying: a hotel's portal goes away.
    """
    (alice,) = meeting.join(1)
    meeting.network.runUntil(meeting.rendezvous.stopService())
    other = meeting.startRendezvous(credentials=ServerCredentials(IDENTITIES[4]))
    meeting.network.advance(60)
    assert not alice.link.registered
    assert alice.named("onGaveUp") == []
    failure = alice.link.lastFailure
    assert failure is not None
    assert failure.check(FingerprintMismatch)
    meeting.network.runUntil(other.stopService())
    meeting.rendezvous.startService()
    meeting.network.runUntil(alice.link.whenRegistered())


def issue(name: str, folder: Path) -> tuple[bytes, str]:
    """
    @return: a certificate with its key, and the path of its authority's.
    """
    now = datetime.datetime.now(datetime.timezone.utc)
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    names = [
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, each)])
        for each in ("an authority", name)
    ]
    made = []
    for index in range(2):
        builder = (
            x509.CertificateBuilder()
            .subject_name(names[index])
            .issuer_name(names[0])
            .public_key(keys[index].public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(index == 0, None), True)
        )
        if index:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([x509.DNSName(name)]), False
            )
        made.append(builder.sign(keys[0], hashes.SHA256()))
    pem = [each.public_bytes(serialization.Encoding.PEM) for each in made]
    key = keys[1].private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path = folder / "authority.pem"
    path.write_bytes(pem[0])
    return key + pem[1], str(path)


def test_authority(meeting: Meeting, tmp_path: Path) -> None:
    """
    Without a fingerprint the certificate has to be one for the host's name,
    by an authority that the client trusts.
    """
    pem, authorities = issue("meet.example", tmp_path)
    meeting.network.runUntil(meeting.rendezvous.stopService())
    meeting.rendezvous = meeting.startRendezvous(
        credentials=ServerCredentials(None, pem)
    )
    url = meeting.url
    assert str(url) == "punch://meet.example:3478,443"
    meeting.network.names["meet.example"] = ["203.0.113.10"]
    meeting.network.names["other.example"] = ["203.0.113.10"]
    good = meeting.addClient(1, url, authorities=authorities)
    meeting.network.runUntil(good.link.whenRegistered())
    misnamed = RendezvousURL("other.example", (3478,))
    sentence = refusalOf(
        meeting, meeting.addClient(2, misnamed, authorities=authorities)
    )
    assert sentence.startswith("CertificateRejected: The certificate of the rendez")
    assert "not for other.example" in sentence
    stranger = meeting.addClient(3, url)
    assert refusalOf(meeting, stranger).startswith("CertificateRejected: Nobody whom")
    meeting.network.advance(1)
    failureResultOf(stranger.link.whenRegistered(), CertificateRejected)


def test_renewedCertificate(meeting: Meeting, tmp_path: Path) -> None:
    """
    A certificate that was renewed is shown to who comes from then on; one for another
    name, or another key where the key is what clients know, is not taken.
    """
    first, _ = issue("meet.example", tmp_path)
    credentials = ServerCredentials(None, first)
    meeting.network.runUntil(meeting.rendezvous.stopService())
    meeting.rendezvous = meeting.startRendezvous(credentials=credentials)
    url = meeting.url
    meeting.network.names["meet.example"] = ["203.0.113.10"]
    second, authorities = issue("meet.example", tmp_path)
    assert refusalOf(
        meeting, meeting.addClient(1, url, authorities=authorities)
    ).startswith("CertificateRejected")
    renewed = ServerCredentials(None, second)
    credentials.become(renewed)
    assert meeting.rendezvous.certificateExpires == renewed.expires is not None
    good = meeting.addClient(2, url, authorities=authorities)
    meeting.network.runUntil(good.link.whenRegistered())
    other, _ = issue("other.example", tmp_path)
    for mine, theirs in (
        (credentials, ServerCredentials(None, other)),
        (ServerCredentials(IDENTITIES[0]), ServerCredentials(IDENTITIES[1])),
    ):
        with pytest.raises(InvalidOption, match="another name or key"):
            mine.become(theirs)

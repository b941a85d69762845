"""
Attacks on the whole product: forged sources, replayed offers, dials that are not
allowed, boxes without an end.
"""

from __future__ import annotations

import os
import socket
import time
from contextlib import ExitStack

import pytest

from punchd.identity import Identity
from punchd.signaling.commands import Bye
from punchd.stun.attributes import Attribute
from punchd.stun.message import Method, request

from .attacker import Attacker, shakeHands
from .probing import udp
from .starting import startedRendezvous
from .transfers import MB, Memory

#: Who is to be flooded: a host of the public network that asked for nothing.
_VICTIM = "198.51.100.77"

#: The largest answers to unproven sources, in bytes: Binding, and 401 of the relay.
_MOST = {80, 112}

#: What the rendezvous may grow by in an attack, in bytes.
_SLACK = 8 * MB


@pytest.fixture
def mallory():
    """
    An identity that B allows.
    """
    return Identity.create()


@pytest.fixture
def running(product, mallory):
    """
    The product; B allows Mallory, and everybody's packets reach its socket.
    """
    made = product(
        "portrestricted",
        "fullcone",
        b=["--publish=echo=tcp:127.0.0.1:7", f"--allow={mallory.peerId}"],
        delay=0,
    )
    public = made.lab.public
    public.run(["ip", "address", "add", f"{_VICTIM}/32", "dev", "lo"], check=True)
    return made


@pytest.fixture
def attack(running):
    """
    C{attack(identity)} registers somebody in the public network.
    """
    with ExitStack() as stack:

        def make(identity):
            opened = running.lab.public.socket(socket.AF_INET, socket.SOCK_STREAM)
            made = Attacker(opened, running.url, identity)
            stack.callback(made.close)
            return made

        yield make


def _of(packets, destination):
    return [p for p in packets if p.protocol == "udp" and p.destination == destination]


def _messages(data):
    """
    @return: the STUN messages that left as one batch (GSO), which is seen whole.
    """
    while data:
        end = 20 + int.from_bytes(data[2:4], "big")
        yield data[:end]
        data = data[end:]


def _forgeries(attacker, nonce):
    """
    @return: requests that may make somebody answer to the source: of strangers,
        and of one who has registered and proven another address.
    """

    def made(method, *attributes):
        return request(method, os.urandom(12), *attributes).serialize()

    binding = Method.BINDING
    return [
        made(binding),
        made(binding, (Attribute.CHANGE_REQUEST, 6)),
        made(binding, (Attribute.RESPONSE_PORT, 4001)),
        made(binding, (Attribute.USERNAME, "nobody")),
        made(Method.ALLOCATE, (Attribute.REQUESTED_TRANSPORT, 17)),
        attacker.binding(),
        attacker.binding(nonce),
        attacker.binding(os.urandom(8)),
    ]


@pytest.mark.timeout(90)
def test_forgedSource(running, attack, mallory):
    """
    Packets that seem to come from a victim make the rendezvous answer with small
    messages, no more than it was asked; nobody takes the victim's address for
    that of a peer and punches towards it.
    """
    lab, public = running.lab, running.lab.public
    attacker = attack(mallory)
    own, victim = udp(public, "203.0.113.1"), udp(public, _VICTIM, 4000)
    watch = lab.capture(public, _VICTIM)
    nonce = attacker.prove(own)
    targets = [attacker.server]
    for address in running.status("b")["nat"]["publicAddresses"]:
        host, _, port = address.rpartition(":")
        targets.append((host, int(port)))
    assert len(targets) > 1

    sent = []
    for _ in range(50):
        for data in _forgeries(attacker, nonce):
            for target in targets:
                victim.sendto(data, target)
                sent.append(data)
    before = lab.capture(public, "203.0.113.1")
    answer = attacker.dial(running.ids["b"], attacker.offer(running.ids["b"]))
    assert answer["answer"]
    packets = watch.packets(wait=5.0)

    # It can fail: what was proven is punched at.
    punches = _of(before.packets(), own.getsockname())
    assert any(p.source[0] == lab.hostB.public[0] for p in punches)
    answers = [p for p in packets if p.destination[0] == _VICTIM]
    assert answers
    assert {p.source[0] for p in answers} <= set(lab.rendezvous.public)
    assert {p.protocol for p in answers} == {"udp"}
    messages = [each for p in answers for each in _messages(p.data)]
    assert max(map(len, messages)) <= max(_MOST)
    assert len(messages) <= len(sent) / len(targets)
    assert _VICTIM not in running.log("b").read_text()
    assert _VICTIM not in running.log("a").read_text()


@pytest.mark.timeout(90)
def test_refusedDials(running, attack, mallory):
    """
    An offer that was used, is old, is another's or is meant for another is refused
    as if B were not there, and so is a peer that is not allowed; B sends nothing
    to who was refused.
    """
    lab, public, peer = running.lab, running.lab.public, running.ids["b"]
    attacker = attack(mallory)
    eve = attack(Identity.create())
    offer = attacker.offer(peer)
    sealed = offer.seal(mallory)
    nobody = Identity.create().peerId
    assert attacker.dial(peer, offer, sealed)["answer"]
    # The rendezvous knows a dial only as long as it lasts.
    early = attacker.refusal(peer, offer, sealed)
    attacker.tell(Bye, dialId=offer.dialId, reason="")

    own = udp(public, "203.0.113.1")
    attacker.prove(own)
    hers = udp(public, "203.0.113.1")
    eve.prove(hers)
    watch = lab.capture(public, "203.0.113.1")
    stale = attacker.offer(peer, time=time.time() - 200)
    other = attacker.offer(running.ids["a"])
    stolen, broken = attacker.offer(peer), attacker.offer(peer)
    refusals = {
        "at once": early,
        "replayed": attacker.refusal(peer, offer, sealed),
        "stale": attacker.refusal(peer, stale),
        "another's": eve.refusal(peer, stolen, stolen.seal(mallory)),
        "misdirected": attacker.refusal(peer, other),
        "garbage": attacker.refusal(peer, broken, os.urandom(2000)),
        "useless": attacker.refusal(peer, attacker.offer(peer, password="short")),
        "not allowed": eve.refusal(peer, eve.offer(peer)),
        "unknown": eve.refusal(nobody, eve.offer(nobody)),
    }
    assert len(set(refusals.values())) == 1, refusals
    packets = watch.packets(wait=3.0)
    assert _of(packets, own.getsockname()) == []
    assert _of(packets, hers.getsockname()) == []

    log = running.log("b").read_text()
    for why in (
        "An offer has come a second time.",
        "s ago; are both clocks right?",
        "A signed message was meant for another peer",
        "A message was not signed by the peer it claims to come from.",
        "an ICE password has 22 to 256 characters",
        "dials and is not allowed",
    ):
        assert why in log
    assert running.status("b")["sessions"] == []
    # It can fail: an honest dial is told B's address.
    assert attacker.dial(peer, attacker.offer(peer))["observed"]


def _pour(sock, data, most):
    """
    Send something again and again.

    @return: how many bytes were taken before the connection ended.
    """
    taken = 0
    sock.settimeout(20)
    try:
        while taken < most:
            sock.sendall(data)
            taken += len(data)
    except OSError:
        pass
    return taken


@pytest.mark.parametrize("kind", ["early", "registered", "one key", "no TLS"])
def test_endlessBox(tmp_path, kind):
    """
    Who sends 200 MB of a box that never ends is sent away soon, be it a stranger,
    a registered client, or somebody who does not even speak TLS.
    """
    key, value = b"\x00\x03abc", b"\xff\xff" + bytes(65535)
    with startedRendezvous(tmp_path / "state") as rendezvous:
        opened = socket.socket()
        identity = Identity.create()
        memory = Memory(rendezvous=rendezvous.pid)
        sock: socket.socket
        if kind == "registered":
            sock = Attacker(opened, rendezvous.url, identity).tls
        elif kind == "no TLS":
            opened.connect(rendezvous.address)
            sock, key, value = opened, b"\x16\x03\x01\xff\xff", bytes(65535)
        else:
            sock = shakeHands(opened, rendezvous.url, identity)
        poured = b"".join((key, value)) if kind != "one key" else bytes([0, 255]) * 9999
        taken = _pour(sock, poured, 200 * MB)
        grown = memory.growth()["rendezvous"]
        sock.close()
        print(f"{kind}: {taken / MB:.1f} MB taken, grown by {grown / MB:.1f} MB")
        assert taken < 20 * MB
        assert grown < _SLACK
        # It serves on.
        other = Attacker(socket.socket(), rendezvous.url, Identity.create())
        assert other.registration["handle"]
        other.close()

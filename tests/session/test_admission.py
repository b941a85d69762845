"""
Who is let into a session, and what happens to who is not.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from punchd.errors import AuthenticationFailed, ProtocolViolation, RemoteError
from punchd.session import auth
from punchd.session.auth import Dial, checkProof, prove
from punchd.session.channel import PATIENCE
from punchd.session.control import Auth, Hello, Ping, pack
from punchd.session.mux import EARLY, EARLY_KEPT

from .pair import DIAL, DIALLER, LISTENER, STRANGER, Pair

both = pytest.mark.parametrize("backend", ["qh3", "aioquic"])


def test_proof() -> None:
    """
    A proof is good for its dial, whose dialler has signed it.
    """
    proof = prove(DIALLER, DIAL)
    checkProof(proof, DIAL)
    assert (proof.dialId, proof.spki) == (DIAL.dialId, DIALLER.spki)


@pytest.mark.parametrize(
    "change",
    [
        {"dialId": "dial-2"},
        {"nonce": b"another nonce"},
        {"nonce": b""},
        {"listener": STRANGER.peerId},
        {"dialler": STRANGER.peerId},
    ],
)
def test_proofForAnotherDial(change: dict[str, object]) -> None:
    """
    A proof made for another dial, nonce, listener or dialler is refused.
    """
    other = dataclasses.replace(DIAL, **change)  # type: ignore[arg-type]
    with pytest.raises(AuthenticationFailed):
        checkProof(prove(DIALLER, other), DIAL)


def test_proofByAnotherKey() -> None:
    """
    A stranger's signature is refused, under its own key and under the dialler's.
    """
    proof = prove(STRANGER, DIAL)
    with pytest.raises(AuthenticationFailed, match="not the dialled"):
        checkProof(proof, DIAL)
    with pytest.raises(AuthenticationFailed, match="signature"):
        checkProof(dataclasses.replace(proof, spki=DIALLER.spki), DIAL)


def test_proofForAnotherPurpose() -> None:
    """
    A signature over the same bytes for something else is no proof.
    """
    signature = DIALLER.sign(b"punchd-offer-v1", DIAL.body())
    with pytest.raises(AuthenticationFailed, match="signature"):
        checkProof(Auth(DIAL.dialId, DIALLER.spki, signature), DIAL)


def test_partsOfADialCannotMove() -> None:
    """
    What is signed tells where one part ends and the next begins.
    """
    one = Dial(DIAL.dialler, DIAL.listener, "ab", b"cd")
    other = Dial(DIAL.dialler, DIAL.listener, "abc", b"d")
    assert one.body() != other.body()


def lostBoth(pair: Pair) -> None:
    """
    Both ends have lost the session for want of authentication.
    """
    pair.run(30.0)
    for end in (pair.a, pair.b):
        (reason,) = end.told("Lost")
        assert isinstance(reason, AuthenticationFailed)
        assert end.told("Hello") == [] or end is pair.b
        assert end.incoming == []


@both
def test_anotherKeyAtTheListener(backend: str) -> None:
    """
    The dialler that sees another key sends no byte on any stream.
    """
    pair = Pair(backend, listenerIdentity=STRANGER).start()
    stream, recorder = pair.open()
    stream.write(b"secret")
    lostBoth(pair)
    assert isinstance(recorder.reason, AuthenticationFailed)
    assert pair.a.told("Admitted") == pair.b.told("Admitted") == []
    assert "StreamData" not in pair.b.events
    assert pair.a.streams.bytesSent == 0


Forger = Callable[[Dial], list[bytes]]


@both
@pytest.mark.parametrize(
    "forge",
    [
        pytest.param(lambda dial: [pack(prove(STRANGER, dial))], id="stranger"),
        pytest.param(
            lambda dial: [
                pack(prove(DIALLER, dataclasses.replace(dial, nonce=b"yesterday's")))
            ],
            id="replayed",
        ),
        pytest.param(lambda dial: [pack(Hello(1, "x"))], id="missing"),
        pytest.param(lambda dial: [pack(Ping(b"x"))], id="ping first"),
        pytest.param(lambda dial: [b"GET / HTTP/1.1\r\n\r\n" * 100], id="nonsense"),
    ],
)
def test_wrongProofAtTheListener(
    backend: str, forge: Forger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A dialler that cannot prove itself is sent away; the listener says nothing
    of its own and delivers none of its bytes.
    """
    pair = Pair(backend)
    stream, recorder = pair.open()
    stream.write(b"let me in")
    pair.a.streams._channel.flush = lambda: False  # type: ignore[method-assign]
    pair.start()
    pair.until(lambda: "HandshakeCompleted" in pair.a.events)
    id = pair.a.core.openControl()
    for data in forge(DIAL):
        pair.a.core.sendStream(id, data)
    pair.a.driver.wake()
    listening = pair.b.streams.openStream("secret")
    listening.whenOpen().addErrback(lambda f: f.trap(RemoteError))
    listening.write(b"secret")
    pair.run(30.0)
    (reason,) = pair.b.told("Lost")
    assert isinstance(reason, (AuthenticationFailed, ProtocolViolation))
    assert pair.b.incoming == []
    assert "StreamData" not in pair.a.events
    assert recorder.reason is not None


@both
def test_noProofInTime(backend: str) -> None:
    """
    A dialler that says nothing is sent away after a while.
    """
    pair = Pair(backend)
    pair.a.streams._channel.flush = lambda: False  # type: ignore[method-assign]
    began = pair.clock.seconds()
    pair.start()
    pair.until(lambda: bool(pair.b.told("Lost")))
    assert isinstance(pair.b.told("Lost")[0], AuthenticationFailed)
    assert pair.clock.seconds() - began == pytest.approx(PATIENCE, abs=0.2)
    pair.run(5.0)
    assert isinstance(pair.a.told("Lost")[0], AuthenticationFailed)


@both
def test_proofBehindOtherData(backend: str) -> None:
    """
    What overtakes the proof is kept, and delivered after it.
    """
    pair = Pair(backend, authenticate=False)
    stream, recorder = pair.open()
    stream.write(b"early")
    pair.a.streams.authenticate(DIAL)
    pair.start()
    pair.run(5.0)
    # The listener does not know the dial yet: it keeps, and waits.
    assert pair.b.incoming == []
    assert recorder.reason is None
    pair.b.streams.authenticate(DIAL)
    pair.run(1.0)
    assert bytes(pair.b.incoming[0].protocol.data) == b"early"


@both
def test_diallerWaitsForTheDial(backend: str) -> None:
    """
    Before the answer with its nonce came, the dialler sends nothing.
    """
    pair = Pair(backend, authenticate=False)
    pair.b.streams.authenticate(DIAL)
    stream, _ = pair.open()
    stream.write(b"patience")
    pair.start()
    pair.run(3.0)
    assert pair.a.streams.bytesSent == 0
    pair.a.streams.authenticate(DIAL)
    pair.run(1.0)
    assert bytes(pair.b.incoming[0].protocol.data) == b"patience"


@both
def test_earlyBytesAreBounded(backend: str) -> None:
    """
    Before it is admitted a dialler sends, and a listener keeps, only so much.
    """
    pair = Pair(backend)
    stream, _ = pair.open()
    stream.write(bytes(4 << 20))
    pair.b.streams._channel.flush = lambda: False  # type: ignore[method-assign]
    pair.start()
    pair.run(5.0)
    assert pair.a.streams.bytesSent == EARLY

    flood = Pair(backend, authenticate=False).start()
    flood.until(lambda: "HandshakeCompleted" in flood.b.events)
    id = flood.a.core.openStream()
    flood.a.core.sendStream(id, bytes(EARLY_KEPT + 100000))
    flood.a.driver.wake()
    flood.run(5.0)
    (reason,) = flood.b.told("Lost")
    assert isinstance(reason, AuthenticationFailed)


@both
def test_greetings(backend: str) -> None:
    """
    Both sides learn the other's incarnation, once they are admitted.
    """
    pair = Pair(backend).connect()
    assert pair.a.told("Hello") == [f"incarnation of {LISTENER.peerId[:4]}"]
    assert pair.b.told("Hello") == [f"incarnation of {DIALLER.peerId[:4]}"]
    assert pair.a.happened[0] == pair.b.happened[0] == ("Admitted", None)


@both
def test_controlFramesBothWays(backend: str) -> None:
    """
    Candidates and pings reach the other side.
    """
    pair = Pair(backend).connect()
    pair.a.streams.sendCandidate(b'{"a": 1}')
    pair.b.streams.sendCandidate(b'{"b": 2}')
    pair.a.streams.ping(b"are you there")
    pair.run(0.1)
    assert pair.b.told("Candidate") == [b'{"a": 1}']
    assert pair.a.told("Candidate") == [b'{"b": 2}']
    assert pair.a.told("Pong") == [b"are you there"]


@both
def test_secondProof(backend: str) -> None:
    """
    Who proves itself twice has broken the protocol.
    """
    pair = Pair(backend).connect()
    pair.a.streams._channel.send(auth.prove(DIALLER, DIAL))
    pair.a.driver.wake()
    pair.run(5.0)
    assert isinstance(pair.b.told("Lost")[0], ProtocolViolation)

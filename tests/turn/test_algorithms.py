"""
How keys are made of passwords, and who can make that weaker (RFC 8489, 9.2).
"""

from __future__ import annotations

from typing import Any

import pytest

from punchd.stun.attributes import UDP, Attribute
from punchd.stun.message import Message, Method, parse, request
from punchd.turn.authentication import ALGORITHMS
from punchd.turn.credentials import PasswordAlgorithm, longTermKey, makeCredentials
from punchd.turn.guards import StaticUsers, userHash
from tests.turn.link import CLIENT, LISTEN, REALM, SECRET, WALL, Link

ALLOCATE = (Attribute.REQUESTED_TRANSPORT, UDP)
USER = (Attribute.USERNAME, "user")
SHA256 = (Attribute.PASSWORD_ALGORITHM, (2, b""))
MD5 = (Attribute.PASSWORD_ALGORITHM, (1, b""))
LIST = (Attribute.PASSWORD_ALGORITHMS, ALGORITHMS)


def send(link: Link, data: bytes) -> Message:
    """
    @return: the answer, not yet checked.
    """
    link.server.datagramReceived(data, LISTEN, CLIENT, link.now)
    (answer,) = link.server.takeDatagrams()
    return parse(answer.data)


def challenge(link: Link) -> Message:
    """
    @return: the answer to a request without credentials.
    """
    return send(link, request(Method.ALLOCATE, bytes(12), ALLOCATE).serialize())


def ask(
    link: Link,
    key: bytes,
    *attributes: tuple[int, Any],
    nonce: bytes | None = None,
    integrity: Any = "sha256",
    method: int = Method.ALLOCATE,
) -> Message:
    """
    @return: the answer to a request with these attributes besides the nonce.
    """
    nonce = nonce or challenge(link).get(Attribute.NONCE)
    message = request(method, link.entropy(12), ALLOCATE, *attributes)
    message.add(Attribute.REALM, REALM).add(Attribute.NONCE, nonce)
    return send(link, message.serialize(key=key, integrity=integrity))


def code(message: Message) -> int:
    """
    @return: its error code, or 0.
    """
    found: int = message.get(Attribute.ERROR_CODE, (0, ""))[0]
    return found


def keyOf(algorithm: PasswordAlgorithm, username: str = "user") -> bytes:
    """
    @return: the key of the listed user.
    """
    return longTermKey(username, REALM, "password", algorithm)


def test_offer() -> None:
    """
    A challenge names SHA-256 before MD5, and its nonce begins with the cookie
    whose rightmost bit tells so.
    """
    answer = challenge(Link())
    assert answer.get(Attribute.PASSWORD_ALGORITHMS) == [(2, b""), (1, b"")]
    assert answer.get(Attribute.NONCE).startswith(b"obMatJos2AAAB")
    assert len(answer.get(Attribute.NONCE)) == 32


@pytest.mark.parametrize("integrity", ["sha1", "sha256", "both"])
@pytest.mark.parametrize("chosen", [SHA256, MD5, None])
def test_choice(chosen: Any, integrity: str) -> None:
    """
    The key is made as the client says, by MD5 where it says nothing; the answer
    is signed with it, by SHA-256 if the request was.
    """
    link = Link()
    algorithm = PasswordAlgorithm.MD5 if chosen is None else chosen[1][0]
    key = keyOf(PasswordAlgorithm(algorithm))
    choice = () if chosen is None else (LIST, chosen)
    answer = ask(link, key, USER, *choice, integrity=integrity)
    assert code(answer) == 0
    assert answer.checkIntegrity(key)
    assert answer.hasSha256 == (integrity != "sha1")
    # The allocation may be refreshed with either key.
    for other in PasswordAlgorithm:
        words = (USER, LIST, (Attribute.PASSWORD_ALGORITHM, (int(other), b"")))
        assert code(ask(link, keyOf(other), *words, method=Method.REFRESH)) == 0


def test_wrongKey() -> None:
    """
    A key that was made otherwise than the request says is a wrong password.
    """
    link = Link()
    assert code(ask(link, keyOf(PasswordAlgorithm.MD5), USER, LIST, SHA256)) == 401
    assert code(ask(link, keyOf(PasswordAlgorithm.SHA256), USER)) == 401


@pytest.mark.parametrize(
    "attributes",
    [
        [SHA256],
        [LIST],
        [MD5],
        [(Attribute.PASSWORD_ALGORITHMS, [(1, b"")]), MD5],
        [(Attribute.PASSWORD_ALGORITHMS, ALGORITHMS[::-1]), SHA256],
        [(Attribute.PASSWORD_ALGORITHMS, []), MD5],
        [LIST, (Attribute.PASSWORD_ALGORITHM, (3, b""))],
        [LIST, (Attribute.PASSWORD_ALGORITHM, (2, b"more"))],
    ],
)
def test_bidDown(attributes: list[tuple[int, Any]]) -> None:
    """
    Another list than ours, or a choice without a list, is refused with 400,
    whatever the request is signed with: somebody has changed our answer.
    """
    link = Link()
    for algorithm in PasswordAlgorithm:
        assert code(ask(link, keyOf(algorithm), USER, *attributes)) == 400
    assert link.server.counters["400"] == 2
    assert link.server.allocations() == []


def test_changedFeatures() -> None:
    """
    A nonce whose feature bits were cleared on the way is none of ours.
    """
    link = Link()
    nonce = challenge(link).get(Attribute.NONCE).replace(b"AAAB", b"AAAA")
    key = keyOf(PasswordAlgorithm.MD5)
    assert code(ask(link, key, USER, nonce=nonce)) == 438


def test_userHash() -> None:
    """
    The example of RFC 8489, B.1.
    """
    assert userHash("マトリックス", "example.org").hex() == (
        "4a3cf38fef6992bda952c6780417da0f24819415569e60b205c46e41407f1704"
    )


def test_hiddenName() -> None:
    """
    Where all users are listed, clients may send the hash of a name; that of
    nobody's name is answered like a wrong password.
    """
    link = Link(guards=[StaticUsers("static", {"user": "password"})])
    assert challenge(link).get(Attribute.NONCE).startswith(b"obMatJos2AAAD")
    key = keyOf(PasswordAlgorithm.SHA256)
    for name, expected in (("nobody", 401), ("user", 0)):
        userhash = (Attribute.USERHASH, userHash(name, REALM))
        assert code(ask(link, key, userhash, LIST, SHA256)) == expected
    assert [each.username for each in link.server.allocations()] == ["user"]


def test_secondGuard() -> None:
    """
    One name that two guards know belongs to that one whose password was used.
    """
    name, password = makeCredentials(SECRET, "handle", WALL + 9999)
    link = Link(users={name: "password"})
    key = keyOf(PasswordAlgorithm.MD5, name)
    username = (Attribute.USERNAME, name)
    assert code(ask(link, key, username)) == 0
    assert link.server.allocations()[0].guard is link.static
    # Whose allocation it is not gets nowhere with it.
    other = longTermKey(name, REALM, password)
    assert code(ask(link, other, username, method=Method.REFRESH)) == 401
    assert code(ask(link, longTermKey(name, REALM, "guess"), username)) == 401

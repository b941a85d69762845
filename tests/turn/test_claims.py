"""
Reserved ports that are claimed from another process than has them (RFC 8656, 7.2).
"""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from punchd.core import Address
from punchd.stun.attributes import UDP, Attribute
from punchd.stun.message import Message, Method, parse
from punchd.turn.claims import CLAIMS, PATIENCE, Claim, Claims, Reserved, ownerOf
from punchd.turn.limits import Limits, Quota
from punchd.turn.neighbours import Lodger, NeighbouredServer, Neighbours
from tests.turn.link import OTHER, PEER, Link, Raw

_PAIR = (Attribute.EVEN_PORT, True)
_UDP = (Attribute.REQUESTED_TRANSPORT, UDP)
_ODD = ("203.0.113.10", 50003)


class Processes:
    """
    Three relays that share a port, and a pipe between them that holds what it is
    given.

    @ivar asked: (number of who asks, claim) that was not carried yet.
    """

    def __init__(self, **options: Any) -> None:
        self.asked: list[tuple[int, Claim]] = []
        self.known = [Neighbours() for _ in range(3)]
        self.links = [self._make(number, options) for number in range(3)]

    def _make(self, number: int, options: dict[str, Any]) -> Link:
        def told(allocation: Any, came: bool) -> None:
            for other, neighbours in enumerate(self.known):
                if other != number and came:
                    neighbours.came(Lodger.of(allocation))
                elif other != number:
                    neighbours.went(allocation.outside)

        claims = Claims(number, 3, lambda claim: self.asked.append((number, claim)))
        make = partial(NeighbouredServer, self.known[number], told, claims)
        users = {"user": "password", "other": "password"}
        return Link(make=make, users=users, nonceKey=bytes(32), **options)

    def server(self, number: int) -> NeighbouredServer:
        """
        @return: the relay of that process.
        """
        found = self.links[number].server
        assert isinstance(found, NeighbouredServer)
        return found

    def carry(self) -> list[Reserved | None]:
        """
        Bring all questions to who can answer, and the answers back.

        @return: those.
        """
        asked, self.asked = self.asked, []
        answers = []
        for asker, claim in asked:
            owner = ownerOf(claim.token, 3)
            found = self.server(owner).cede(claim, self.links[owner].now)
            self.server(asker).ceded(claim, found, self.links[asker].now)
            answers.append(found)
        return answers

    def reserve(self, number: int) -> bytes:
        """
        @return: the token of C{_ODD}, which that process has.
        """
        answer = Raw(self.links[number]).allocate(_PAIR)
        assert self.links[number].ports.live[-1] == _ODD
        token: bytes = answer.get(Attribute.RESERVATION_TOKEN)
        assert ownerOf(token, 3) == number
        return token

    def claim(
        self, number: int, token: bytes, client: Address = OTHER, user: str = "user"
    ) -> bytes:
        """
        Show a token; it must not be answered yet.

        @return: the request.
        """
        raw = Raw(self.links[number], client, user)
        data = raw.build(Method.ALLOCATE, _UDP, (Attribute.RESERVATION_TOKEN, token))
        assert raw.send(data) == []
        return data

    def answers(self, number: int) -> list[Message]:
        """
        @return: what that process says.
        """
        return [parse(each.data) for each in self.server(number).takeDatagrams()]


def _codes(messages: list[Message]) -> list[int]:
    return [each.get(Attribute.ERROR_CODE, (0, ""))[0] for each in messages]


def test_claimedFromAnother() -> None:
    """
    A process that is shown a token of another one is silent until it has the port,
    and then the client has it, with data; the port is closed where it was reserved,
    and counts once.
    """
    processes = Processes(limits=Limits(user=Quota(2)))
    token = processes.reserve(1)
    first, second = processes.links[1], processes.links[2]
    data = processes.claim(2, token)
    # The client asks again, and nobody else is asked for that.
    second.server.datagramReceived(data, Raw(second).local, OTHER, second.now)
    assert [asker for asker, _ in processes.asked] == [2]
    assert processes.carry() == [Reserved(4, 50003, 30.0)]
    (answer,) = processes.answers(2)
    assert answer.get(Attribute.XOR_RELAYED_ADDRESS) == _ODD
    assert answer.get(Attribute.LIFETIME) == 600
    assert first.ports.live == [("203.0.113.10", 50002)]
    assert second.ports.live == [_ODD]
    assert [len(each.server.allocations()) for each in processes.links] == [0, 1, 1]
    # It is his now, and the answer stays the same.
    second.server.datagramReceived(data, Raw(second).local, OTHER, second.now)
    assert processes.answers(2)[0].attributes[:2] == answer.attributes[:2]
    other = Raw(second, OTHER)
    assert other.permit(PEER[0]) == 0
    second.server.datagramReceived(b"in", _ODD, PEER, second.now)
    assert second.server.takeDatagrams()[0].remote == OTHER
    third = Raw(processes.links[0], ("198.51.100.8", 1)).allocate()
    assert _codes([third]) == [486]


def test_onlyOnce() -> None:
    """
    Of two who show a token in other processes one has the port; 508 says that there
    is none any more, which the owner says too.
    """
    processes = Processes()
    token = processes.reserve(0)
    processes.claim(1, token)
    processes.claim(1, token, ("198.51.100.98", 40000))
    processes.claim(2, token)
    assert len(processes.carry()) == 2
    assert _codes(processes.answers(1)) == [0, 508]
    assert _codes(processes.answers(2)) == [508]
    raw = Raw(processes.links[0], ("198.51.100.97", 1))
    assert _codes([raw.allocate((Attribute.RESERVATION_TOKEN, token))]) == [508]
    assert processes.asked == []


def test_notForAnother() -> None:
    """
    Another user gets nothing by a token, and takes nothing away; nor does one whom
    his guard refuses, about whom nobody is asked.
    """
    processes = Processes()
    token = processes.reserve(0)
    processes.claim(1, token, PEER, "other")
    processes.claim(1, token)
    processes.links[1].admission.refused.add("other")
    refused = Raw(processes.links[2], OTHER, "other")
    processes.links[2].admission.refused.add("other")
    assert _codes([refused.allocate((Attribute.RESERVATION_TOKEN, token))]) == [403]
    assert processes.carry() == [None, Reserved(4, 50003, 30.0)]
    assert _codes(processes.answers(1)) == [403, 0]


def test_expired() -> None:
    """
    After 30 s nothing is reserved, for nobody.
    """
    processes = Processes()
    token = processes.reserve(0)
    for each in processes.links:
        each.advance(31)
    processes.claim(1, token)
    assert processes.carry() == [None]
    assert _codes(processes.answers(1)) == [508]


def test_takenMeanwhile() -> None:
    """
    When somebody else has taken the port, there is none.
    """
    processes = Processes()
    token = processes.reserve(0)
    processes.links[1].ports.taken.add(_ODD[1])
    processes.claim(1, token)
    assert processes.carry() == [Reserved(4, 50003, 30.0)]
    assert _codes(processes.answers(1)) == [508]


def test_ownerIsSilent() -> None:
    """
    As long as the owner does not answer nobody does; he is asked again after a
    while, and an answer that comes late or twice does no harm.
    """
    processes = Processes()
    token = processes.reserve(0)
    processes.claim(1, token)
    (first,) = processes.asked
    processes.links[1].now += PATIENCE / 2
    processes.claim(1, token)
    assert processes.asked == [first]
    processes.links[1].now += PATIENCE
    processes.claim(1, token)
    assert processes.asked == [first, first]
    processes.carry()
    assert _codes(processes.answers(1)) == [0]
    processes.server(1).ceded(first[1], Reserved(4, 50009, 9.0), 1000.0)
    assert processes.answers(1) == []
    assert processes.links[1].ports.live == [_ODD]


def test_disconnectedMeanwhile() -> None:
    """
    Who has gone before the answer came has nothing.
    """
    processes = Processes()
    token = processes.reserve(0)
    processes.claim(1, token)
    link = processes.links[1]
    link.server.disconnected(Raw(link).local, OTHER, link.now)
    assert processes.carry() == [Reserved(4, 50003, 30.0)]
    assert processes.answers(1) == [] and link.ports.live == []


def test_answeredAtOnce() -> None:
    """
    When nobody has to be asked the client is told at once.
    """
    processes = Processes()

    def ask(claim: Claim) -> None:
        processes.server(0).ceded(claim, None, processes.links[0].now)

    claims: Any = processes.server(0)._claims
    claims._ask = ask
    raw = Raw(processes.links[0])
    token = (Attribute.RESERVATION_TOKEN, bytes((1, *range(7))))
    assert _codes([raw.allocate(token)]) == [508]


def test_claimsAreBounded() -> None:
    """
    However many tokens somebody makes up, so many are asked for at a time.
    """
    processes = Processes()
    for number in range(CLAIMS + 50):
        processes.claim(1, bytes((3, *number.to_bytes(7, "big"))))
    assert len(processes.asked) == CLAIMS
    assert set(processes.carry()) == {None}
    assert _codes(processes.answers(1)) == [508] * CLAIMS
    for number in range(CLAIMS + 1):
        processes.claim(1, bytes((6, *number.to_bytes(7, "big"))))
    processes.asked.clear()
    processes.links[1].now += PATIENCE
    processes.claim(1, bytes(8))
    assert len(processes.asked) == 1


@pytest.mark.parametrize("processes", [1, 2, 3, 7, 64])
def test_tokens(processes: int) -> None:
    """
    A token says whose it is; nearly as many are possible as there are bytes for.
    """
    for number in range(processes):
        claims = Claims(number, processes, lambda claim: None)
        made = {claims.mark(bytes((first,)) + b"1234567") for first in range(256)}
        assert {ownerOf(each, processes) for each in made} == {number}
        assert {each[1:] for each in made} == {b"1234567"}
        assert len(made) == 256 // processes

"""
Standard input and output as a forward; C{punchd connect} has tests of its own.
"""

from __future__ import annotations

from typing import Any

from twisted.application.service import IService
from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from zope.interface.verify import verifyObject

from punchd.errors import PeerUnavailable
from punchd.forward.home import Home, forwarderOf
from punchd.forward.rules import Forward

RULE = Forward("stdio:", "bob", "ssh")


class Machine:
    """
    As much of a network as there is to it.
    """

    def __init__(self) -> None:
        self.reactor = Clock()


def made(opener: Any) -> Any:
    """
    @return: the forward, for a client that opens streams in this way.
    """
    machine: Any = Machine()
    found = forwarderOf(RULE.endpoint).forward(RULE, Home(machine, str, opener))
    assert verifyObject(IService, found)
    return found


def test_unreachable() -> None:
    """Why the peer is not reached is said in the log."""
    with capturedLogs() as logs:
        made(lambda peer, service: fail(PeerUnavailable())).startService()
    (event,) = [each for each in logs if "error" in each]
    assert event["rule"] == "--forward=stdio:=bob/ssh"
    assert event["error"].startswith("The peer is offline")


def test_stopped() -> None:
    """One that is stopped wants nothing any more, and says nothing."""
    asked: list[Any] = []
    gone: list[str] = []

    def opener(peer: str, service: str) -> Deferred[Any]:
        asked.append((peer, service))
        return Deferred(lambda _: gone.append("cancelled"))

    with capturedLogs() as logs:
        service = made(opener)
        service.startService()
        service.stopService()
    assert asked == [("bob", "ssh")]
    assert gone == ["cancelled"]
    assert [each for each in logs if "error" in each] == []

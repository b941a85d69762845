"""
IForwarder: a kind of endpoints for --publish without a program behind it.
"""

from collections.abc import Callable
from typing import Any

from twisted.application.service import IService
from twisted.internet.protocol import Protocol
from twisted.protocols.wire import QOTD
from zope.interface import implementer

from punchd.interfaces import IForwarder, IHome


class Saying(QOTD):
    """
    Says something, and hangs up.
    """

    def __init__(self, words: str) -> None:
        self._words = words.encode()

    def getQuote(self) -> bytes:
        """
        @return: what is said.
        """
        return self._words


@implementer(IForwarder)
class Say:
    """
    say:WORDS says these to every peer that connects.
    """

    name = "say"
    targeted = True

    def publish(self, rule: Any, home: IHome) -> Callable[[str, Any], None]:
        """
        @see: L{IForwarder.publish}.
        """
        words = rule.endpoint.partition(":")[2]
        if not words:
            raise ValueError("there is nothing to say")

        def take(peerId: str, stream: Any) -> None:
            protocol: Protocol = Saying(words)
            stream.accept(protocol)

        return take

    def forward(self, rule: Any, home: IHome) -> IService:
        """
        @see: L{IForwarder.forward}.
        """
        raise ValueError("words can be published only")


say = Say()

"""
ICandidateSource: a port that somebody has opened in the router by hand.
"""

from typing import Any

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from punchd.interfaces import ICandidateSearch, ICandidateSeeker, ICandidateSource

#: Where the router leads packets on to the punching socket; give --port, too.
HOST = "198.51.100.7"


@implementer(ICandidateSearch)
class Opened:
    """
    There is nothing to do but to say so.
    """

    def __init__(self, port: int, seeker: ICandidateSeeker) -> None:
        self._port = port
        self._seeker = seeker
        seeker.available(HOST)

    def map(self) -> None:
        """
        @see: L{ICandidateSearch.map}.
        """
        self._seeker.mapped((HOST, self._port))

    def stop(self) -> Deferred[None]:
        """
        @see: L{ICandidateSearch.stop}.
        """
        return succeed(None)


@implementer(ICandidateSource)
class ByHand:
    """
    A port that was opened in the router by hand.
    """

    name = "by-hand"
    preference = 100
    families = (4,)

    def seek(
        self, network: Any, base: Any, gateway: Any, seeker: ICandidateSeeker
    ) -> ICandidateSearch:
        """
        @see: L{ICandidateSource.seek}.
        """
        return Opened(base[1], seeker)


byHand = ByHand()

"""
The interfaces of what carries a client's words to a relay; they are a part of
L{punchd.interfaces}.
"""

from __future__ import annotations

from twisted.plugin import IPlugin
from zope.interface import Attribute, Interface


class IRelayTransport(IPlugin):
    """
    A plugin that carries STUN and ChannelData (RFC 8656) to a TURN server and back.
    C{--relay=turn:HOST:PORT?transport=NAME} chooses it.
    """

    name = Attribute(
        "What C{transport=} and C{punchd status} call it: a lower-case letter, then "
        "lower-case letters, digits and hyphens.  No two plugins have the same."
    )
    reliable = Attribute(
        "Whether all that is sent arrives, in order: if so, no request is repeated."
    )

    def leg(way, ground):  # type: ignore[no-untyped-def]
        """
        @param way: where it leads, a L{punchd.net.ways.Way}.
        @param ground: what there is to build on, a L{punchd.net.legs.Ground}.

        @return: an L{IRelayLeg} that is not in use yet.
        """


class IRelayLeg(Interface):
    """
    A way to a relay, in use.
    """

    server = Attribute("The (host, port) of the server, once it can be spoken to.")
    counters = Attribute("What was dropped, a L{collections.Counter} by reason.")

    def open(receiver):  # type: ignore[no-untyped-def]
        """
        Begin.

        @param receiver: an L{IRelayReceiver}.
        """

    def send(datagrams):  # type: ignore[no-untyped-def]
        """
        Send to the server; what there is no room for is dropped, and counted.

        @param datagrams: a sequence of L{punchd.core.Datagram}, all of them for
            C{server}; each is one message of STUN or ChannelData.
        """

    def close():  # type: ignore[no-untyped-def]
        """
        End it; the receiver is told nothing more.
        """

    def stillOurs(hosts):  # type: ignore[no-untyped-def]
        """
        @param hosts: the addresses that this machine has now.

        @return: whether the leg begins at one of them, or does not depend on it.
        """


class IRelayReceiver(Interface):
    """
    Who uses a leg.
    """

    def ready():  # type: ignore[no-untyped-def]
        """
        The server can be spoken to.
        """

    def framesReceived(frames):  # type: ignore[no-untyped-def]
        """
        @param frames: a list of messages of STUN or ChannelData, L{bytes} each.
        """

    def lost(reason):  # type: ignore[no-untyped-def]
        """
        There is no way to the server, or not any more.

        @param reason: some words for people.
        """

"""
The interfaces of who knows which clients are here; they are a part of
L{punchd.interfaces}.
"""

from __future__ import annotations

from twisted.plugin import IPlugin
from zope.interface import Attribute, Interface


class IDirectory(IPlugin):
    """
    A plugin that keeps the directory of a rendezvous: who is here, and who has asked
    for whom.  C{--directory} names it.
    """

    name = Attribute(
        "What C{--directory} calls it: a lower-case letter, then lower-case letters, "
        "digits and hyphens.  No two plugins have the same."
    )

    def directory(arguments, network, limits):  # type: ignore[no-untyped-def]
        """
        @param arguments: what follows the plugin's name and a colon, C{""} when
            nothing does.
        @param network: an L{INetwork}, for its clocks and its entropy.
        @param limits: L{punchd.signaling.directory.Limits}, to be kept.

        @return: an L{IPresences}, empty.

        @raise punchd.errors.InvalidOption: the arguments cannot be used; the
            sentence begins with the option and its value.
        """


class IPresences(Interface):
    """
    Who is here.  All answers are given at once: what has to be asked elsewhere is
    asked before.  L{punchd.signaling.directory.Directory} keeps the rules that stand
    at its head, and is the base class to begin with; L{Presence
    <punchd.signaling.directory.Presence>} and L{Dial
    <punchd.signaling.directory.Dial>} are its values.  Times are monotonic seconds.
    """

    counters = Attribute("What was refused, a L{collections.Counter} by reason.")

    def __len__():  # type: ignore[no-untyped-def]
        """
        @return: how many clients are connected.
        """

    def register(peer, host, connection, resume, now):  # type: ignore[no-untyped-def]
        """
        A peer has come.

        @param peer: the peer id that it has proven to have.
        @param host: where its connection comes from.
        @param connection: its connection, to be kept in its presence.
        @param resume: the handle that it had before, or L{None}.

        @return: an L{Arrival<punchd.signaling.directory.Arrival>}.

        @raise punchd.errors.RendezvousRefused: there is no room.
        """

    def depart(presence, connection, now):  # type: ignore[no-untyped-def]
        """
        A connection was lost; nothing happens if the presence has another by now.

        @return: the dials that ended.
        """

    def expire(now):  # type: ignore[no-untyped-def]
        """
        Forget who left too long ago.
        """

    def deadline():  # type: ignore[no-untyped-def]
        """
        @return: when L{expire} will have something to do, or L{None}.
        """

    def presenceOf(handle):  # type: ignore[no-untyped-def]
        """
        @return: the client with that handle, or L{None}.
        """

    def dial(dialler, peer, dialId, now):  # type: ignore[no-untyped-def]
        """
        @param dialler: a presence.
        @param peer: the peer id that it asks for.

        @return: a L{Dial<punchd.signaling.directory.Dial>}.

        @raise punchd.errors.PeerUnavailable: it is not here, or may not be dialled.
        """

    def accept(dial):  # type: ignore[no-untyped-def]
        """
        The listener has answered.

        @return: whether the dial was still there.
        """

    def close(dial):  # type: ignore[no-untyped-def]
        """
        A dial is over.
        """

    def maySpeak(side, dialId):  # type: ignore[no-untyped-def]
        """
        @return: the dial, if that presence may send to its other side, or L{None}.
        """

    def mayAllocate(handle):  # type: ignore[no-untyped-def]
        """
        @return: whether the client with that handle may use the relay.
        """

    def mayRelay(handle, host, now):  # type: ignore[no-untyped-def]
        """
        @return: whether the relay may send to that host for it.
        """

"""
The interfaces of who decides whom a rendezvous serves; they are a part of
L{punchd.interfaces}.
"""

from __future__ import annotations

from twisted.plugin import IPlugin
from zope.interface import Attribute, Interface


class IAdmission(IPlugin):
    """
    A plugin that says whom a rendezvous serves, and how much.  C{--admit} names
    it.
    """

    name = Attribute(
        "What C{--admit} calls it: a lower-case letter, then lower-case letters, "
        "digits and hyphens.  No two plugins have the same."
    )

    def guard(name, arguments, network):  # type: ignore[no-untyped-def]
        """
        @param name: what the guard shall be called; unlike the plugin's, each use
            of C{--admit} has another one.
        @param arguments: what follows the plugin's name and a colon, C{""} when
            nothing does.
        @param network: an L{INetwork}, for its clocks and its entropy.

        @return: an L{IGuard}.

        @raise punchd.errors.InvalidOption: the arguments cannot be used; the
            sentence begins with the option and its value.
        """


class IGuard(Interface):
    """
    Who may register, dial, and use the relay for what.  Every guard is asked about
    registrations and dials, and one no is enough.  About the relay that one is
    asked whose user somebody has proven to be, by a password.
    L{punchd.turn.guards.Guard} is a base class that forbids nothing.
    """

    name = Attribute("No two guards of a rendezvous have the same.")
    hashes = Attribute(
        "Whether C{nameOf} knows all users; L{None} without users.  If no guard says "
        "no, clients of the relay are told to hide their names (RFC 8489, 9.2)."
    )

    def mayRegister(peer, host):  # type: ignore[no-untyped-def]
        """
        @param peer: the peer id that somebody has proven to have.
        @param host: the address that he connects from.

        @return: whether the rendezvous takes him.
        """

    def mayDial(peer, other):  # type: ignore[no-untyped-def]
        """
        @param peer: the peer id of a client that is registered.
        @param other: the peer id that it asks for.

        @return: whether it is introduced; if not, C{other} looks absent.
        """

    def passwordOf(username):  # type: ignore[no-untyped-def]
        """
        @return: the password of a user of the relay, L{str} or L{bytes}; L{None}
            when there is no such user, or no more.
        """

    def nameOf(userhash, realm):  # type: ignore[no-untyped-def]
        """
        @param userhash: SHA-256 of C{NAME:REALM} (RFC 8489, 14.4).

        @return: the name of the user whose name hashes to that, or L{None}.
        """

    def identityOf(username):  # type: ignore[no-untyped-def]
        """
        @return: what limits are counted by: the part of a name that stays when
            credentials are renewed.
        """

    def quotaOf(username):  # type: ignore[no-untyped-def]
        """
        How much, where it is not what C{--relay-limit} gives every user.

        @return: a mapping of some of C{allocations}, C{packets} a second, C{bytes}
            a second and C{total} bytes a day to numbers; 0 is no limit.
        """

    def mayAllocate(username, remote):  # type: ignore[no-untyped-def]
        """
        Asked at each Allocate and each Refresh.

        @param username: whose password was right.
        @param remote: the (host, port) that the request came from.

        @return: whether that user may have a relayed address.
        """

    def mayRelay(username, peerHost):  # type: ignore[no-untyped-def]
        """
        @param peerHost: an address that is on no deny list.

        @return: whether that user may exchange datagrams with that host.
        """

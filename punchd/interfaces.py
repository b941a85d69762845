"""
Every zope interface that somebody else may implement.

This module imports nothing of punchd.
"""

from __future__ import annotations

from zope.interface import Attribute, Interface


class IDatagramReceiver(Interface):
    """
    Where a datagram port delivers what it receives.
    """

    def datagramReceived(data, local, remote):  # type: ignore[no-untyped-def]
        """
        One datagram has come.

        @param data: the payload, L{bytes}.
        @param local: the (host, port) that it was sent to.
        @param remote: the (host, port) that it came from.
        """


class IBatchReceiver(IDatagramReceiver):
    """
    A receiver that takes what was read at one time in one call: a port prefers
    this method where it is provided.
    """

    def datagramsReceived(datagrams):  # type: ignore[no-untyped-def]
        """
        Several datagrams have come.

        @param datagrams: a list of (data, local, remote), oldest first, not
            empty; the receiver may keep it.
        """


class IRunReceiver(IBatchReceiver):
    """
    A receiver that takes what came the same way together: a port prefers this
    method where it is provided.
    """

    def runsReceived(runs):  # type: ignore[no-untyped-def]
        """
        Several datagrams have come.

        @param runs: a list of (payloads, local, remote), oldest first, neither
            it nor any list of payloads empty; the receiver may keep it.
        """


class IDatagramPort(Interface):
    """
    An open UDP socket, of the kernel or of the simulator.
    """

    family = Attribute("4 or 6.")

    def getHost():  # type: ignore[no-untyped-def]
        """
        @return: the bound (host, port); the host may be a wildcard.
        """

    def send(datagram):  # type: ignore[no-untyped-def]
        """
        Send one L{punchd.core.Datagram}; what cannot be sent is counted.
        """

    def sendMany(datagrams):  # type: ignore[no-untyped-def]
        """
        Send several, in order; runs with one source, one destination and one
        size may leave as one GSO batch.
        """

    def close():  # type: ignore[no-untyped-def]
        """
        Close the socket at once; nothing is delivered afterwards.
        """


class INetwork(Interface):
    """
    What the shell needs of the machine it runs on: the kernel's network, or a
    host of the simulator.
    """

    reactor = Attribute(
        "Provides IReactorTime (monotonic), IReactorTCP and IReactorCore's "
        "callWhenRunning and addSystemEventTrigger as far as the host has them."
    )

    def listenDatagram(receiver, family, host, port):  # type: ignore[no-untyped-def]
        """
        Open a UDP socket.

        @param receiver: an L{IDatagramReceiver}.
        @param family: 4 or 6.
        @param host: the address to bind, C{""} for the wildcard.
        @param port: the port to bind, 0 for any.

        @return: an L{IDatagramPort}.

        @raise twisted.internet.error.CannotListenError: the address is taken
            or is not ours.
        """

    def localHosts():  # type: ignore[no-untyped-def]
        """
        @return: a list of (host, interfaceName) of the addresses that others
            may reach: no loopback, no link-local, no multicast.
        """

    def wallClock():  # type: ignore[no-untyped-def]
        """
        @return: seconds since the epoch, for what is signed and compared
            between machines.
        """

    def entropy(count):  # type: ignore[no-untyped-def]
        """
        @return: C{count} random bytes.
        """

"""
Every zope interface that somebody else may implement.

This module imports nothing else of punchd.
"""

from __future__ import annotations

from twisted.plugin import IPlugin
from zope.interface import Attribute, Interface

from ._admission import IAdmission as IAdmission
from ._admission import IGuard as IGuard
from ._directory import IDirectory as IDirectory
from ._directory import IPresences as IPresences
from ._events import IEventReceiver as IEventReceiver
from ._events import IEventSink as IEventSink
from ._forwarding import IForwarder as IForwarder
from ._forwarding import IHome as IHome
from ._relaytransport import IRelayLeg as IRelayLeg
from ._relaytransport import IRelayReceiver as IRelayReceiver
from ._relaytransport import IRelayTransport as IRelayTransport


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


class IWayReceiver(IRunReceiver):
    """
    A receiver that knows in advance where some datagrams go: a port may send them
    there by itself.
    """

    def wayFor(local, remote, number):  # type: ignore[no-untyped-def]
        """
        @param local: the (host, port) that datagrams come to.
        @param remote: the (host, port) that they come from.
        @param number: of their channel, where they have one.

        @return: a L{punchd.turn.ways.Way} and the L{punchd.net.carrying.Carrier} at
            which it begins, or L{None}.
        """


class IHopReceiver(IDatagramReceiver):
    """
    A receiver that is told of datagrams which died on their way, too.
    """

    def hopReported(data, host):  # type: ignore[no-untyped-def]
        """
        The hop limit of a datagram was used up.

        @param data: what came back of its payload, perhaps nothing.
        @param host: the router that dropped it.
        """


class IErrorReceiver(IDatagramReceiver):
    """
    A receiver that is told of ICMP errors, where the system tells of them.
    """

    def errorReported(local, remote, kind, code, info):  # type: ignore[no-untyped-def]
        """
        A datagram has not arrived.

        @param local: the (host, port) that it was sent from.
        @param remote: the (host, port) that it was sent to.
        @param kind: the ICMP type, of ICMPv6 where the addresses are.
        @param code: the ICMP code.
        @param info: the MTU if the datagram was too big.
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


class IRelayPort(IDatagramPort):
    """
    What a port is whose receiver is an L{IErrorReceiver}, where C{sendsWhole} of
    its network is true.
    """

    def sendWhole(datagram):  # type: ignore[no-untyped-def]
        """
        Send one L{punchd.core.Datagram} that no router may cut; the sender does
        not cut it either.
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

    sendsWhole = Attribute("Whether ports can be L{IRelayPort}s.")

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

    def listenHops(receiver, family):  # type: ignore[no-untyped-def]
        """
        @param receiver: an L{IHopReceiver}.
        @param family: 4 or 6.

        @return: an L{IDatagramPort}, or L{None} where nobody tells of deaths.
        """

    def sharedStream(family, port):  # type: ignore[no-untyped-def]
        """
        Bind a TCP socket to the wildcard, so that others may share its port.

        @return: the socket, which C{reactor} can adopt.

        @raise OSError: it cannot be had.
        """

    def localHosts():  # type: ignore[no-untyped-def]
        """
        @return: a list of (host, interfaceName) of the addresses that others
            may reach: no loopback, no link-local, no multicast.
        """

    def watchHosts(changed):  # type: ignore[no-untyped-def]
        """
        Tell when L{localHosts} may have changed.

        @param changed: called without arguments, perhaps more often than needed.

        @return: a function that ends this, or L{None} where nobody tells and
            L{localHosts} has to be asked from time to time.
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


class ICandidateSource(IPlugin):
    """
    A plugin that finds addresses at which others can reach the punching socket,
    as by asking a router to open a port.
    """

    name = Attribute(
        "What it is called in C{punchd status}: a lower-case letter, then lower-case "
        "letters, digits and hyphens.  No two plugins have the same."
    )
    preference = Attribute(
        "An L{int}: of several sources that could open a port to one socket, the one "
        "with the greatest does."
    )
    families = Attribute("The address families that it can serve: of 4 and 6.")

    def seek(network, base, gateway, seeker):  # type: ignore[no-untyped-def]
        """
        Begin to find out whether an address can be had.  Nothing waits for that,
        and nothing is opened yet.

        @param network: the L{INetwork}; blocking calls belong into threads of its
            reactor.
        @param base: the (host, port) of the punching socket in its own network.
        @param gateway: the default gateway, with C{host} and C{interface}.
        @param seeker: an L{ICandidateSeeker}, to be called in the reactor's thread.

        @return: an L{ICandidateSearch}.
        """


class ICandidateSearch(Interface):
    """
    What one source does for one socket.
    """

    def map():  # type: ignore[no-untyped-def]
        """
        Have the address: open the port, and keep it open.  When it is open already,
        make sure that it is.
        """

    def stop():  # type: ignore[no-untyped-def]
        """
        Give everything back.

        @return: a L{Deferred<twisted.internet.defer.Deferred>} that fires, never
            with a failure, when that is done; to cancel it gives up at once.
        """


class ICandidateSeeker(Interface):
    """
    Who is told what a search comes to.
    """

    def available(host):  # type: ignore[no-untyped-def]
        """
        An address could be had, by L{ICandidateSearch.map}.

        @param host: which one, if that is known before; else L{None}.
        """

    def mapped(address):  # type: ignore[no-untyped-def]
        """
        Others reach the socket at this address, from now on instead of at an
        earlier one.

        @param address: (host, port).
        """

    def failed(reason):  # type: ignore[no-untyped-def]
        """
        The search is over; an address that it had is of no use any more.

        @param reason: some words for people.
        """


class ITraversalStrategy(IPlugin):
    """
    A way to get a direct path where plain checks do not find one.  It runs while
    a relay carries the session, at both peers at a time.
    """

    name = Attribute("What verdicts and paths call it: a-z, 0-9 and hyphens.")

    def odds(ours, theirs):  # type: ignore[no-untyped-def]
        """
        @param ours: how our NAT chooses ports, a
            L{punchd.nat.model.PortModel}.
        @param theirs: how the peer's does.

        @return: the probability that it gets through, which orders the
            attempts; 0 when it is of no use.  Both peers must get the same
            from exchanged arguments.
        """

    def attempt(field):  # type: ignore[no-untyped-def]
        """
        @param field: a L{punchd.traversal.field.Field}: what there is to work
            with.

        @return: our half of one attempt, a L{punchd.traversal.field.Attempt}.
        """


class IPortPredictor(IPlugin):
    """
    A plugin that knows one way in which NATs choose outside ports.  It is a pure
    function of what it is given.
    """

    name = Attribute(
        "What it is called: a lower-case letter, then lower-case letters, digits and "
        "hyphens.  No two plugins have the same."
    )

    def evidence(observations):  # type: ignore[no-untyped-def]
        """
        How well does this way explain what was seen?

        @param observations: a sequence of L{punchd.nat.sample.Sample}, each with
            C{time} in seconds, C{localPort}, C{server}, C{mappedHost} and
            C{mappedPort}.

        @return: the natural logarithm of how common the way is times the
            probability that a NAT of this kind gives just these ports.  A port
            that could be any of N counts C{-log(N)}.  Minus infinity if it is
            impossible.
        """

    def predict(observations, now, count):  # type: ignore[no-untyped-def]
        """
        Where will the next mapping be?

        @param observations: see L{evidence}.
        @param now: when it will be made, in seconds.
        @param count: how many predictions are wanted at the most.

        @return: a list of (host, port, probability), the most probable first; the
            probabilities sum up to 1 at the most.
        """


class IPathPolicy(IPlugin):
    """
    A plugin that knows which of several paths that work should carry a session.  It
    is a pure function of what it is given.
    """

    name = Attribute(
        "What it is called, as in C{--policy=NAME}: a lower-case letter, then "
        "lower-case letters, digits and hyphens.  No two plugins have the same."
    )

    def choose(paths, current):  # type: ignore[no-untyped-def]
        """
        Called each time something new is known of a path; so it had better have
        some hysteresis.

        @param paths: a sequence of L{punchd.traversal.policy.PathState}: all paths on
            which a datagram of full size has arrived, that in use included.
        @param current: the one in use, L{None} if there is none that works.

        @return: a L{punchd.traversal.policy.Choice}, or L{None} to stay.
        """

"""
The reactor of a simulated machine.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from errno import EBADF
from typing import TYPE_CHECKING, Any, cast

from twisted.internet import error, tcp
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.base import _ThreePhaseEvent
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import (
    IConnector,
    IDelayedCall,
    IHalfCloseableDescriptor,
    IHostnameResolver,
    IListeningPort,
    IReactorCore,
    IReactorFromThreads,
    IReactorPluggableNameResolver,
    IReactorTCP,
    IReactorTime,
)
from twisted.internet.protocol import ClientFactory, ServerFactory
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from .resolver import Resolver, literal
from .streams import StreamSocket
from .timedcall import TimedCall

if TYPE_CHECKING:
    from .host import Host


class _Client(tcp.Client):
    """
    Twisted's TCP client transport on a simulated socket.
    """

    def createInternetSocket(self) -> Any:
        family = 6 if self.addressFamily == socket.AF_INET6 else 4
        return StreamSocket(self.connector.reactor, family)


class _Connector(tcp.Connector):
    """
    Twisted's connector, for L{_Client}.
    """

    def _makeTransport(self) -> _Client:
        return _Client(self.host, self.port, self.bindAddress, self, self.reactor)


class _Port(tcp.Port):
    """
    Twisted's listening TCP port on a simulated socket.
    """

    machine: HostReactor

    def createInternetSocket(self) -> Any:
        family = 6 if self.addressFamily == socket.AF_INET6 else 4
        made = StreamSocket(self.machine, family)
        made.reuse = True
        return made


@implementer(
    IReactorCore,
    IReactorFromThreads,
    IReactorPluggableNameResolver,
    IReactorTCP,
    IReactorTime,
)
class HostReactor:
    """
    What a program on a simulated machine has for a reactor.  It runs from the
    start, as the network's clock drives it.

    @ivar machine: the machine.
    @ivar running: whether the program runs.
    """

    _log = Logger()

    def __init__(self, machine: Host) -> None:
        self.machine = machine
        self.running = True
        self._clock = machine.network.clock
        self._killed = False
        self._triggers: dict[str, _ThreePhaseEvent] = {}
        self.nameResolver: IHostnameResolver = Resolver(machine.network.names)

    def __repr__(self) -> str:
        return f"<HostReactor of {self.machine.name}>"

    # --- IReactorTime -------------------------------------------------------

    def seconds(self) -> float:
        """
        @return: the virtual time.
        """
        return self._clock.seconds()

    def callLater(
        self,
        delay: float,
        callable: Callable[..., Any],
        *args: object,
        **kwargs: object,
    ) -> TimedCall:
        """
        Call C{callable} later, unless the program is killed before.
        """
        call = self._clock.callLaterFor(self, delay, callable, args, kwargs)
        if self._killed:
            call.cancel()
        return call

    def getDelayedCalls(self) -> Sequence[IDelayedCall]:
        """
        @return: this program's calls to come.
        """
        return [call for call in self._clock.pending() if call.owner is self]

    # --- IReactorFromThreads ------------------------------------------------

    def callFromThread(
        self, callable: Callable[..., Any], *args: object, **kwargs: object
    ) -> None:
        """
        Call C{callable} at the next step.
        """
        self.callLater(0, callable, *args, **kwargs)

    # --- IReactorCore -------------------------------------------------------

    def callWhenRunning(
        self, callable: Callable[..., Any], *args: object, **kwargs: object
    ) -> None:
        """
        Call C{callable} now, for it runs.
        """
        callable(*args, **kwargs)

    def _event(self, eventType: str) -> _ThreePhaseEvent:
        return self._triggers.setdefault(eventType, _ThreePhaseEvent())

    def addSystemEventTrigger(
        self,
        phase: str,
        eventType: str,
        callable: Callable[..., Any],
        *args: object,
        **kwargs: object,
    ) -> Any:
        """
        Have C{callable} called at a system event.
        """
        event = self._event(eventType)
        return eventType, event.addTrigger(phase, callable, *args, **kwargs)

    def removeSystemEventTrigger(self, triggerID: Any) -> None:
        """
        Undo L{addSystemEventTrigger}.
        """
        eventType, handle = triggerID
        self._event(eventType).removeTrigger(handle)

    def fireSystemEvent(self, eventType: str) -> None:
        """
        Call the triggers of an event.
        """
        self._event(eventType).fireEvent()

    def stop(self) -> None:
        """
        Call the triggers of C{"shutdown"}, and consider the program over when
        they have been called.
        """
        if not self.running:
            raise error.ReactorNotRunning("it has stopped")
        self.running = False
        self.addSystemEventTrigger("after", "shutdown", self.machine.programEnded, self)
        self.fireSystemEvent("shutdown")

    def crash(self) -> None:
        """
        End the program at once.
        """
        self.running = False
        self.machine.programEnded(self)

    def run(self) -> None:
        """
        Refuse: the network's clock makes time pass.
        """
        raise error.ReactorAlreadyRunning("the simulated network runs it")

    def iterate(self, delay: float = 0) -> None:
        """
        Refuse: the network's clock makes time pass.
        """
        raise error.ReactorAlreadyRunning("the simulated network runs it")

    def resolve(
        self, name: str, timeout: Sequence[int] = (1, 3, 11, 45)
    ) -> Deferred[str]:
        """
        @return: the IPv4 address of C{name}.
        """
        for address in Resolver(self.machine.network.names).lookup(name):
            if ":" not in address:
                return succeed(address)
        return fail(error.DNSLookupError(f"no address for {name}"))

    def installNameResolver(self, resolver: IHostnameResolver) -> IHostnameResolver:
        """
        Replace the resolver.

        @return: the one before.
        """
        before, self.nameResolver = self.nameResolver, resolver
        return before

    # --- IReactorTCP --------------------------------------------------------

    def listenTCP(
        self,
        port: int,
        factory: ServerFactory,
        backlog: int = 50,
        interface: str = "",
    ) -> IListeningPort:
        """
        Listen for TCP connections.  A wildcard has one family.
        """
        listening = _Port(port, factory, backlog, interface, self)
        listening.machine = self
        listening.startListening()
        return listening

    def connectTCP(
        self,
        host: str,
        port: int,
        factory: ClientFactory[Any],
        timeout: float = 30.0,
        bindAddress: tuple[str, int] | None = None,
    ) -> IConnector:
        """
        Connect by TCP.
        """
        host = literal(host) or host
        connector = _Connector(host, port, factory, timeout, bindAddress, self)
        connector.connect()
        return connector

    # --- as IReactorSocket has it, for INetwork.sharedStream -----------------

    def adoptStreamPort(
        self, fileDescriptor: int, addressFamily: int, factory: ServerFactory
    ) -> IListeningPort:
        """
        Accept connections of a simulated socket that listens.
        """
        listening = _Port(0, factory, reactor=self)
        listening.machine = self
        listening._preexistingSocket = self._duplicate(fileDescriptor)
        listening.startListening()
        return listening

    def adoptStreamConnection(
        self, fileDescriptor: int, addressFamily: int, factory: ServerFactory
    ) -> None:
        """
        Make a transport of a simulated socket that is connected.
        """
        taken: Any = self._duplicate(fileDescriptor)
        remote = taken.getpeername()
        kind = IPv6Address if len(remote) > 2 else IPv4Address
        protocol = factory.buildProtocol(kind("TCP", *remote))
        if protocol is None:
            taken.close()
            return
        port, reactor = cast(Any, None), cast(Any, self)
        transport = tcp.Server(taken, protocol, remote, port, remote[1], reactor)
        transport.repstr = f"<{type(protocol).__name__} on {taken!r}>"
        protocol.makeConnection(transport)

    def _duplicate(self, number: int) -> Any:
        for each in self.machine.boundStreams:
            if each.fileno() == number:
                return each.duplicate()
        raise OSError(EBADF, f"{number} is not of the simulated network")

    # --- descriptors --------------------------------------------------------

    def _socketOf(self, descriptor: Any) -> StreamSocket:
        found = getattr(descriptor, "socket", None)
        if not isinstance(found, StreamSocket):
            raise OSError(EBADF, f"{descriptor!r} is not of the simulated network")
        return found

    def addReader(self, reader: Any) -> None:
        """
        Have C{reader.doRead} called when there is something to read.
        """
        found = self._socketOf(reader)
        found.reader = reader
        found.woken()

    def addWriter(self, writer: Any) -> None:
        """
        Have C{writer.doWrite} called when there is room to write.
        """
        found = self._socketOf(writer)
        found.writer = writer
        found.woken()

    def removeReader(self, reader: Any) -> None:
        """
        Undo L{addReader}.
        """
        found = getattr(reader, "socket", None)
        if found is not None:
            found.reader = None

    def removeWriter(self, writer: Any) -> None:
        """
        Undo L{addWriter}.
        """
        found = getattr(writer, "socket", None)
        if found is not None:
            found.writer = None

    def runDescriptor(self, descriptor: Any, isRead: bool) -> None:
        """
        Let a descriptor read or write, and disconnect it when it says so, as
        L{twisted.internet.posixbase} does.
        """
        try:
            why = descriptor.doRead() if isRead else descriptor.doWrite()
        except Exception as problem:
            self._log.failure("in a protocol")
            self._clock.failures.append(Failure())
            why = problem
        if not why:
            return
        self.removeReader(descriptor)
        if (
            isRead
            and isinstance(why, error.ConnectionDone)
            and IHalfCloseableDescriptor.providedBy(descriptor)
        ):
            descriptor.readConnectionLost(Failure(why))
        else:
            self.removeWriter(descriptor)
            descriptor.connectionLost(Failure(why))

    def kill(self) -> None:
        """
        Let nothing of this program happen any more.
        """
        self._killed = True
        self.running = False
        self._clock.cancelAll(self)

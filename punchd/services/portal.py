"""
The way from a program to its peers: the client that runs on a state folder, or
one of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol
from weakref import WeakKeyDictionary

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from punchd.errors import ClientNotRunning, StateError
from punchd.forward.serving import TakeStream
from punchd.session.stream import Stream
from punchd.signaling.url import RendezvousURL

from .asking import runs
from .remembered import rememberedURLs
from .running import Running, Serving
from .state import StateFolder

#: How long two programs that start at once may take to agree which of them is the
#: client, in seconds, and how often they look.
AGREEING = 10.0
LOOK = 0.05

#: How long a program waits for a client that it has used to come back, in seconds,
#: before it becomes the client itself, and so keeps the other one out.
RETURNING = 5.0

#: Pauses between attempts to offer a service again, in seconds.
AGAIN = (0.1, 0.5, 1.0, 2.0, 5.0)


class Door(Protocol):
    """
    A client, as programs see it.
    """

    def status(self) -> Deferred[dict[str, Any]]:
        """
        @return: fires with C{punchd status --json}.
        """

    def open(self, peerId: str, service: str) -> Deferred[Stream]:
        """
        Open a stream; data may be written to it at once.
        """

    def pair(self, command: str, **words: Any) -> Deferred[dict[str, Any]]:
        """
        @param command: of L{punchd.services.pairing.PairingDesk}.
        """

    def serve(
        self,
        service: str,
        allow: Sequence[str],
        take: TakeStream,
        onLost: Callable[[], object],
    ) -> Deferred[Serving]:
        """
        Offer a service.

        @param onLost: called if the client goes away.
        """


#: Makes a client of this process's own, and how to stop it.
MakeOwn = Callable[
    [Any, StateFolder, Sequence[RendezvousURL], Callable[[Failure], object]],
    "tuple[Door, Callable[[], Deferred[None]]]",
]


def makeOwn(
    reactor: Any,
    folder: StateFolder,
    urls: Sequence[RendezvousURL],
    onGaveUp: Callable[[Failure], object],
) -> tuple[Door, Callable[[], Deferred[None]]]:
    """
    @see: L{punchd.services.own.OwnClient}, which is not loaded for a program that
        has a client to talk to.
    """
    from .own import OwnClient

    own = OwnClient(reactor, folder, urls, onGaveUp)
    own.startService()
    return own, own.stopService


class Portal:
    """
    I lead the programs of one state folder in this process to peers.

    @ivar folder: the state folder.
    @ivar urls: where a client of our own would register.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        folder: StateFolder,
        urls: Sequence[RendezvousURL] = (),
        makeOwn: MakeOwn = makeOwn,
    ) -> None:
        self.folder = folder
        self.urls = list(urls)
        self._reactor = reactor
        self._makeOwn = makeOwn
        self._offerings: set[Offering] = set()
        self._own: Door | None = None
        self._stopOwn: Callable[[], Deferred[None]] | None = None
        self._trigger: Any = None
        self._awaited = False
        self._gone: float | None = None

    def check(self) -> None:
        """
        @raise ClientNotRunning: there is neither a client nor a rendezvous.
        """
        if self._own is None and not self._known() and not runs(self.folder):
            raise ClientNotRunning(
                f"No client is running on {self.folder.path}, and it never was told"
                " a rendezvous; start one with `twistd -n punch-client`, or name the"
                " rendezvous with --rendezvous=URL (rendezvous=URL in an endpoint)."
            )

    async def door(self) -> Door:
        """
        @return: the client to use now.

        @raise ClientNotRunning: there is none, and no rendezvous for our own.
        @raise StateError: another process has the folder and does not answer.
        """
        until = self._reactor.seconds() + AGREEING
        while self._own is None:
            if runs(self.folder):
                self._awaited, self._gone = True, None
                return Running(self._reactor, self.folder)
            self.check()
            if self._mayReturn():
                await deferLater(self._reactor, LOOK)
                continue
            try:
                self.folder.lock()
            except StateError:
                # Somebody else is about to be the client, or about to end.
                if self._reactor.seconds() > until:
                    raise
                await deferLater(self._reactor, LOOK)
                continue
            self._start()
        return self._own

    async def open(self, peerId: str, service: str) -> Stream:
        """
        Open a stream to a service of a peer; data may be written to it at once.
        """
        return await (await self.door()).open(peerId, service)

    def serve(self, service: str, allow: Sequence[str], take: TakeStream) -> Offering:
        """
        Offer a service until that is stopped, whichever client there is.

        @param allow: the ids of peers that may use it.
        """
        offering = Offering(self._reactor, self, service, allow, take)
        self._offerings.add(offering)
        return offering

    def withdrawn(self, offering: Offering) -> None:
        """
        Somebody stopped an offering.
        """
        self._offerings.discard(offering)

    async def stop(self) -> None:
        """
        Stop what is offered, and the client, if it is ours.
        """
        for offering in list(self._offerings):
            offering.stop()
        stop, self._stopOwn, self._own = self._stopOwn, None, None
        trigger, self._trigger = self._trigger, None
        if trigger is not None:
            self._reactor.removeSystemEventTrigger(trigger)
        if stop is not None:
            await stop()
            self.folder.close()

    # --- inside

    def _known(self) -> list[RendezvousURL]:
        if not self.urls:
            self.urls = rememberedURLs(self.folder)
        return self.urls

    def _mayReturn(self) -> bool:
        """
        @return: whether the client that we have used may be on its way back: it would
            not come up if we took its place now.
        """
        if self._awaited:
            now = self._reactor.seconds()
            self._gone = now if self._gone is None else self._gone
            self._awaited = now - self._gone < RETURNING
        return self._awaited

    def _start(self) -> None:
        try:
            self._own, self._stopOwn = self._makeOwn(
                self._reactor, self.folder, self._known(), self._gaveUp
            )
        except BaseException:
            self.folder.close()
            raise
        self._trigger = self._reactor.addSystemEventTrigger(
            "before", "shutdown", self._shutdown
        )

    def _shutdown(self) -> Deferred[None]:
        self._trigger = None
        return Deferred.fromCoroutine(self.stop())

    def _gaveUp(self, failure: Failure) -> None:
        self.log.error("{error}", error=str(failure.value))
        Deferred.fromCoroutine(self.stop())


class Offering:
    """
    I offer a service through a portal, anew when its client has gone.

    @ivar ready: fires once the service is offered for the first time, or fails
        with why it cannot be.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        portal: Portal,
        service: str,
        allow: Sequence[str],
        take: TakeStream,
    ) -> None:
        self.ready: Deferred[None] = Deferred(lambda _: self.stop())
        self._reactor = reactor
        self._portal = portal
        self._service = service
        self._allow = allow
        self._take = take
        self._serving: Serving | None = None
        self._stopped = False
        self._failures = 0
        self._waiting: Any = None
        self._begin()

    def stop(self) -> None:
        """
        Offer it no more.
        """
        self._stopped = True
        self._portal.withdrawn(self)
        if self._waiting is not None and self._waiting.active():
            self._waiting.cancel()
        if self._serving is not None:
            self._serving.stop()

    def _begin(self) -> None:
        self._waiting = None
        Deferred.fromCoroutine(self._offer()).addErrback(self._failed)

    async def _offer(self) -> None:
        door = await self._portal.door()
        serving = await door.serve(self._service, self._allow, self._take, self._lost)
        if self._stopped:
            serving.stop()
            return
        self._serving = serving
        self._failures = 0
        if not self.ready.called:
            self.ready.callback(None)

    def _failed(self, failure: Failure) -> None:
        if not self.ready.called:
            self.ready.errback(failure)
        elif not self._stopped:
            self.log.warn(
                "{service} cannot be offered: {error}",
                service=self._service,
                error=failure.getErrorMessage(),
            )
            self._lost()

    def _lost(self) -> None:
        self._serving = None
        if not self._stopped and self._waiting is None:
            pause = AGAIN[min(self._failures, len(AGAIN) - 1)]
            self._failures += 1
            self._waiting = self._reactor.callLater(pause, self._begin)


# --- one for all endpoints of a process --------------------------------------

_portals: WeakKeyDictionary[Any, dict[str, Portal]] = WeakKeyDictionary()


def portalFor(
    reactor: Any, state: str | None, urls: Sequence[RendezvousURL] = ()
) -> Portal:
    """
    @param state: the state folder, L{None} for the platform's.

    @return: the one portal that this process has for it.
    """
    folder = StateFolder(state)
    portals = _portals.setdefault(reactor, {})
    portal = portals.get(folder.path)
    if portal is None:
        portal = portals[folder.path] = Portal(reactor, folder)
    portal.urls += [url for url in urls if url not in portal.urls]
    return portal

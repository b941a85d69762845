"""
A client inside a program that has none to talk to.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, cast

from twisted.application.service import MultiService
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.python.failure import Failure

from punchd._plugins import pluginsByName
from punchd.errors import PunchError
from punchd.forward.serving import Serving, TakeStream
from punchd.interfaces import ITraversalStrategy
from punchd.net.clock import SleepDetector, makeMonotonic
from punchd.net.kernel import KernelNetwork
from punchd.net.proxy import proxyChooser
from punchd.session.stream import Stream
from punchd.signaling.url import RendezvousURL

from .client import PunchClient
from .control import ControlService
from .handover import Handover
from .pairing import PairingDesk
from .remembered import rememberURLs
from .running import Serving as Offer
from .state import StateFolder


class OwnClient(MultiService):
    """
    I am a client without publications and forwards of its own.  Other programs
    may use me through the control socket, for as long as this one runs.  Since that
    may be short, I ask no router for a port.

    @ivar punch: the client.
    """

    def __init__(
        self,
        reactor: Any,
        folder: StateFolder,
        urls: Sequence[RendezvousURL],
        onGaveUp: Callable[[Failure], object],
    ) -> None:
        """
        @param folder: whose lock is held.
        """
        super().__init__()
        network = KernelNetwork(makeMonotonic(reactor))
        self._serving = Serving()
        self.punch = PunchClient(
            network,
            folder.identity(),
            urls,
            self._serving,
            self._serving,
            strategies=tuple(pluginsByName(ITraversalStrategy).values()),
            proxyFor=proxyChooser(None, os.environ),
            nameOf=lambda peerId: folder.petnames.nameOf(peerId) or peerId,
            makeSleepDetector=SleepDetector,
            onGaveUp=onGaveUp,
        )
        self.punch.setServiceParent(self)
        handover = Handover(
            network.reactor,
            network.entropy,
            self.punch.context.identity.peerId,
            self.punch,
            self._serving,
        )
        self.pairing = PairingDesk(
            folder,
            self.punch.links,
            self.punch.context.identity.peerId,
            network.entropy,
            self.punch.reload,
        )
        control = ControlService(
            network.reactor, folder, self.punch, handover, self.pairing
        )
        control.setServiceParent(self)
        # Once it has proven good: the next program need not be told again.
        registered = self.punch.whenRegistered()
        registered.addCallback(lambda _: rememberURLs(folder, urls))
        registered.addErrback(lambda f: f.trap(CancelledError, PunchError))

    def status(self) -> Deferred[dict[str, Any]]:
        """
        @return: how things are.
        """
        return succeed(cast("dict[str, Any]", self.punch.status()))

    def open(self, peerId: str, service: str) -> Deferred[Stream]:
        """
        Open a stream to a service of a peer.
        """
        return self.punch.open(peerId, service)

    def pair(self, command: str, **words: Any) -> Deferred[dict[str, Any]]:
        """
        Invite, wait for who was invited, or accept.
        """
        ready = self.punch.whenRegistered(failAfterFailures=3)
        return ready.addCallback(lambda _: getattr(self.pairing, command)(**words))

    def serve(
        self,
        service: str,
        allow: Sequence[str],
        take: TakeStream,
        onLost: Callable[[], object],
    ) -> Deferred[Offer]:
        """
        Offer a service.

        @raise punchd.errors.InvalidOption: the name is no name, or taken.
        """
        return succeed(self._serving.serve(service, allow, take))

"""
The client as a service: what C{twistd punch-client} runs, and what the
C{punch:} endpoints run inside other programs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, DeferredList, fail, succeed
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from punchd.core import Address
from punchd.errors import PeerUnavailable
from punchd.forward.serving import Permissions, TakeStream
from punchd.identity import Identity
from punchd.interfaces import (
    ICandidateSource,
    INetwork,
    IPathPolicy,
    IPortPredictor,
    ITraversalStrategy,
)
from punchd.nat.predictors import fitting
from punchd.net.demux import Demux
from punchd.net.gathering import Gathering
from punchd.net.proxy import ProxyFor, noProxy
from punchd.net.punching import PunchingSocket
from punchd.net.ways import Way
from punchd.portmap.mapper import PortMapper
from punchd.session.context import Context
from punchd.session.rehearsal import rehearse
from punchd.session.report import describe, textOf, why
from punchd.session.stream import Stream
from punchd.signaling.url import RendezvousURL
from punchd.traversal.builtin import BUILTIN
from punchd.traversal.policy import Quality

from .links import Links
from .memory import Memory
from .peers import Peers
from .presence import Presence
from .recall import Recall
from .roaming import MakeSleepDetector, Roaming
from .status import NatStatus, SessionStatus, Status, rendezvousStatus
from .teaching import Teaching
from .upkeep import Upkeep

#: How long a stop waits for goodbyes to leave, in seconds.
_GOODBYE = 0.6


class PunchClient(MultiService):
    """
    I am present at the rendezvous, and have sessions with peers.

    @ivar context: what the sessions share.
    @ivar peers: the sessions.
    @ivar links: the connections to the rendezvous.
    @ivar memory: what was learned about networks.
    @ivar upkeep: decides how often idle paths are used.
    @ivar onReload: called when files have changed that concern the client.
    @ivar portMapper: asks routers for ports, unless there is nothing to ask by.
    """

    log = Logger()

    def __init__(
        self,
        network: INetwork,
        identity: Identity,
        urls: Sequence[RendezvousURL],
        permissions: Permissions,
        publish: TakeStream,
        *,
        port: int = 0,
        mode: str = "auto",
        patience: float = 120.0,
        linger: float = 600.0,
        keepalive: float | None = None,
        memory: Memory | None = None,
        sources: Sequence[ICandidateSource] = (),
        strategies: Sequence[ITraversalStrategy] = BUILTIN,
        policy: IPathPolicy | None = None,
        predictors: Sequence[IPortPredictor] = (),
        proxyFor: ProxyFor = noProxy,
        relays: Sequence[Way] = (),
        nameOf: Callable[[str], str] = str,
        makeSleepDetector: MakeSleepDetector | None = None,
        onGaveUp: Callable[[Failure], object] = lambda failure: None,
    ) -> None:
        """
        @param predictors: those of others, besides what we know of NATs.
        @param proxyFor: gives the HTTP proxy that may lead to a host.
        @param relays: ways to relays that the user names; that of the rendezvous
            serves when they fail.
        """
        super().__init__()
        self.gaveUp = onGaveUp
        self.network = network
        self.port = port
        self.socket = PunchingSocket(network, Demux())
        self.gathering = Gathering(self.socket)
        self.onReload: Callable[[], object] = lambda: None
        self.links = Links(network, urls, identity, self, proxyFor)
        self.context = Context(
            identity,
            network.entropy(8).hex(),
            network.reactor,
            network.wallClock,
            network.entropy,
            self.socket,
            self.gathering,
            self.links,
            mode=mode,
            patience=patience,
            linger=linger,
            nameOf=nameOf,
            strategies=strategies,
            policy=policy or Quality(),
            fit=fitting(predictors),
        )
        self.peers = Peers(self.context, permissions, publish)
        self.presence = Presence(self.context)
        self.presence.surveyor.survey.fit = self.context.fit
        self.presence.relaying.proxyFor = proxyFor
        self.presence.relaying.foreign = relays
        self.memory = memory or Memory(network.wallClock)
        self.upkeep = Upkeep(
            self.context,
            self.memory,
            self.presence,
            self.peers.busy,
            self.peers.keepAlive,
            keepalive,
        )
        self.context.lessons = Teaching(self.context, self.memory, self.upkeep)
        self.recall = Recall(self.context, self.memory, self.upkeep, self.presence)
        self.presence.onSeen = self.upkeep.seen
        self.presence.surveyor.onSurveyed = self.upkeep.surveyed
        self.links.setServiceParent(self)
        Roaming(network, self, makeSleepDetector).setServiceParent(self)
        self.portMapper: PortMapper | None = None
        if sources:
            self.portMapper = PortMapper(network, self.socket, self.gathering, sources)
            self.portMapper.setServiceParent(self)

    # --- Service

    def privilegedStartService(self) -> None:
        """
        Open the punching socket.

        @raise InvalidOption: its port is taken.
        """
        self.socket.open(self.port)
        super().privilegedStartService()

    def startService(self) -> None:
        """
        Go to the rendezvous.
        """
        if not self.socket.families():
            self.socket.open(self.port)
        # The user's first dial has better things to do.
        rehearse()
        super().startService()

    def stopService(self) -> Deferred[None]:
        """
        Say goodbye to the peers, then to the rendezvous.
        """
        busy = bool(self.peers.sessions)
        self.peers.stop()
        clock = self.network.reactor
        wait = deferLater(clock, _GOODBYE) if busy else succeed(None)

        def leave(_: object) -> Deferred[Any]:
            self.upkeep.stop()
            self.memory.save()
            self.presence.stop()
            self.socket.close()
            return DeferredList([super(PunchClient, self).stopService()])

        return wait.addCallback(leave).addCallback(lambda _: None)

    def networkChanged(self) -> None:
        """
        We have other addresses, or time has passed unnoticed (services.roaming).
        """
        self.gathering.hostsChanged()
        self.links.check()
        self.upkeep.stop()
        self.presence.networkChanged()
        if self.portMapper is not None:
            self.portMapper.networkChanged()
        self.peers.networkChanged()

    # --- what programs want

    def whenRegistered(self, failAfterFailures: int | None = None) -> Deferred[None]:
        """
        @return: fires when a rendezvous knows us.
        """
        return self.links.whenRegistered(failAfterFailures)

    def reload(self) -> None:
        """
        Take over what has changed in files, and end what is not permitted any more.
        """
        self.onReload()
        self.peers.permissionsChanged()

    def open(
        self, peerId: str, service: str, datagrams: bool = False
    ) -> Deferred[Stream]:
        """
        Open a stream to a service of a peer.

        @param datagrams: whether it is there for datagrams.
        """
        return self.peers.open(peerId, service, datagrams)

    # --- what the rendezvous brings (links call these)

    def registered(self, registration: Any) -> None:
        """
        The rendezvous knows us: let it see where our packets come from.
        """
        if registration.clockTrouble:
            self.log.warn("{trouble}", trouble=registration.clockTrouble, event="clock")
        self.presence.registered(registration)
        self.peers.reachable()

    def rendezvousLeaves(self) -> None:
        """
        The rendezvous stops, and there is no other: give back what nobody needs now.
        """
        if all(each.state == "direct" for each in self.peers.sessions.values()):
            self.presence.relaying.rendezvousLeaves()

    def incoming(
        self,
        dialler: str,
        dialId: str,
        offer: bytes,
        flight: Sequence[bytes],
        observed: Sequence[Address],
    ) -> Deferred[tuple[bytes, list[bytes]]]:
        """
        A peer dials.
        """
        try:
            return succeed(
                self.peers.incoming(dialler, dialId, offer, flight, observed)
            )
        except PeerUnavailable as e:
            return fail(e)

    # --- what C{punchd} asks (services.control.Controlled)

    def status(self) -> Status:
        """
        @return: the contract of C{punchd status --json}.
        """
        public = [textOf(address) for address in self.gathering.mapped.values()]
        return {
            "peerId": self.context.identity.peerId,
            "rendezvous": rendezvousStatus(self.links.current),
            "nat": self._nat(public),
            "sessions": [
                cast(SessionStatus, describe(session))
                for session in self.peers.sessions.values()
            ],
            "budget": self.context.budget.toDict(),
        }

    def _nat(self, public: list[str]) -> NatStatus:
        found: NatStatus = {
            "mapping": self.presence.mapping or "unknown",
            "filtering": "unknown",
            "allocation": "unknown",
            "hairpin": None,
            "bindingLifetime": None,
            "publicAddresses": public,
            "openerTtl": self.context.openerTtl,
            "portMapping": self.portMapper.describe() if self.portMapper else [],
        }
        return self.upkeep.complete(self.presence.surveyor.complete(found))

    def why(self, peer: str) -> dict[str, Any]:
        """
        @return: why the path to the peer is what it is.

        @raise PeerUnavailable: there never was a session with it.
        """
        session = self.peers.sessions.get(peer) or self.peers.ended.get(peer)
        if session is None:
            raise PeerUnavailable(
                "There was no session with that peer since the client started."
            )
        surveyor, registered = self.presence.surveyor, self.links.registered
        mapping = surveyor.mapping(self.presence.mapping)
        known = surveyor.knowledge
        hairpin = None if known is None else known.behavior.hairpin
        return why(session, peer, mapping, hairpin=hairpin, connected=registered)

    def allows(self, peer: str, service: str) -> bool:
        """
        @param service: empty for any.

        @return: whether the peer may use the service.
        """
        permissions = self.peers.permissions
        if service:
            return permissions.allows(peer, service)
        return permissions.allowsPeer(peer)

    def ping(self, peer: str, count: int) -> Deferred[list[float | None]]:
        """
        @return: C{count} round trips in seconds through the session, one a
            second at the most.
        """
        ready = self.peers.session(peer).whenReady()
        return ready.addCallback(
            lambda session: Deferred.fromCoroutine(session.ping(count))
        )

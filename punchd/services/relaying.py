"""
The relay of a client: that of its rendezvous, or one that its user names.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from punchd.core import Address
from punchd.net.proxy import ProxyFor, noProxy
from punchd.net.relay import Relay
from punchd.net.udp import Run
from punchd.net.ways import RelayCredentials, Way, throughProxyToo, waysToRendezvous
from punchd.session.context import Context

from .registration import Registration

#: Relay credentials are renewed when so much of their time has passed.
_EARLY = 0.8

#: Seconds for which the former relay is kept once there is another one: the peer has
#: to be told, and paths have to be proven.
HANDOVER: Final = 2.0
#: Seconds for which it is kept when there is none.
STAY: Final = 60.0


class Relaying:
    """
    I make the relay known to the sessions, and keep its credentials fresh.

    @ivar proxyFor: gives the proxy that may lead to a host.
    @ivar foreign: ways to relays that the user named; they are tried first.
    @ivar onRelayed: called with the way by which a relay is reached.
    @ivar heardAt: tells when the rendezvous has answered over UDP last.
    """

    log = Logger()

    def __init__(self, context: Context) -> None:
        self.context = context
        self.proxyFor: ProxyFor = noProxy
        self.foreign: Sequence[Way] = ()
        self._preferred = ""
        self.onRelayed: Callable[[Way], object] = lambda way: None
        self.heardAt: Callable[[], float | None] = lambda: None
        self._relay: Relay | None = None
        self._former: tuple[Relay, Address] | None = None
        self._formerServer: Address | None = None
        self._leaving: IDelayedCall | None = None
        self._renewing: IDelayedCall | None = None

    def registered(self, registration: Registration) -> None:
        """
        The rendezvous knows us, and may lend a relay.
        """
        self.forget()
        context = self.context
        servers = [a for a in registration.stun if ":" not in a[0]]
        udp = next(iter([*servers, *registration.stun]), None)
        ways = throughProxyToo(self.foreign, self.proxyFor)
        if registration.relayUsername is not None:
            how = registration.reached
            proxied = how is not None and self.proxyFor(how.host) is not None
            ways += waysToRendezvous(udp, how, proxied)
        if not ways:
            return
        before = self._relay
        if before is not None and before.relayed and before.way not in ways:
            self._moveFrom(before)
        if self._relay is None:
            self._relay = Relay(
                context.socket,
                ways,
                context.clock,
                context.entropy,
                self._changed,
                proxyFor=self.proxyFor,
                wishes=None if before is None else before.wishes.copy(),
                heardAt=lambda: self.heardAt(),
            )
            self._relay.former.onLeft = context.gathering.relayGone
        self._relay.ways = ways
        self._relay.chances.preferred = self._preferred
        self._useCredentials(registration)
        context.relay = self._relay
        if self._relay.wishes:
            # A rendezvous that was started anew knows nothing of it.
            self._relay.check()

    # --- from one rendezvous to another

    def _moveFrom(self, relay: Relay) -> None:
        """
        Keep what that relay carries until the next one carries it.
        """
        self._leave()
        assert relay.relayed is not None
        self._relay, self._former = None, (relay, relay.relayed)
        way = relay.way
        if way is not None and way.transport == "udp":
            self._formerServer = way.server
            self.context.socket.demux.register(way.server, relay)
        # It is to get nothing new.
        relay.ways = ()
        relay.onChanged = self._leave
        self._leaving = self.context.clock.callLater(STAY, self._leave)

    def _leave(self) -> None:
        """
        Do without the former relay.
        """
        former, self._former = self._former, None
        leaving, self._leaving = self._leaving, None
        if leaving is not None and leaving.active():
            leaving.cancel()
        if former is None:
            return
        relay, relayed = former
        if self._formerServer is not None:
            self.context.socket.demux.unregister(self._formerServer, relay)
            self._formerServer = None
        gathering = self.context.gathering
        if gathering.relayed == relayed:
            gathering.relayChanged(None)
        else:
            gathering.relayGone(relayed, deserted=True)
        relay.release()

    def rendezvousLeaves(self) -> None:
        """
        The rendezvous stops and we have no other: do not hold it up.
        """
        if self._relay is not None and self._relay.relayed is not None:
            self._relay.giveBack()

    def _useCredentials(self, registration: Registration) -> None:
        relay, username = self._relay, registration.relayUsername
        if relay is None or username is None:
            return
        relay.chances.credentials = RelayCredentials(
            username,
            registration.relayPassword or "",
            registration.realm or "",
            registration.relayNonce,
        )
        if registration.relayExpires:
            self._renewing = self.context.clock.callLater(
                _EARLY * registration.relayExpires, self._renew
            )

    def _renew(self) -> None:
        """
        Get credentials for the relay while the old ones are still good.
        """
        self._renewing = None

        def failed(failure: Failure) -> None:
            # One that is lost comes back with new credentials.
            self.log.info("{reason}", reason=failure.getErrorMessage())

        self.context.link.renew().addCallbacks(self._useCredentials, failed)

    def _changed(self) -> None:
        relay = self._relay
        if relay is None:
            return
        if relay.relayed is not None and relay.way is not None:
            self.onRelayed(relay.way)
        moved = self._former is not None and relay.relayed is not None
        if moved and self._leaving is not None:
            self._leaving.reset(HANDOVER)
        gathering = self.context.gathering
        if moved or self._former is None:
            atOnce = not moved and relay.former.carriage is None
            gathering.relayChanged(relay.relayed, atOnce=atOnce)

    def prefer(self, kind: str) -> None:
        """
        @param kind: of the way that was the best in this network before; empty if
            that is not known.
        """
        self._preferred = kind
        if self._relay is not None:
            self._relay.chances.preferred = kind

    def heard(self, rtt: float | None) -> None:
        """
        The rendezvous has answered over UDP.

        @param rtt: how soon, in seconds, if that could be measured.
        """
        if self._relay is not None:
            self._relay.chances.udpHeard = True
            if rtt is not None:
                self._relay.chances.rtt = rtt

    def received(self, runs: Sequence[Run]) -> None:
        """
        The rendezvous has sent something to the punching socket.
        """
        if self._relay is not None:
            self._relay.runsReceived(runs)

    def networkChanged(self) -> None:
        """
        Find out whether our relayed address is still ours.
        """
        if self._relay is not None:
            self._relay.chances.networkChanged()
            if self._relay.wishes:
                self._relay.check()

    def forget(self) -> None:
        """
        What the rendezvous gave counts no more, but what was allocated stays.
        """
        renewing, self._renewing = self._renewing, None
        if renewing is not None:
            renewing.cancel()
        if self._relay is not None:
            self._relay.chances.unheard()

    def stop(self) -> None:
        """
        Give the relay back.
        """
        self.forget()
        self._leave()
        if self._relay is not None:
            self._relay.release()

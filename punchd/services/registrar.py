"""
The rendezvous' side of signaling: what clients have to say to each other is
passed on.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from punchd.core import Address
from punchd.errors import PeerUnavailable, RendezvousRefused
from punchd.signaling import commands
from punchd.signaling.boxes import FIRST_BOX
from punchd.signaling.directory import Dial, Directory, Presence

from .leasing import Leasing
from .nameplates import Nameplates
from .signalingconnection import SignalingConnection

#: A listener has this long to answer a dial.
ANSWER = 10.0
#: No refusal comes sooner: whether a peer is absent or unwilling cannot be told
#: from the time that the refusal took.
REFUSAL = 0.5


@dataclass(frozen=True, slots=True)
class Offering:
    """
    What a client that has registered is told.

    @ivar stun: the UDP addresses for Binding and TURN.
    @ivar alternate: those with another host or port (RFC 5780).
    @ivar relay: from a handle to the arguments of L{commands.Renew}'s response,
        empty without a relay.
    @ivar time: gives the seconds since 1970.
    """

    stun: Sequence[Address]
    alternate: Sequence[Address]
    relay: Callable[[str], dict[str, Any]]
    time: Callable[[], float | None] = lambda: None


class Registrar:
    """
    I connect the directory with the connections.

    @ivar offering: what clients are told as they register.
    @ivar counters: what happened, by name.
    @ivar outcomes: what carried sessions in the end, by strategy.
    @ivar draining: whether nobody new is taken.
    @ivar leases: who may spray.
    @ivar nameplates: where clients meet that do not know each other yet.
    """

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        directory: Directory,
        offering: Offering,
        guards: Sequence[Any] = (),
    ) -> None:
        """
        @param guards: L{punchd.interfaces.IGuard}s, who are asked whether a client
            may register and dial.
        """
        self._guards = tuple(guards)
        self.clock = clock
        self.directory = directory
        self.offering = offering
        self.counters: Counter[str] = Counter()
        self.outcomes: Counter[str] = Counter()
        self.draining = False
        self.leases = Leasing(clock, self.counters)
        self.nameplates = Nameplates(clock, os.urandom)
        self._expiry: IDelayedCall | None = None
        self._whenIdle: Callable[[], object] | None = None
        self._connections: set[SignalingConnection] = set()
        self._refusals: set[Deferred[Any]] = set()

    def connected(
        self, peer: str, host: str, patience: float = FIRST_BOX
    ) -> SignalingConnection:
        """
        @param peer: the peer id of the certificate that was shown.
        @param host: where the connection comes from.
        @param patience: seconds that are left for the first complete box.

        @return: the protocol that speaks with that client.
        """
        connection = SignalingConnection(self, peer, host, patience)
        self._connections.add(connection)
        return connection

    def disconnected(self, connection: SignalingConnection) -> None:
        """
        A connection was lost.
        """
        self._connections.discard(connection)
        self.nameplates.gone(connection)
        presence, connection.presence = connection.presence, None
        if presence is not None and presence.connection is connection:
            self._departed(presence, connection)
        if not self._connections and self._whenIdle is not None:
            self._whenIdle()

    def _departed(self, presence: Presence, connection: SignalingConnection) -> None:
        ended = self.directory.depart(presence, connection, self.clock.seconds())
        self.log.info("{peer} left", peer=presence.peer, event="left")
        self._scheduleExpiry()
        # That everybody has to go says nothing about anybody.
        if self.draining:
            return
        self._left(presence, [*presence.dials.values(), *ended])

    def drain(self, seconds: float) -> None:
        """
        Take nobody new, and say goodbye to everybody.

        @param seconds: how long what is relayed will last.
        """
        self.draining = True
        for connection in list(self._connections):
            if connection.presence is not None:
                connection.say(commands.Goodbye, seconds=seconds)

    def stop(self, seconds: float) -> Deferred[None]:
        """
        Close all connections.

        @param seconds: how long clients may take to close their side.

        @return: fires when all connections are closed.
        """
        if not self.draining:
            self.drain(0.0)
        for connection in list(self._connections):
            connection.loseConnection()
        self.nameplates.stop()
        for refusal in list(self._refusals):
            refusal.cancel()
        stopping: Deferred[None] = Deferred()
        late = self.clock.callLater(seconds, self._abort)

        def idle() -> None:
            self._whenIdle = None
            if late.active():
                late.cancel()
            if self._expiry is not None:
                self._expiry.cancel()
                self._expiry = None
            stopping.callback(None)

        if self._connections:
            self._whenIdle = idle
        else:
            idle()
        return stopping

    def _abort(self) -> None:
        for connection in list(self._connections):
            connection.refuse("the rendezvous stops")

    def _scheduleExpiry(self) -> None:
        due = self.directory.deadline()
        if due is not None and self._expiry is None:
            delay = max(0.0, due - self.clock.seconds())
            self._expiry = self.clock.callLater(delay, self._expire)

    def _expire(self) -> None:
        self._expiry = None
        self.directory.expire(self.clock.seconds())
        self._scheduleExpiry()

    # --- presence

    def register(
        self, connection: SignalingConnection, resume: str | None
    ) -> dict[str, Any]:
        """
        @return: the response to L{commands.Register}.

        @raise RendezvousRefused: there is no room, or a guard says no.
        """
        peer, host = connection.peer, connection.host
        if self.draining:
            self.counters["stopping"] += 1
            raise RendezvousRefused("The rendezvous stops.")
        if not all(each.mayRegister(peer, host) for each in self._guards):
            self.counters["not admitted"] += 1
            raise RendezvousRefused("The rendezvous does not admit this client.")
        arrival = self.directory.register(
            connection.peer,
            connection.host,
            connection,
            resume,
            self.clock.seconds(),
        )
        presence = connection.presence = arrival.presence
        self.counters["resumed" if arrival.resumed else "registered"] += 1
        self.log.info(
            "{peer} registered from {host}",
            peer=presence.peer,
            host=presence.host,
            resumed=arrival.resumed,
            event="registered",
        )
        old: SignalingConnection | None = arrival.replaced
        if old is not None:
            old.presence = None
            if not arrival.resumed:
                old.say(commands.Replaced)
            old.loseConnection()
        if arrival.former is not None:
            self._left(arrival.former, arrival.ended)
        elif arrival.resumed and old is None:
            for other in presence.counterparts():
                _tell(other, commands.PeerReturned, peer=presence.peer)
        return {
            "version": commands.VERSION,
            "handle": presence.handle,
            "key": presence.key,
            "stun": self.offering.stun,
            "alternate": self.offering.alternate,
            "observedHost": connection.host,
            "resumed": arrival.resumed,
            "time": self.offering.time(),
            **self.relayFor(presence),
        }

    def _left(self, presence: Presence, dials: Sequence[Dial]) -> None:
        """
        Tell the others that a peer's connection is gone.  Whether sessions
        live on is not ours to say; only what had no answer yet is over.
        """
        others = {dial.other(presence): None for dial in dials if dial.accepted}
        for other in others:
            _tell(other, commands.PeerGone, peer=presence.peer)
        for dial in dials:
            if not dial.accepted and presence is dial.dialler:
                self._end(dial, presence, "the dialler left")

    def relayFor(self, presence: Presence) -> dict[str, Any]:
        """
        @return: the response to L{commands.Renew}.
        """
        return self.offering.relay(presence.handle)

    # --- dials

    def dial(
        self,
        dialler: Presence,
        peer: str,
        dialId: str,
        offer: bytes,
        flight: Sequence[bytes],
    ) -> Deferred[dict[str, Any]]:
        """
        Bring an offer to a peer.

        @return: fires with the response to L{commands.Dial}, or fails with
            L{PeerUnavailable}.
        """
        began = self.clock.seconds()
        self.counters["dials"] += 1
        if not all(each.mayDial(dialler.peer, peer) for each in self._guards):
            self.counters["dials not admitted"] += 1
            return self._refused(began)
        try:
            dial = self.directory.dial(dialler, peer, dialId, began)
        except PeerUnavailable:
            return self._refused(began)
        listener = dial.listener
        asked: Deferred[dict[str, Any]] = listener.connection.ask(
            commands.Incoming,
            ANSWER,
            dialler=dialler.peer,
            dialId=dialId,
            offer=offer,
            flight=self._carry(dial, dialler, flight),
            observed=dialler.sightings.addresses(began),
        )

        def answered(answer: dict[str, Any]) -> Any:
            if not self.directory.accept(dial):
                return self._refused(began)
            self.counters["accepted"] += 1
            return {
                "answer": answer["answer"],
                "flight": self._carry(dial, listener, answer["flight"]),
                "observed": listener.sightings.addresses(self.clock.seconds()),
            }

        def failed(failure: Failure) -> Any:
            self.directory.close(dial)
            if failure.check(TimeoutError):
                self.counters["unanswered"] += 1
                self._end(dial, dialler, "the answer came too late")
            return self._refused(began)

        return asked.addCallbacks(answered, failed)

    def _refused(self, began: float) -> Deferred[dict[str, Any]]:
        """
        @return: fails no sooner than any refusal does.
        """
        self.counters["refused"] += 1
        rest = max(0.0, began + REFUSAL - self.clock.seconds())

        waiting: Deferred[None] = deferLater(self.clock, rest)
        self._refusals.add(waiting)

        def refuse(result: object) -> dict[str, Any]:
            self._refusals.discard(waiting)
            raise PeerUnavailable()

        return waiting.addBoth(refuse)

    def trickle(
        self,
        side: Presence,
        dialId: str,
        update: bytes,
        datagrams: Sequence[bytes],
    ) -> None:
        """
        Pass on an update.
        """
        dial = self.directory.maySpeak(side, dialId)
        if dial is None:
            self.counters["trickled into nothing"] += 1
            return
        carried = self._carry(dial, side, datagrams)
        if update or carried:
            _tell(
                dial.other(side),
                commands.Trickled,
                peer=side.peer,
                dialId=dialId,
                update=update,
                datagrams=carried,
            )

    def bye(self, side: Presence, dialId: str, reason: str) -> None:
        """
        A side has ended a dial.
        """
        dial = side.dials.get(dialId)
        if dial is not None:
            self.directory.close(dial)
            self._end(dial, side, reason)

    def _end(self, dial: Dial, side: Presence, reason: str) -> None:
        _tell(
            dial.other(side),
            commands.Ended,
            peer=side.peer,
            dialId=dial.dialId,
            reason=reason,
        )

    def _carry(
        self, dial: Dial, side: Presence, datagrams: Sequence[bytes]
    ) -> list[bytes]:
        carried = dial.carry(side, datagrams)
        self.counters["flight datagrams"] += len(carried)
        self.counters["flight datagrams over budget"] += len(datagrams) - len(carried)
        return carried


def _tell(presence: Presence, command: Any, **arguments: Any) -> None:
    if presence.connection is not None:
        presence.connection.say(command, **arguments)

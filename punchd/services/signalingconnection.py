"""
The rendezvous' side of one client's connection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import connectionDone
from twisted.protocols import amp
from twisted.python.failure import Failure

from punchd.errors import RendezvousRefused
from punchd.signaling import commands
from punchd.signaling.boxes import FIRST_BOX, BoundedAMP
from punchd.signaling.directory import Presence
from punchd.stun.limit import PrefixLimit

from .nameplates import TERM
from .outcomes import STRATEGIES

if TYPE_CHECKING:
    from .registrar import Registrar

#: Clients send a Ping each minute.
SILENCE = 150.0
#: Commands of one client: a second in the long run, and at once.
COMMAND_RATE = 50.0
COMMAND_BURST = 400.0


class SignalingConnection(BoundedAMP):
    """
    I am the connection of one client, which has proven its peer id.
    """

    def __init__(
        self, registrar: Registrar, peer: str, host: str, patience: float = FIRST_BOX
    ) -> None:
        super().__init__(
            registrar.clock,
            {
                commands.Register: self.register,
                commands.Dial: self.dial,
                commands.Trickle: self.trickle,
                commands.Bye: self.bye,
                commands.Renew: self.renew,
                commands.Lease: self.lease,
                commands.Release: self.release,
                commands.Outcome: self.outcome,
                commands.Invite: self.invite,
                commands.Exchange: self.exchange,
                commands.Withdraw: self.withdraw,
                commands.Ping: self.ping,
            },
            patience=patience,
        )
        self.registrar = registrar
        self.peer = peer
        self.host = host
        self.presence: Presence | None = None
        self._silence: IDelayedCall | None = None
        self._limit = PrefixLimit(COMMAND_RATE, COMMAND_BURST)

    def dataReceived(self, data: bytes) -> None:
        """
        Something came: the client is alive.
        """
        if self._silence is not None:
            self._silence.reset(SILENCE)
        super().dataReceived(data)

    def dispatchCommand(self, box: Any) -> Deferred[Any]:
        """
        Answer a command, unless there are too many: each costs more to answer
        than to send.
        """
        if not self._limit.allows("", self._clock.seconds()):
            self.refuse("too many commands")
            return fail(amp.RemoteAmpError(b"TOO_MANY", "Too many commands."))
        return super().dispatchCommand(box)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        The presence ends.
        """
        super().connectionLost(reason)
        if self._silence is not None and self._silence.active():
            self._silence.cancel()
        self.registrar.disconnected(self)

    def say(self, command: Any, **arguments: Any) -> None:
        """
        Send a command that has no answer, if the client is still there.
        """
        if self.transport is not None:
            self.send(command, **arguments)

    # --- commands

    def register(self, version: float, agent: str, resume: str | None) -> Any:
        """
        @see: L{commands.Register}.
        """
        if version != commands.VERSION:
            raise RendezvousRefused(
                f"The rendezvous speaks version {commands.VERSION} of signaling, "
                f"the client version {version}."
            )
        if self.presence is not None:
            raise RendezvousRefused("This connection has registered before.")
        answer = self.registrar.register(self, resume)
        self.trust()
        self._silence = self._clock.callLater(SILENCE, self.refuse, "silence")
        return answer

    def _registered(self) -> Presence:
        if self.presence is None:
            self.refuse("a command before registration")
            raise amp.RemoteAmpError(b"UNREGISTERED", "Register first.")
        return self.presence

    def dial(
        self, peer: str, dialId: str, offer: bytes, flight: list[bytes]
    ) -> Deferred[dict[str, Any]]:
        """
        @see: L{commands.Dial}.
        """
        return self.registrar.dial(self._registered(), peer, dialId, offer, flight)

    def trickle(
        self, dialId: str, update: bytes, datagrams: list[bytes]
    ) -> dict[str, Any]:
        """
        @see: L{commands.Trickle}.
        """
        self.registrar.trickle(self._registered(), dialId, update, datagrams)
        return {}

    def bye(self, dialId: str, reason: str) -> dict[str, Any]:
        """
        @see: L{commands.Bye}.
        """
        self.registrar.bye(self._registered(), dialId, reason)
        return {}

    def renew(self) -> dict[str, Any]:
        """
        @see: L{commands.Renew}.
        """
        return self.registrar.relayFor(self._registered())

    def lease(self, name: str) -> dict[str, Any]:
        """
        @see: L{commands.Lease}.
        """
        return self.registrar.leases.lease(self._registered(), name)

    def release(self, name: str) -> dict[str, Any]:
        """
        @see: L{commands.Release}.
        """
        self.registrar.leases.release(self._registered(), name)
        return {}

    def outcome(self, dialId: str, strategy: str) -> dict[str, Any]:
        """
        @see: L{commands.Outcome}.
        """
        side, registrar = self._registered(), self.registrar
        dial = side.dials.get(dialId)
        if dial is None or dial.settled or not dial.accepted or side is dial.listener:
            registrar.counters["outcome of nothing"] += 1
            return {}
        dial.settled = True
        known = strategy if strategy in STRATEGIES else "other"
        registrar.outcomes[known] += 1
        self.log.info(
            "{peer}'s dial: {strategy}",
            peer=side.peer,
            other=dial.listener.peer,
            strategy=known,
            event="dial-outcome",
        )
        return {}

    def invite(self) -> dict[str, Any]:
        """
        @see: L{commands.Invite}.
        """
        self._registered()
        return {"nameplate": self.registrar.nameplates.make(self), "seconds": TERM}

    def exchange(self, nameplate: float, message: bytes) -> Deferred[dict[str, Any]]:
        """
        @see: L{commands.Exchange}.
        """
        self._registered()
        plates = self.registrar.nameplates
        exchanged = plates.exchange(self, self.host, int(nameplate), message)
        return exchanged.addCallback(lambda message: {"message": message})

    def withdraw(self, nameplate: float) -> dict[str, Any]:
        """
        @see: L{commands.Withdraw}.
        """
        self.registrar.nameplates.withdraw(self, int(nameplate))
        return {}

    def ping(self) -> dict[str, Any]:
        """
        @see: L{commands.Ping}.
        """
        return {}

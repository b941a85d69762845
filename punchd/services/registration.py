"""
What a client has from its rendezvous.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from punchd.core import Address
from punchd.errors import PeerUnavailable
from punchd.net.ways import Reached
from punchd.signaling.offer import FRESHNESS

_RELAY = ("relayUsername", "relayPassword", "realm", "relayNonce")


#: Called with the dialler, the dial id, the sealed offer, the flight and the
#: dialler's observed addresses; fires with a sealed answer and a flight.
Incoming = Callable[
    [str, str, bytes, Sequence[bytes], Sequence[Address]],
    "Deferred[tuple[bytes, list[bytes]]]",
]


@dataclass(frozen=True, slots=True)
class Registration:
    """
    What the rendezvous gives to a client that is present.

    @ivar handle: the user name of short-term credentials for Binding requests.
    @ivar key: their password.
    @ivar stun: UDP addresses for Binding and TURN, of both families.
    @ivar alternate: UDP addresses with another host or port (RFC 5780).
    @ivar observedHost: where the connection seems to come from.
    @ivar resumed: whether the dials of an earlier connection go on.
    @ivar relayUsername: L{None}, like the following, when there is no relay.
    @ivar relayNonce: a nonce that saves the first request to the relay.
    @ivar relayExpires: seconds from now after which these allocate no more.
    @ivar reached: how the rendezvous was reached.
    @ivar time: what its clock said, in seconds since 1970, if it told.
    @ivar clockAhead: seconds by which our clock was ahead of that.
    """

    handle: str
    key: bytes
    stun: tuple[Address, ...]
    alternate: tuple[Address, ...]
    observedHost: str
    resumed: bool
    realm: str | None = None
    relayUsername: str | None = None
    relayPassword: str | None = None
    relayNonce: bytes | None = None
    relayExpires: float = 0.0
    reached: Reached | None = None
    time: float | None = None
    clockAhead: float = 0.0

    @classmethod
    def of(
        cls, response: dict[str, Any], reached: Reached | None = None
    ) -> Registration:
        """
        @param response: that of L{punchd.signaling.commands.Register}.
        """
        known = cls(
            handle=response["handle"],
            key=response["key"],
            stun=tuple(response["stun"]),
            alternate=tuple(response["alternate"]),
            observedHost=response["observedHost"],
            resumed=response["resumed"],
            reached=reached,
            time=response["time"],
        )
        return known.renewed(response)

    def received(self, wallTime: float) -> Registration:
        """
        @param wallTime: what our clock says as it comes, in seconds since 1970.

        @return: the same, with how far the clocks are apart.
        """
        ahead = 0.0 if self.time is None else wallTime - self.time
        return replace(self, clockAhead=ahead)

    @property
    def clockTrouble(self) -> str:
        """
        What is to be said of our clock; empty if it is good enough for peers to
        take our offers, and for us to take theirs.
        """
        seconds = round(abs(self.clockAhead))
        if seconds < FRESHNESS / 2:
            return ""
        way = "ahead of" if self.clockAhead > 0 else "behind"
        return (
            f"This machine's clock is {seconds} s {way} that of the rendezvous, and"
            f" peers refuse what is {FRESHNESS:.0f} s off: set it right."
        )

    def renewed(self, response: dict[str, Any]) -> Registration:
        """
        @param response: that of L{punchd.signaling.commands.Renew}.
        """
        relay = {name: response[name] for name in _RELAY}
        return replace(self, **relay, relayExpires=response["relayExpires"] or 0.0)


@dataclass(frozen=True, slots=True)
class DialAnswer:
    """
    @ivar answer: the peer's sealed answer.
    @ivar flight: the datagrams that rode along.
    @ivar observed: where the rendezvous saw the peer's packets come from.
    """

    answer: bytes
    flight: Sequence[bytes]
    observed: Sequence[Address]


def blamed(failure: Failure, registration: Registration | None) -> Failure:
    """
    @param failure: of a dial.

    @return: the same, or one that names our clock as the probable cause.
    """
    trouble = "" if registration is None else registration.clockTrouble
    if failure.check(PeerUnavailable) and trouble:
        return Failure(PeerUnavailable(f"{failure.value} {trouble}"))
    return failure


class Waiters:
    """
    I am those who wait for a registration, some of them not for ever.
    """

    def __init__(self) -> None:
        self._waiting: dict[Deferred[Registration], int | None] = {}

    def add(self, failAfterFailures: int | None) -> Deferred[Registration]:
        """
        @param failAfterFailures: how many failed attempts to wait for.

        @return: fires as L{succeed} or L{fail} is called.
        """
        waiting: Deferred[Registration] = Deferred(self._forget)
        self._waiting[waiting] = failAfterFailures
        return waiting

    def _forget(self, cancelled: Deferred[Registration]) -> None:
        self._waiting.pop(cancelled, None)

    def succeed(self, registration: Registration) -> None:
        """
        There is a registration.
        """
        waiting, self._waiting = self._waiting, {}
        for each in waiting:
            each.callback(registration)

    def attemptFailed(self, failure: Failure) -> None:
        """
        One more attempt has failed.
        """
        waiting, self._waiting = self._waiting, {}
        ready = []
        for each, remaining in waiting.items():
            if remaining is not None and remaining <= 1:
                ready.append(each)
            else:
                self._waiting[each] = None if remaining is None else remaining - 1
        for each in ready:
            each.errback(failure)

    def fail(self, failure: Failure) -> None:
        """
        There will be none.
        """
        waiting, self._waiting = self._waiting, {}
        for each in waiting:
            each.errback(failure)

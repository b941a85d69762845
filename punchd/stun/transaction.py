"""
Retransmission as deadlines (RFC 8489, 6.2.1).

A schedule is a tuple of waits in seconds: the message is sent once before each
of them, and the transaction has failed when the last is over.
"""

from __future__ import annotations

from typing import Final

from punchd.core import Address, Datagram

Schedule = tuple[float, ...]

#: RFC 8489, 6.2.1: RTO 500 ms, Rc = 7 sendings, Rm = 16; it fails after 39.5 s.
STANDARD_SCHEDULE: Final[Schedule] = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 8.0)

#: No wait of a fast schedule is shorter: a path does not get faster by it.
MINIMUM_WAIT: Final = 0.02

#: Nor longer, as a lost datagram would cost the user this much.
MAXIMUM_WAIT: Final = 1.6


def fastSchedule(rtt: float, total: float = 8.0) -> Schedule:
    """
    A schedule for who is in a hurry: the first wait is half of C{rtt}, since
    the first datagram often serves only to open a NAT, and each is twice the
    one before, up to a limit.

    @param rtt: the expected round trip, in seconds.
    @param total: the seconds after which the transaction fails, at least.
    """
    wait = min(max(rtt / 2, MINIMUM_WAIT), MAXIMUM_WAIT)
    waits = []
    spent = 0.0
    while spent < total:
        waits.append(wait)
        spent += wait
        wait = min(wait * 2, MAXIMUM_WAIT)
    return tuple(waits)


class Transaction:
    """
    One request on its way: what to send again and when to give up.

    Nothing is sent before the first L{poll}, which is due at once.

    @ivar deadline: when L{poll} wants to be called, or L{None} when there is
        nothing left to do.
    @ivar sent: how many times the message has been sent.
    @ivar timedOut: whether the last wait has passed without L{finish}.
    """

    __slots__ = (
        "_schedule",
        "deadline",
        "destination",
        "local",
        "message",
        "sent",
        "startedAt",
        "timedOut",
        "transactionId",
    )

    def __init__(
        self,
        message: bytes,
        destination: Address,
        transactionId: bytes,
        now: float,
        schedule: Schedule = STANDARD_SCHEDULE,
        local: Address | None = None,
    ) -> None:
        """
        @param message: the serialized request.
        @param schedule: the waits, in seconds.
        @param local: the address to send from.
        """
        self.message = message
        self.destination = destination
        self.transactionId = transactionId
        self.local = local
        self.startedAt = now
        self.sent = 0
        self.timedOut = False
        self.deadline: float | None = now
        self._schedule = schedule

    def poll(self, now: float) -> Datagram | None:
        """
        @return: what is to be sent now, or L{None} when it is too early, when
            the transaction is over, or when this call has ended it.
        """
        if self.deadline is None or now < self.deadline:
            return None
        if self.sent == len(self._schedule):
            self.timedOut = True
            self.deadline = None
            return None
        self.deadline = now + self._schedule[self.sent]
        self.sent += 1
        return Datagram(self.message, self.local, self.destination)

    def finish(self, now: float) -> float | None:
        """
        The response has come.

        @return: the round-trip time in seconds, or L{None} when it cannot be
            told which of several sendings was answered (Karn's rule).
        """
        self.deadline = None
        return max(0.0, now - self.startedAt) if self.sent == 1 else None

"""
Taking samples: a few spare sockets ask a few servers, each pair making one flow,
no faster than a NAT bears.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from punchd.core import Address, Datagram, Entropy
from punchd.stun.attributes import Attribute

from .asking import INITIAL_RTT, Questions, Reply, patience
from .sample import Sample

#: Seconds between two new flows (RFC 5245, B.1: some NATs bear one in 20 ms).
SPACING: Final = 0.02


@dataclass(frozen=True, slots=True)
class Sampled:
    """
    The end of it.

    @ivar samples: what was seen, oldest first.
    @ivar unanswered: flows of which nothing was heard.
    """

    samples: tuple[Sample, ...]
    unanswered: int


class Sampler:
    """
    I am a core object (L{punchd.core}); the datagrams' C{local} names the socket,
    by its port.
    """

    def __init__(
        self,
        sockets: Sequence[Address],
        servers: Sequence[Address],
        entropy: Entropy,
        *,
        rtt: float | None = None,
        spacing: float = SPACING,
    ) -> None:
        """
        @param sockets: bound addresses of sockets that serve nothing else.
        @param servers: whom to ask; two or more with different hosts tell most.
        @param rtt: seconds to them and back, if known.
        @param spacing: seconds between two new flows, L{SPACING} at least.
        """
        self._flows = [(socket, server) for socket in sockets for server in servers]
        self._questions = Questions(entropy)
        self._schedule = patience(INITIAL_RTT if rtt is None else 1.2 * rtt)
        self._spacing = max(spacing, SPACING)
        self._nextAt: float | None = None
        self._samples: list[Sample] = []
        self._unanswered = 0
        self._ended = False
        self._events: list[object] = []

    def start(self, now: float) -> None:
        """
        Begin.
        """
        self._nextAt = now
        self.timeReached(now)

    # --- handlers

    def datagramReceived(
        self, data: bytes, local: Address, remote: Address, now: float
    ) -> None:
        """
        An answer, or something else, which is ignored.
        """
        reply = self._questions.received(data, local, remote, now)
        if reply is not None:
            self._replied(reply)
            self._finish()

    def timeReached(self, now: float) -> None:
        """
        Make the next flow, ask again, or give up.
        """
        while self._nextAt is not None and self._nextAt <= now:
            if not self._flows:
                self._nextAt = None
                break
            socket, server = self._flows.pop(0)
            self._questions.ask(None, socket, server, self._schedule, now)
            self._nextAt = now + self._spacing if self._flows else None
        for reply in self._questions.poll(now):
            self._replied(reply)
        self._finish()

    def _replied(self, reply: Reply) -> None:
        mapped = None
        if reply.succeeded and reply.message is not None:
            mapped = reply.message.get(Attribute.XOR_MAPPED_ADDRESS)
        question = reply.question
        # Where the first packet was lost, it was lost beyond the NAT as a rule.
        if mapped is None or reply.remote != question.transaction.destination:
            self._unanswered += 1
            return
        self._samples.append(
            Sample(question.askedAt, question.local[1], reply.remote, *mapped)
        )

    def _finish(self) -> None:
        if self._ended or self._flows or len(self._questions):
            return
        self._ended = True
        self._samples.sort(key=lambda sample: sample.time)
        self._events.append(Sampled(tuple(self._samples), self._unanswered))

    # --- drains

    def takeDatagrams(self) -> Sequence[Datagram]:
        """
        @return: the requests to send now.
        """
        return self._questions.takeDatagrams()

    def takeEvents(self) -> list[object]:
        """
        @return: one L{Sampled} at the end.
        """
        taken, self._events = self._events, []
        return taken

    def deadline(self) -> float | None:
        """
        @return: when the next request is due.
        """
        due = [self._nextAt, self._questions.deadline()]
        return min((each for each in due if each is not None), default=None)

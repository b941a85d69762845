"""
Measuring how long the NAT keeps a binding (RFC 5780, 4.6).

For each time that is to be tested a fresh socket makes a binding and is then
silent.  When the time is over, another socket, the helper, asks the server to
answer not to itself but to the first socket's outside port (RESPONSE-PORT).  If
the answer comes through, the binding was still there.

All times of a round are tested at once, each on a socket of its own: the round is
over when the shortest one fails, where a binary search would wait for the sum of
its tests, and no binding that has been refreshed by an answer is tested again.
Later rounds test three times between the longest that passed and the shortest
that failed, until the two differ by a quarter.

Two lifetimes are measured.  I{Two-way}: the server answered the packet that made
the binding.  I{One-way}: nothing ever came back, since the server was asked to
answer to the helper.  Linux has 120 and 30 seconds.

RFC 5780 repeats the tests on one port; the sockets here are spare ones, and the
live path is never put at risk.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from punchd.core import Address, Datagram, Entropy
from punchd.stun.attributes import Attribute

from .asking import INITIAL_RTT, Questions, Reply, patience
from .keepalive import Lifetime

#: The times of the first round, in seconds.
CLIFFS: Final = (10.0, 15.0, 20.0, 30.0, 45.0, 60.0, 90.0, 120.0, 180.0, 300.0)

#: Good enough: the shortest that failed over the longest that passed.
PRECISION: Final = 1.25

#: Seconds between two new bindings.
SPACING: Final = 0.02

#: More rounds than a steady NAT needs.
MAX_ROUNDS: Final = 6

#: A response cannot be asked for at a lower port (RFC 5780, 7.5).
_LEAST_PORT: Final = 1024


@dataclass(frozen=True, slots=True)
class SocketsWanted:
    """
    Open so many fresh sockets, and give them to L{LifetimeSearch.addSockets}.
    """

    count: int


@dataclass(frozen=True, slots=True)
class SocketDone:
    """
    This socket is not needed any more.
    """

    local: Address


@dataclass(frozen=True, slots=True)
class BindingTested:
    """
    Progress: a binding did or did not outlive so many seconds.
    """

    oneWay: bool
    seconds: float
    alive: bool


@dataclass(frozen=True, slots=True)
class LifetimeEnded:
    """
    The end.

    @ivar twoWay: of bindings that were answered; L{None} if not measured.
    @ivar oneWay: of those that were not.
    @ivar reason: why something is missing, or the empty string.
    """

    twoWay: Lifetime | None
    oneWay: Lifetime | None
    reason: str = ""


@dataclass(slots=True)
class _Try:
    """
    One binding.
    """

    oneWay: bool
    seconds: float
    local: Address = ("", 0)
    mapped: Address | None = None
    dueAt: float | None = None
    over: bool = False


class LifetimeSearch:
    """
    I am a core object (L{punchd.core}); the datagrams' C{local} names the socket,
    by its port.

    @ivar known: the bounds so far, by whether they are those of one-way
        bindings; to be kept, and handed in to go on later.
    """

    def __init__(
        self,
        server: Address,
        helper: Address,
        entropy: Entropy,
        *,
        rtt: float | None = None,
        twoWay: Lifetime | None = None,
        oneWay: Lifetime | None = None,
        ways: Sequence[bool] = (False, True),
        cliffs: Sequence[float] = CLIFFS,
    ) -> None:
        """
        @param server: one that knows RESPONSE-PORT.
        @param helper: a bound spare socket.
        @param rtt: seconds to the server and back, if known.
        @param twoWay: what an earlier search found; it is confirmed by one
            round, or corrected.
        @param ways: which lifetimes to measure, C{True} for one-way.
        """
        self._server = server
        self._helper = helper
        self._questions = Questions(entropy)
        self._waits = patience(INITIAL_RTT if rtt is None else 1.2 * rtt)
        self._cliffs = tuple(sorted(cliffs))
        cached = {False: twoWay, True: oneWay}
        self._cached = {way: cached[way] for way in ways}
        self.known: dict[bool, Lifetime] = {way: Lifetime() for way in ways}
        self._fresh: list[_Try] = []
        self._tries: list[_Try] = []
        self._nextAt: float | None = None
        self._mapped: Address | None = None
        self._events: list[object] = []
        self._rounds = 0
        self._ended = False

    # --- commands

    def start(self, now: float) -> None:
        """
        Begin.
        """
        self._round()

    def addSockets(self, sockets: Sequence[Address], now: float) -> None:
        """
        Here are the sockets that were wanted, or fewer: the rest is left out.
        """
        for each, local in zip(self._fresh, sockets):
            each.local = local
        self._fresh = self._fresh[: len(sockets)]
        if not self._fresh:
            self._end("no socket could be opened")
            return
        # Its own mapping may have expired since the last round.
        self._ask("helper", self._helper, now)

    def stop(self, now: float) -> None:
        """
        End early; L{known} holds what was found.
        """
        self._end("stopped")

    # --- rounds

    def _round(self) -> None:
        self._fresh = [
            _Try(way, seconds)
            for way, known in self.known.items()
            for seconds in self._points(way, known)
        ]
        self._rounds += 1
        if self._fresh and self._rounds <= MAX_ROUNDS:
            self._events.append(SocketsWanted(len(self._fresh)))
        else:
            self._end("")

    def _points(self, way: bool, known: Lifetime) -> Sequence[float]:
        cached, self._cached[way] = self._cached[way], None
        if cached is not None and cached.low:
            return [cached.low, *([] if cached.high is None else [cached.high])]
        low, high = known.low, known.high
        between = [
            cliff
            for cliff in self._cliffs
            if cliff > low and (high is None or cliff < high)
        ]
        if between or high is None:
            return between
        low = max(low, 1.0)
        if high / low <= PRECISION:
            return []
        ratio = (high / low) ** 0.25
        return [round(low * ratio**power, 1) for power in (1, 2, 3)]

    # --- handlers

    def datagramReceived(
        self, data: bytes, local: Address, remote: Address, now: float
    ) -> None:
        """
        An answer, or something else, which is ignored.
        """
        if remote != self._server or self._ended:
            return
        reply = self._questions.received(data, local, remote, now)
        if reply is not None:
            self._replied(reply, now)

    def timeReached(self, now: float) -> None:
        """
        Make the next binding, test those whose time has come, ask again.
        """
        if self._ended:
            return
        if self._nextAt is not None and self._nextAt <= now:
            self._bind(now)
        for each in self._tries:
            if each.dueAt is not None and each.dueAt <= now and not each.over:
                each.dueAt = None
                assert each.mapped is not None
                self._ask(("test", each), self._helper, now, each.mapped[1], each.local)
        for reply in self._questions.poll(now):
            self._replied(reply, now)

    def _ask(
        self,
        name: object,
        local: Address,
        now: float,
        port: int | None = None,
        replyTo: Address | None = None,
    ) -> None:
        attributes = [] if port is None else [(Attribute.RESPONSE_PORT, port)]
        self._questions.ask(
            name, local, self._server, self._waits, now, *attributes, replyTo=replyTo
        )

    def _bind(self, now: float) -> None:
        each = self._fresh.pop(0)
        self._tries.append(each)
        self._nextAt = now + SPACING if self._fresh else None
        assert self._mapped is not None
        if each.oneWay:
            name = ("bind", each)
            self._ask(name, each.local, now, self._mapped[1], self._helper)
        else:
            self._ask(("bind", each), each.local, now)

    def _replied(self, reply: Reply, now: float) -> None:
        name = reply.question.name
        mapped: Address | None = None
        if reply.succeeded and reply.message is not None:
            mapped = reply.message.get(Attribute.XOR_MAPPED_ADDRESS)
        if name == "helper":
            self._helperSeen(mapped, now)
            return
        assert isinstance(name, tuple)
        what, each = name
        if each.over:
            return
        if what == "bind":
            self._bound(each, reply, mapped)
        elif reply.message is not None and mapped is None:
            self._end("the server cannot answer to another port")
        elif what == "test" and mapped is None:
            # Did the question reach the server at all?
            self._ask(("control", each), self._helper, now)
        elif what == "test" or mapped is not None:
            self._decided(each, alive=what == "test")
        else:
            # The server is out of reach: nothing is known.
            self._close(each)
        self._goOn()

    def _helperSeen(self, mapped: Address | None, now: float) -> None:
        if mapped is None:
            self._end("the server does not answer")
        elif mapped[1] < _LEAST_PORT:
            self._end("the NAT gives out ports below 1024")
        else:
            self._mapped = mapped
            self._nextAt = now
            self._bind(now)

    def _bound(self, each: _Try, reply: Reply, mapped: Address | None) -> None:
        assert self._mapped is not None
        if mapped is not None and (
            mapped[0] != self._mapped[0] or mapped[1] < _LEAST_PORT
        ):
            self._end("the NAT gives every socket another public address")
        elif mapped is not None:
            each.mapped = mapped
            each.dueAt = reply.question.sentAt + each.seconds
        elif reply.message is not None:
            self._end("the server cannot answer to another port")
        else:
            self._close(each)

    def _decided(self, each: _Try, alive: bool) -> None:
        known = self.known[each.oneWay]
        low, high = known.low, known.high
        if alive:
            low = max(low, each.seconds)
            high = high if high is None or high > low else None
        else:
            high = each.seconds if high is None else min(high, each.seconds)
            low = low if low < high else 0.0
        self.known[each.oneWay] = Lifetime(low, high)
        self._events.append(BindingTested(each.oneWay, each.seconds, alive))
        self._close(each)
        for other in self._tries:
            # What is longer than one that failed fails as well.
            if not alive and other.oneWay == each.oneWay:
                if other.seconds > each.seconds and not other.over:
                    self._close(other)

    def _close(self, each: _Try) -> None:
        each.over = True
        each.dueAt = None
        self._questions.cancel(("test", each), ("bind", each), ("control", each))
        self._events.append(SocketDone(each.local))

    def _goOn(self) -> None:
        if self._ended or self._fresh or not all(e.over for e in self._tries):
            return
        tested, self._tries = self._tries, []
        if any(each.mapped is not None for each in tested):
            self._round()
        else:
            self._end("the server does not answer")

    def _end(self, reason: str) -> None:
        if self._ended:
            return
        self._ended = True
        self._nextAt = None
        for each in self._tries:
            if not each.over:
                self._close(each)
        found = {
            way: known if known.low or known.high is not None else None
            for way, known in self.known.items()
        }
        self._events.append(LifetimeEnded(found.get(False), found.get(True), reason))

    # --- drains

    def takeDatagrams(self) -> Sequence[Datagram]:
        """
        @return: the requests to send now.
        """
        return self._questions.takeDatagrams()

    def takeEvents(self) -> list[object]:
        """
        @return: L{SocketsWanted}, L{SocketDone}, L{BindingTested}, and one
            L{LifetimeEnded} at the end.
        """
        taken, self._events = self._events, []
        return taken

    def deadline(self) -> float | None:
        """
        @return: when something is due.
        """
        if self._ended:
            return None
        due = [self._nextAt, self._questions.deadline()]
        due += [each.dueAt for each in self._tries]
        return min((each for each in due if each is not None), default=None)

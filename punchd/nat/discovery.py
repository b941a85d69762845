"""
Finding out how the NAT before us behaves (RFC 5780): the mapping tests I to III
of section 4.3, the filtering tests II and III of section 4.4, and the hairpin
test of section 4.5.

Up to three sockets are used, so that nothing is measured that was changed by
measuring:

  - the first is asked for its mapping; it may be the punching socket, of which
    little more is wanted than what the rendezvous asks of it anyway;
  - the second has never sent anything to the server's alternate address, else
    its filter would let answers from there in whatever kind it is; answers
    from elsewhere may even claim its port in some NATs, so that it must be a
    spare one;
  - the first and the last send to each other's outside addresses, which opens
    the punching socket's filter to nobody but ourselves.

With one socket only, filtering is tested before mapping, and there is no hairpin
test.  Silence is an answer in most of these tests, and each question is sent six
times before it counts.  All is over 13 round trips after the first answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from punchd.core import Address, Datagram, Entropy
from punchd.stun.attributes import CHANGE_IP, CHANGE_PORT, Attribute
from punchd.stun.transaction import fastSchedule

from .asking import INITIAL_RTT, Questions, Reply, patience
from .behavior import Filtering, Mapping, NatBehavior
from .sample import Sample
from .steps import Discovered, Step, StepEnded

#: Seconds after which a server that never answered counts as unreachable.
PATIENCE: Final = 2.5


_FIRSTS = (Step.MAPPING1, Step.SPARE2, Step.SPARE3)


class Discovery:
    """
    I am a core object (L{punchd.core}); the datagrams' C{local} names the socket,
    by its port.
    """

    def __init__(
        self,
        server: Address,
        sockets: Sequence[Address],
        entropy: Entropy,
        *,
        alternate: Address | None = None,
        rtt: float | None = None,
    ) -> None:
        """
        @param server: the STUN server; all tests are of its family.
        @param sockets: one to three bound addresses with different ports.
        @param alternate: the server's other address, if it does not tell in
            OTHER-ADDRESS.
        @param rtt: seconds to the server and back, if known.
        """
        self.server = server
        self._sockets = list(sockets)
        self._spare = self._sockets[1] if len(self._sockets) > 1 else self._sockets[0]
        self._questions = Questions(entropy)
        self._alternate = alternate
        self._guess = INITIAL_RTT if rtt is None else rtt
        self._rtt: float | None = None
        self._mapped: dict[Step, Address] = {}
        self._passed: dict[Step, bool | None] = {}
        self._translated = True
        self._samples: list[Sample] = []
        self._events: list[object] = []
        self._ended = False

    def start(self, now: float) -> None:
        """
        Begin, with test I from all sockets.
        """
        schedule = fastSchedule(2 * self._guess, PATIENCE)
        for test, socket in zip(_FIRSTS, self._sockets):
            self._ask(test, socket, self.server, schedule, now)

    def _ask(
        self,
        test: Step,
        socket: Address,
        server: Address,
        schedule: tuple[float, ...],
        now: float,
        *attributes: tuple[int, object],
    ) -> None:
        self._passed[test] = None
        self._questions.ask(test, socket, server, schedule, now, *attributes)

    # --- handlers

    def datagramReceived(
        self, data: bytes, local: Address, remote: Address, now: float
    ) -> None:
        """
        An answer, or our own request that came back to us, or something else,
        which is ignored.
        """
        if self._ended:
            return
        reply = self._questions.received(data, local, remote, now)
        if reply is not None:
            self._replied(reply, now)
            self._finish()
        elif (
            self._questions.own(data) is Step.HAIRPIN
            and self._passed.get(Step.HAIRPIN) is None
        ):
            self._settle(Step.HAIRPIN, True)
            self._questions.cancel(Step.HAIRPIN)
            self._finish()

    def timeReached(self, now: float) -> None:
        """
        Ask again, or take silence for an answer.
        """
        for reply in self._questions.poll(now):
            self._replied(reply, now)
        self._finish()

    def _replied(self, reply: Reply, now: float) -> None:
        test = reply.question.name
        assert isinstance(test, Step)
        mapped: Address | None = None
        if reply.succeeded and reply.message is not None:
            mapped = reply.message.get(Attribute.XOR_MAPPED_ADDRESS)
        if test in (Step.FILTERING2, Step.FILTERING3):
            if reply.message is not None and not self._elsewhere(test, reply.remote):
                # The server does not know how to answer from elsewhere.
                self._passed.pop(test, None)
            else:
                self._settle(test, mapped is not None)
        elif test is Step.HAIRPIN:
            if self._passed[test] is None:
                self._settle(test, mapped is not None)
        elif mapped is None or reply.remote != reply.question.transaction.destination:
            self._settle(test, False)
        else:
            self._seen(test, mapped, reply, now)
        self._go(test, now)

    def _elsewhere(self, test: Step, remote: Address) -> bool:
        if test is Step.FILTERING3:
            return remote[0] == self.server[0] and remote[1] != self.server[1]
        return remote[0] != self.server[0]

    def _seen(self, test: Step, mapped: Address, reply: Reply, now: float) -> None:
        self._mapped[test] = mapped
        question = reply.question
        self._samples.append(
            Sample(question.askedAt, question.local[1], reply.remote, *mapped)
        )
        if reply.rtt is not None:
            self._rtt = reply.rtt if self._rtt is None else min(self._rtt, reply.rtt)
        if test is Step.MAPPING1:
            self._translated = mapped[0] != reply.local[0]
            if reply.message is not None:
                told = reply.message.get(Attribute.OTHER_ADDRESS)
                self._alternate = told or self._alternate
        self._settle(test, True)

    def _settle(self, test: Step, passed: bool) -> None:
        self._passed[test] = passed
        self._events.append(StepEnded(test, passed, self._mapped.get(test)))

    # --- which test follows which

    def _go(self, test: Step, now: float) -> None:
        asked = [each for each in _FIRSTS if each in self._passed]
        if test in _FIRSTS:
            if all(self._passed[each] is not None for each in asked):
                self._second(now)
        elif test in (Step.FILTERING2, Step.FILTERING3):
            if self._spare is self._sockets[0] and self._filteringDone():
                self._mapping2(now)
        elif test is Step.MAPPING2 and self._differs(test):
            self._mapping3(now)

    def _second(self, now: float) -> None:
        if not self._passed[Step.MAPPING1]:
            return
        if self._alternate is not None and self._passed.get(Step.SPARE2, True):
            self._filtering(now)
        if self._spare is not self._sockets[0] or self._filteringDone():
            self._mapping2(now)
        self._hairpin(now)

    def _filtering(self, now: float) -> None:
        assert self._alternate is not None
        waits = patience(self._rtt or self._guess)
        otherHost = self._alternate[0] != self.server[0]
        otherPort = self._alternate[1] != self.server[1]
        change = (CHANGE_IP if otherHost else 0) | (CHANGE_PORT if otherPort else 0)
        spare, server = self._spare, self.server
        if otherHost:
            attribute = (Attribute.CHANGE_REQUEST, change)
            self._ask(Step.FILTERING2, spare, server, waits, now, attribute)
        if otherPort:
            attribute = (Attribute.CHANGE_REQUEST, CHANGE_PORT)
            self._ask(Step.FILTERING3, spare, server, waits, now, attribute)

    def _filteringDone(self) -> bool:
        return all(
            self._passed.get(test, False) is not None
            for test in (Step.FILTERING2, Step.FILTERING3)
        )

    def _mapping2(self, now: float) -> None:
        if self._alternate is None or Step.MAPPING2 in self._passed:
            return
        if self._alternate[0] == self.server[0]:
            self._mapping3(now)
            return
        # RFC 5780, 4.3: the other host, the same port.
        other = (self._alternate[0], self.server[1])
        waits = patience(self._rtt or self._guess)
        self._ask(Step.MAPPING2, self._sockets[0], other, waits, now)

    def _mapping3(self, now: float) -> None:
        assert self._alternate is not None
        if self._alternate[1] == self.server[1] or Step.MAPPING3 in self._passed:
            return
        waits = patience(self._rtt or self._guess)
        self._ask(Step.MAPPING3, self._sockets[0], self._alternate, waits, now)

    def _hairpin(self, now: float) -> None:
        # What the second sends is left to the filtering tests.
        if len(self._sockets) < 3 or not self._translated:
            return
        first, third = self._mapped.get(Step.MAPPING1), self._mapped.get(Step.SPARE3)
        if first is None or third is None:
            return
        waits = patience(self._rtt or self._guess)
        # Both ways, as a filter may want (RFC 4787, 6 leaves it on).
        self._ask(Step.HAIRPIN, self._sockets[0], third, waits, now)
        self._ask(Step.HAIRPIN, self._sockets[2], first, waits, now)

    def _differs(self, test: Step) -> bool:
        mapped = self._mapped.get(test)
        return mapped is not None and mapped != self._mapped[Step.MAPPING1]

    # --- the result

    def _finish(self) -> None:
        if self._ended or not self._passed or len(self._questions):
            return
        self._ended = True
        self._events.append(
            Discovered(
                self.behavior(),
                bool(self._mapped),
                self._rtt,
                self._alternate,
                tuple(self._samples),
            )
        )

    def behavior(self) -> NatBehavior:
        """
        @return: what is known so far.
        """
        hosts = dict.fromkeys(mapped[0] for mapped in self._mapped.values())
        found = NatBehavior(publicAddresses=tuple(hosts), translated=self._translated)
        if Step.MAPPING1 not in self._mapped:
            return found
        assumed: list[str] = []
        return replace(
            found,
            mapping=self._mappingFound(assumed),
            filtering=self._filteringFound(assumed),
            hairpin=self._hairpinFound(),
            assumed=tuple(assumed),
        )

    def _mappingFound(self, assumed: list[str]) -> Mapping:
        byHost, byPort = Step.MAPPING2 in self._mapped, Step.MAPPING3 in self._mapped
        if byHost and not self._differs(Step.MAPPING2):
            return Mapping.ENDPOINT_INDEPENDENT
        if byHost and byPort:
            same = self._mapped[Step.MAPPING3] == self._mapped[Step.MAPPING2]
            if same:
                return Mapping.ADDRESS_DEPENDENT
            return Mapping.ADDRESS_AND_PORT_DEPENDENT
        if byHost:
            assumed.append("mapping")
            return Mapping.ADDRESS_AND_PORT_DEPENDENT
        if byPort:
            if self._differs(Step.MAPPING3):
                return Mapping.ADDRESS_AND_PORT_DEPENDENT
            # One host with two ports cannot tell more.
            assumed.append("mapping")
            return Mapping.ADDRESS_DEPENDENT
        if not self._translated:
            return Mapping.ENDPOINT_INDEPENDENT
        return Mapping.UNKNOWN

    def _filteringFound(self, assumed: list[str]) -> Filtering:
        byHost = self._passed.get(Step.FILTERING2)
        byPort = self._passed.get(Step.FILTERING3)
        if byHost:
            return Filtering.ENDPOINT_INDEPENDENT
        if byPort:
            if byHost is None:
                assumed.append("filtering")
            return Filtering.ADDRESS_DEPENDENT
        if byHost is None and byPort is None:
            return Filtering.UNKNOWN
        # That the alternate address answers at all is what mapping II shows.
        if Step.MAPPING2 not in self._mapped and Step.MAPPING3 not in self._mapped:
            return Filtering.UNKNOWN
        if byPort is None:
            assumed.append("filtering")
        return Filtering.ADDRESS_AND_PORT_DEPENDENT

    def _hairpinFound(self) -> bool | None:
        passed = self._passed.get(Step.HAIRPIN)
        if passed or self._mappingFound([]) is Mapping.ENDPOINT_INDEPENDENT:
            return passed
        # The outside ports of these very flows are unknown: no filter opened.
        return None

    # --- drains

    def takeDatagrams(self) -> Sequence[Datagram]:
        """
        @return: the requests to send now.
        """
        return self._questions.takeDatagrams()

    def takeEvents(self) -> list[object]:
        """
        @return: L{StepEnded}, and one L{Discovered} at the end.
        """
        taken, self._events = self._events, []
        return taken

    def deadline(self) -> float | None:
        """
        @return: when the next request is due.
        """
        return self._questions.deadline()

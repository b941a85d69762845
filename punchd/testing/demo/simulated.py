"""
The simulator as a stage: everything in this process and in virtual time.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import Any, cast

from twisted.internet.protocol import Protocol
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher

from punchd.services.registrar import Registrar
from punchd.services.rendezvous import Rendezvous
from punchd.session.stream import Stream

from ..packet import Record
from ..pair import Pair
from ..scenario import RENDEZVOUS_HOSTS, Scenario
from .events import Event, fieldsOf
from .stage import (
    HEAD,
    PERIOD,
    SUM,
    Chatter,
    DemoFailed,
    Place,
    Stage,
    Summing,
    Transfer,
)

#: Seconds that pass in a step.
_STEP = 0.005


class _Sum(Protocol):
    """
    B's program.
    """

    def __init__(self) -> None:
        self._summing = Summing()

    def dataReceived(self, data: bytes) -> None:
        answer = self._summing.take(data)
        if answer:
            assert self.transport is not None
            self.transport.write(answer)


class _Hearing(Protocol):
    """
    A's programs: they collect what comes, or pass it on.
    """

    def __init__(self) -> None:
        self.received = b""
        self.listener: Any = None
        self.lost: str | None = None

    def dataReceived(self, data: bytes) -> None:
        if self.listener is None:
            self.received += data
        else:
            self.listener(data)

    def connectionLost(self, reason: Any = None) -> None:
        self.lost = "" if reason is None else reason.getErrorMessage()


class SimulatedStage(Stage):
    """
    I am a L{Pair} in a L{Scenario}.
    """

    title = "the simulator"
    size = 4_000_000

    def __init__(self, kindA: str, kindB: str, delay: float, seed: int = 1) -> None:
        """
        @raise ValueError: the kinds do not go together.
        """
        self.delay = delay
        scenario = self._scenario = Scenario(kindA, kindB, seed=seed, delay=delay)
        self.rendezvous = RENDEZVOUS_HOSTS[0]
        self._events: list[Event] = []
        self._talk = _Hearing()
        self._stream: Stream | None = None
        self._failed: str | None = None
        self.places = {
            letter: Place(
                kind,
                next(iter(side.host.addresses)),
                self._public(next(iter(side.host.addresses)), side.routers),
            )
            for letter, kind, side in (
                ("A", kindA, scenario.sideA),
                ("B", kindB, scenario.sideB),
            )
        }
        self._bridged = scenario.sideA.lan is scenario.sideB.lan and bool(
            scenario.sideA.routers
        )
        self.cuttable = bool(scenario.sideA.routers)
        self._pair: Pair | None = None
        self._letters: dict[str, str] = {}
        self._traffic: Counter[tuple[str, bool]] = Counter()
        # It counts, and keeps none.
        scenario.network.capture("public", matches=self._count)
        # A function is an observer, too, which its types do not say.
        self._observer = cast(ILogObserver, self._logged)
        globalLogPublisher.addObserver(self._observer)

    @staticmethod
    def _public(address: str, routers: list[Any]) -> str:
        addresses = getattr(routers[-1], "addresses", None) if routers else None
        return addresses[0] if addresses else address

    @property
    def pair(self) -> Pair:
        """
        The programs, once they were started.
        """
        assert self._pair is not None
        return self._pair

    # --- events

    def _logged(self, event: LogEvent) -> None:
        fields = fieldsOf(event)
        if fields is None:
            return
        source = event.get("log_source")
        identity = getattr(getattr(source, "context", None), "identity", None)
        if identity is not None:
            who = self._letters.get(identity.peerId)
        elif isinstance(source, Registrar | Rendezvous):
            who = "rendezvous"
        else:
            who = "demo" if fields["event"] == "failure" else None
        if who is not None:
            name = fields.pop("event")
            if "peer" in fields:
                fields["peer"] = self._letters.get(fields["peer"], "?")
            self._events.append(Event(self.now(), who, name, fields))

    def now(self) -> float:
        return float(self._scenario.clock.seconds())

    def step(self) -> list[Event]:
        self._scenario.network.advance(_STEP)
        events, self._events = self._events, []
        return events

    # --- the play

    def start(self) -> None:
        pair = _LetteredPair(self._scenario, self._letters)
        pair.services.made[SUM] = _Sum
        self._pair = pair

    def greet(self) -> float:
        began = self.now()
        opened = self.pair.a.open(self.pair.identityB.peerId, "echo")

        def use(stream: Stream) -> None:
            self._stream = stream
            stream.attach(self._talk)
            stream.write(b"x")

        def failed(failure: Any) -> None:
            self._failed = failure.getErrorMessage()

        opened.addCallback(use).addErrback(failed)
        return began

    def greeted(self) -> bool:
        if self._failed is not None or self._talk.lost is not None:
            raise DemoFailed(self._failed or self._talk.lost or "The stream was lost.")
        return bool(self._talk.received)

    def transfer(self) -> Transfer:
        data = self._scenario.hostA.entropy(1 << 16) * (self.size // (1 << 16) + 1)
        data = data[: self.size]
        found = Transfer(self.size, hashlib.sha256(data).hexdigest())
        hearing = _Hearing()
        began = self.now()
        session = self.pair.sessions()[0]
        stream = session.openStream(SUM)
        stream.attach(hearing)
        stream.write(len(data).to_bytes(HEAD, "big") + data)

        def heard(digest: bytes) -> None:
            hearing.received += digest
            if len(hearing.received) == 32:
                found.got = hearing.received.hex()
                found.seconds = self.now() - began
                stream.loseConnection()

        hearing.listener = heard
        return found

    def chat(self) -> Chatter:
        chatter = Chatter()
        stream, reactor = self._stream, self._scenario.hostA.reactor
        assert stream is not None
        self._talk.listener = lambda data: chatter.came(data, self.now())

        def tell() -> None:
            if not chatter.stopped:
                stream.write(chatter.message())
                reactor.callLater(PERIOD, tell)

        tell()
        return chatter

    def cut(self) -> None:
        if self._bridged:
            self._scenario.sideA.lan.isolated = True
        else:
            self._scenario.sideA.dropDirect()

    def restore(self) -> None:
        if self._bridged:
            self._scenario.sideA.lan.isolated = False
        else:
            self._scenario.sideA.restore()

    # --- what they say

    def status(self, letter: str) -> dict[str, Any]:
        client = self.pair.a if letter == "A" else self.pair.b
        return dict(client.status())

    def why(self) -> str:
        peer = self.pair.identityB.peerId
        return str(self.pair.a.why(peer)["text"]).replace(peer, "B")

    def _shown(self, letter: str) -> set[str]:
        """
        The addresses that a side shows to the internet.
        """
        side = self._scenario.sideA if letter == "A" else self._scenario.sideB
        return {
            *side.host.addresses,
            *(side.routers[-1:] and side.routers[-1].addresses),
        }

    def _count(self, record: Record) -> None:
        helped = record.destination[0] in RENDEZVOUS_HOSTS
        self._traffic[record.source[0], helped] += record.size

    def traffic(self) -> dict[str, tuple[int, int]]:
        found = {}
        for letter in "AB":
            shown = self._shown(letter)
            direct, helped = (
                sum(self._traffic[host, which] for host in shown)
                for which in (False, True)
            )
            found[letter] = (direct, helped)
        return found

    def stop(self) -> None:
        pair, self._pair = self._pair, None
        if pair is not None:
            pair.stop()

    def close(self) -> None:
        try:
            self.stop()
        finally:
            globalLogPublisher.removeObserver(self._observer)


class _LetteredPair(Pair):
    """
    I tell who is who before anything is logged.
    """

    def __init__(self, scenario: Scenario, letters: dict[str, str]) -> None:
        self._letters = letters
        super().__init__(scenario)

    def startRendezvous(self) -> Rendezvous:
        self._letters[self.identityA.peerId] = "A"
        self._letters[self.identityB.peerId] = "B"
        return super().startRendezvous()

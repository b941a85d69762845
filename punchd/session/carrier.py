"""
How QUIC's datagrams travel: over the paths that ICE finds, and at first over
the rendezvous.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from punchd.core import Address, Burst, Datagram
from punchd.ice.agent import Agent
from punchd.ice.events import (
    CheckReceived,
    ChecksFinished,
    Nominated,
    PairDoubtful,
    PairLost,
    PairReported,
    PairSucceeded,
    RemoteCandidateLearned,
)
from punchd.ice.pair import CandidatePair
from punchd.interfaces import IRunReceiver
from punchd.net.demux import isSession
from punchd.net.driver import Driver
from punchd.net.punching import PunchingSocket
from punchd.net.udp import Received, Run
from punchd.stun.message import isAnswer, isMessage

from .holding import Hold
from .listener import Listener
from .paths import Paths
from .quic import QuicCore
from .usage import Found, Measure, Probe, Prove, Switched

#: Datagrams that are not farther apart, in seconds, flow.
_FLOW = 5.0


@implementer(IRunReceiver)
class Carrier:
    """
    I join the ICE agent, the choice of paths and QUIC.

    @ivar sent: session bytes handed to the network; C{received} likewise.
    @ivar busy: whether the pair in use is checked as one that carries data.
    @ivar onDoubt: called when the pair in use may be dead.
    @ivar lastSent: when session datagrams were handed to the network last.
    """

    def __init__(
        self,
        socket: PunchingSocket,
        clock: IReactorTime,
        quic: QuicCore,
        paths: Paths,
        listener: Listener,
    ) -> None:
        self.socket = socket
        self.clock = clock
        self.quicCore = quic
        self.paths = paths
        self.listener = listener
        self.onDoubt: Callable[[], object] = lambda: None
        self.agent: Agent | None = None
        self.sent = 0
        self.received = 0
        self.captured: list[bytes] | None = []
        self._remotes: set[Address] = set()
        self._refused: set[Address] = set()
        self._ufrag: str | None = None
        self._ice: Driver | None = None
        self.quic = Driver(quic, self._sendQuic, listener.quicHappened, clock)
        self._paths = Driver(paths, lambda _: None, self._pathHappened, clock)
        self._closed = False
        self._train: list[bytes] = []
        self.busy = False
        self.lastSent = 0.0
        self._lastWay: tuple[Address, Address] | None = None
        self._hold = Hold(clock, self._release)

    # --- ICE

    def useAgent(self, agent: Agent) -> None:
        """
        Check with this agent from now on; the one before is forgotten, but
        the path in use stays until a better one is proven.
        """
        if self._ice is not None:
            self._ice.stop()
            self.paths.forget()
        if self._ufrag is not None:
            self.socket.demux.unregisterUfrag(self._ufrag)
        self.agent = agent
        self._ufrag = agent.credentials.ufrag
        self.socket.demux.registerUfrag(self._ufrag, self)
        self._ice = Driver(agent, self._sendChecks, self._iceHappened, self.clock)

    def ice(self, command: Callable[..., object], *args: object) -> None:
        """
        Call a command of the agent, with the time as its last argument.
        """
        if self._ice is not None:
            self._ice.call(command, *args)

    def _sendChecks(self, datagrams: Sequence[Datagram]) -> None:
        """
        Send what the agent wants to send.  The answer to a check says what of the
        session has arrived before it: with a sample ahead, it is the proof already.
        """
        full = self.quicCore.sent.lastFullSize
        if full is not None and self.agent is not None:
            for each in datagrams:
                if each.local is None or each.ttl is not None or isAnswer(each.data):
                    continue
                pair = self.agent.pairOf(each.local, each.remote)
                if pair is not None and self.paths.sample(pair):
                    self._carry([full], pair)
        self.socket.send(datagrams)

    def refuse(self, remotes: Collection[Address]) -> None:
        """
        The user does not want paths to these.
        """
        self._refused |= set(remotes)

    def _wanted(self, local: Address, remote: Address) -> bool:
        """
        @return: whether the user may want what checks find on this 5-tuple.
        """
        if self.paths.mode == "relay" and not self.socket.isRelay(local):
            return any(pair.key == (local, remote) for pair in self.pairs)
        return remote not in self._refused

    def addRemote(self, remote: Address) -> None:
        """
        What comes from this address is ours.
        """
        if remote not in self._remotes:
            self._remotes.add(remote)
            self.socket.demux.register(remote, self)

    def _iceHappened(self, event: object) -> None:
        paths = self._paths
        if isinstance(event, PairReported):
            waiting = self.quicCore.sendBufferSize() > 0
            paths.call(lambda now: self.paths.pairReported(event.pair, now, waiting))
        elif isinstance(event, CheckReceived):
            self.addRemote(event.pair.remote.address)
            self.listener.checkSeen("arrived", event.pair)
            paths.call(self.paths.checkReceived, event.pair)
        elif isinstance(event, PairSucceeded):
            self.addRemote(event.pair.remote.address)
            self._catchUp(event.pair)
            paths.call(self.paths.pairSucceeded, event.pair)
            self.listener.checkSeen("answered", event.pair)
        elif isinstance(event, PairDoubtful):
            # Whether it is lost is wanted sooner than consent would end.
            if self.agent is not None:
                self.ice(self.agent.probe, event.pair)
        elif isinstance(event, PairLost):
            paths.call(self.paths.pairLost, event.pair)
        elif isinstance(event, RemoteCandidateLearned):
            self.addRemote(event.candidate.address)
            self.listener.remoteLearned(event.candidate.address)
        elif isinstance(event, ChecksFinished):
            self.listener.checksFinished()
        elif isinstance(event, Nominated):
            # Both sides choose by proof; nomination is for other ICE agents.
            pass

    def suspect(self) -> None:
        """
        Check all pairs that work, and lose those that do not answer.
        """
        if self.agent is not None:
            for pair in self.agent.validPairs:
                self.ice(self.agent.probe, pair)

    # --- paths

    def _catchUp(self, pair: CandidatePair) -> None:
        """
        A pair works.  As long as none is in use it may be faster than the way of
        what was sent, and what overtakes that makes QUIC believe it lost: that is
        the end of its slow start.  So it goes ahead on this pair, too.
        """
        flight = self.quicCore.sent.flight()
        if self.paths.current is None and self.paths.allows(pair) and flight:
            self._carry(flight, pair)

    def _carry(self, payloads: list[bytes], pair: CandidatePair) -> None:
        """
        Send session datagrams on a pair.
        """
        pair.delivery.left(len(payloads), sum(map(len, payloads)), self.quic.now())
        self.socket.send(Burst(payloads, pair.local.base, pair.remote.address))

    def _measure(self, pair: CandidatePair, train: int) -> None:
        """
        Send a check behind C{train} datagrams that are so old that the copies
        overtake none of them.
        """
        if train:
            old, self._train = self._train, self.quicCore.sent.flight()
            if old:
                self._carry(old[-train:], pair)
        if self.agent is not None:
            self.ice(self.agent.keepalive, (pair,))

    def _pathHappened(self, event: object) -> None:
        agent = self.agent
        if isinstance(event, Prove):
            full = self.quicCore.sent.lastFullSize
            pair = event.pair
            if full is not None:
                self._carry([full], pair)
            if agent is not None:
                self.ice(agent.probe, pair)
        elif isinstance(event, Probe):
            if agent is not None:
                self.ice(agent.probe, event.pair)
                if event.widely:
                    # What else answers is good to know.
                    self.ice(agent.keepalive, agent.validPairs)
                    self.onDoubt()
        elif isinstance(event, Measure):
            self._measure(event.pair, event.train)
        elif isinstance(event, Found):
            self.quic.call(self.quicCore.resend)
        elif isinstance(event, Switched):
            if agent is not None and event.before is not None:
                self.ice(agent.setActive, event.before, False)
            if event.pair is not None:
                if agent is not None:
                    if agent.controlling:
                        self.ice(agent.nominate, event.pair)
                self.busy = False
            since = self.quic.now() - self.lastSent
            self._hold.switched(event.before, event.pair, since)
            self._wake()
            self.listener.pathSwitched(event.pair)

    def _release(self, payloads: list[bytes]) -> None:
        if self.paths.current is not None:
            self._carry(payloads, self.paths.current)

    def _wake(self) -> None:
        """
        What rests may be of use again.
        """
        if self.agent is not None:
            for pair in self.agent.validPairs:
                if pair.resting:
                    self.ice(self.agent.probe, pair)

    def speculate(self) -> None:
        """
        Let QUIC's datagrams go to the pairs under check.
        """
        if self.agent is not None:
            self.paths.pairTried(self.agent.pairs)

    # --- QUIC

    @property
    def pairs(self) -> Sequence[CandidatePair]:
        """
        The pairs of the agent in use.
        """
        return () if self.agent is None else self.agent.pairs

    def cameBy(self) -> CandidatePair | None:
        """
        @return: the pair that the last session datagrams came on, L{None} when it
            was the rendezvous.
        """
        for pair in self.pairs:
            if (pair.local.base, pair.remote.address) == self._lastWay:
                return pair
        return None

    def release(self) -> list[bytes]:
        """
        End the capture of QUIC's first flight.

        @return: the datagrams of the flight.
        """
        flight, self.captured = self.captured, None
        return flight or []

    def _sendQuic(self, datagrams: Sequence[Datagram]) -> None:
        if isinstance(datagrams, Burst):
            payloads = datagrams.payloads
        else:
            payloads = [datagram.data for datagram in datagrams]
        if self.captured is not None:
            self.captured += payloads
            return
        now, before = self.quic.now(), self.lastSent
        self.lastSent = now
        # One alone, such as the answer to a ping, makes nobody busy.
        if not self.busy and (len(payloads) > 1 or now - before < _FLOW):
            self.setBusy(True)
        pairs, zero = self.paths.routes(len(datagrams), now)
        if not self._hold.takes(payloads):
            for pair in pairs:
                self._carry(payloads, pair)
        if zero:
            self.listener.sendZero(payloads)
        self.sent += sum(map(len, payloads))
        self._paths.wake()

    def setBusy(self, busy: bool) -> None:
        """
        A pair that carries data is checked more often than an idle one.
        """
        current = self.paths.current
        if self.agent is not None and current is not None:
            self.busy = busy
            self.ice(self.agent.setActive, current, busy)

    def zeroReceived(self, datagrams: Sequence[bytes]) -> None:
        """
        Session datagrams came through the rendezvous.
        """
        self._lastWay = None
        # At once: what each would have sent for itself counts against QUIC's pace.
        self.quic.call(self.quicCore.datagramsReceived, datagrams)

    # --- IRunReceiver

    def datagramReceived(self, data: bytes, local: Address, remote: Address) -> None:
        """
        The demultiplexer found this to be ours.
        """
        self.runsReceived([([data], local, remote)])

    def datagramsReceived(self, datagrams: Sequence[Received]) -> None:
        """
        A batch has come.
        """
        self.runsReceived(
            [([data], local, remote) for data, local, remote in datagrams]
        )

    def runsReceived(self, runs: Sequence[Run]) -> None:
        """
        Runs have come, each on one 5-tuple.
        """
        if self._closed or self.agent is None or self._ice is None:
            return
        now = self.quic.now()
        session: list[bytes] = []
        for payloads, local, remote in runs:
            if not isSession(payloads):
                payloads = self._withoutChecks(payloads, local, remote)
                if not payloads:
                    continue
            sizes = list(map(len, payloads))
            self.agent.sessionDatagramReceived(
                max(sizes), local, remote, now, len(sizes)
            )
            self.received += sum(sizes)
            session += payloads
            self._lastWay = (local, remote)
        if session and self._lastWay is not None:
            self.paths.received(*self._lastWay, now)
            self.quic.call(self.quicCore.datagramsReceived, session)

    def _withoutChecks(
        self, payloads: list[bytes], local: Address, remote: Address
    ) -> list[bytes]:
        rest = []
        for data in payloads:
            if not isMessage(data):
                rest.append(data)
            elif self._ice is not None and self._wanted(local, remote):
                self._ice.datagramReceived(data, local, remote)
        return rest

    def close(self) -> None:
        """
        Stop everything at once.
        """
        self._hold.end()
        if self.paths.current is not None and self._ice is not None:
            self.quic.call(self.quicCore.close, 0, "The session is over.")
        self._closed = True
        for remote in self._remotes:
            self.socket.demux.unregister(remote, self)
        if self._ufrag is not None:
            self.socket.demux.unregisterUfrag(self._ufrag)
        if self._ice is not None:
            self._ice.stop()
        self._paths.stop()
        self.quic.stop()

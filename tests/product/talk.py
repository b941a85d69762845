"""
What the tests of the whole product share: a pair that is ready, and talk.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure

from punchd.session.stream import Stream
from punchd.testing.pair import Collector, Pair
from punchd.testing.scenario import Scenario

#: The round trip between two hosts that are not in one LAN, in seconds.
RTT = 0.05


@contextmanager
def product(
    kindA: str,
    kindB: str,
    *,
    seed: int = 1,
    options: dict[str, Any] | None = None,
    seen: bool = True,
    make: type[Pair] = Pair,
    **scenario: Any,
) -> Generator[Pair, None, None]:
    """
    Two clients that are ready, and that leave nothing behind.

    @param options: of both clients.
    @param seen: whether the rendezvous will see their UDP packets.
    @param make: what makes the pair.
    @param scenario: see L{Scenario}.
    """
    pair = make(Scenario(kindA, kindB, seed, **scenario), **(options or {}))
    if seen:
        pair.ready(30.0)
    else:
        pair.network.runUntil(pair.a.whenRegistered(), 30.0)
        pair.network.runUntil(pair.b.whenRegistered(), 30.0)
        pair.network.advance(1.0)
    yield pair
    pair.stop()
    assert pair.clock.getDelayedCalls() == []


class Talk(Collector):
    """
    Numbered words that are sent to an echo at an even pace, and come back.

    @ivar sent: all that was sent.
    @ivar longest: the longest silence so far, in seconds.
    """

    def __init__(
        self,
        pair: Pair,
        stream: Stream,
        *,
        pace: float = 0.02,
        size: int = 1500,
    ) -> None:
        super().__init__()
        self.sent = bytearray()
        self.longest = 0.0
        self._pair = pair
        self._stream = stream
        self._size = size
        self._last = pair.clock.seconds()
        stream.attach(self)
        self._loop = LoopingCall(self._say)
        self._loop.clock = pair.clock
        self._loop.start(pace).addErrback(lambda failure: failure.raiseException())

    def _say(self) -> None:
        number = len(self.sent) // self._size
        word = (b"%d " % number).ljust(self._size, bytes([33 + number % 90]))
        self.sent += word
        self._stream.write(word)

    def dataReceived(self, data: bytes) -> None:
        """
        Something came back.
        """
        if data:
            now = self._pair.clock.seconds()
            self.longest = max(self.longest, now - self._last)
            self._last = now
        super().dataReceived(data)

    def silence(self) -> float:
        """
        @return: the longest silence since the last call.
        """
        now = self._pair.clock.seconds()
        longest, self.longest = max(self.longest, now - self._last), 0.0
        self._last = now
        return longest

    def connectionLost(self, reason: Any = None) -> None:
        """
        Talk no more.
        """
        self.stop()
        super().connectionLost(reason)

    def stop(self) -> None:
        """
        Send no more.
        """
        if self._loop.running:
            self._loop.stop()

    def finish(self, timeout: float = 30.0) -> None:
        """
        Send no more, and see that everything came back, once and in order.
        """
        self.stop()
        if len(self.received) < len(self.sent):
            self._pair.network.runUntil(self.whenReceived(len(self.sent)), timeout)
        assert self.received == self.sent
        assert self.reason is None


def talk(pair: Pair, **options: Any) -> Talk:
    """
    Open a stream to the echo of C{b} and begin to talk.
    """
    opened = pair.a.open(pair.identityB.peerId, "echo")
    return Talk(pair, pair.network.runUntil(opened, 30.0), **options)


def firstByte(pair: Pair) -> tuple[Stream, Collector, float]:
    """
    Open a stream from C{a} to the echo of C{b}, and wait for five bytes.

    @return: the stream, and how many seconds all of this took.
    """
    began = pair.clock.seconds()
    stream, collector = pair.open()
    stream.write(b"hello")
    echo = pair.network.runUntil(collector.whenReceived(5), 30.0)
    assert echo == b"hello"
    return stream, collector, pair.clock.seconds() - began


def until(pair: Pair, what: Callable[[], object], timeout: float) -> float:
    """
    Run until C{what} is true.

    @return: how many seconds that took.
    """
    began = pair.clock.seconds()
    pair.network.runUntil(what, timeout)
    return pair.clock.seconds() - began


def failure(pair: Pair, service: str = "echo", timeout: float = 60.0) -> BaseException:
    """
    @return: why C{a} cannot open a stream to C{b}.
    """
    caught: list[Failure] = []
    opened = pair.a.open(pair.identityB.peerId, service)
    opened.addErrback(caught.append)
    pair.network.runUntil(lambda: opened.called, timeout)
    assert isinstance(caught[0].value, BaseException)
    return caught[0].value

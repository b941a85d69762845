"""
People who use the relay as it is meant, while others attack it.
"""

from __future__ import annotations

import os
import select
import socket
import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

from punchd.core import Address
from punchd.stun.stream import FrameSplitter, pad
from punchd.turn.client import Client
from punchd.turn.events import Allocated, RelayedDatagram

PASSWORD = "password"
#: Seconds between two messages of one person.
_PACE = 0.01
#: Seconds for whatever is expected.
_PATIENCE = 20.0


class Honest:
    """
    I am a client of the relay, over UDP or TCP.

    @ivar relayed: my relayed address.
    @ivar received: what came through the relay.
    """

    def __init__(
        self,
        server: Address,
        user: str,
        stream: bool = False,
        source: str = "",
        port: int = 0,
    ) -> None:
        """
        @param source: the address to come from.
        @param port: the port to come from.
        """
        self.socket = socket.socket(
            socket.AF_INET, socket.SOCK_STREAM if stream else socket.SOCK_DGRAM
        )
        self.socket.settimeout(_PATIENCE)
        self.socket.bind((source or "127.0.0.1", port))
        self.socket.connect(server)
        self._splitter = FrameSplitter() if stream else None
        self._server = server
        self.core = Client(server, entropy=os.urandom)
        self.received: list[bytes] = []
        self._events: list[Any] = []
        self.core.allocate(user, PASSWORD, None, None, time.monotonic())
        self.until(lambda: bool(self._events))
        event = self._events.pop()
        assert isinstance(event, Allocated), event
        self.relayed = event.relayed

    def meet(self, other: Honest) -> None:
        """
        Let each other in, so that messages pass.
        """
        pair = (self, other)
        for one, two in (pair, pair[::-1]):
            one.core.permit([two.relayed[0]], time.monotonic())
            one.until(lambda: bool(one.core.permitted))  # noqa: B023

    def send(self, data: bytes, peer: Address) -> None:
        """
        Send through the relay.
        """
        self.core.send(data, peer, time.monotonic())
        self._drain()

    def until(self, done: Callable[[], bool]) -> None:
        """
        Do what is to be done until C{done} says yes.
        """
        end = time.monotonic() + _PATIENCE
        while not done():
            assert time.monotonic() < end, self._events
            self.turn(0.1)

    def turn(self, wait: float) -> None:
        """
        Read what is there, waiting so long for it.
        """
        self._drain()
        readable, _, _ = select.select([self.socket], [], [], wait)
        now = time.monotonic()
        if readable:
            data = self.socket.recv(1 << 17)
            frames = [data]
            if self._splitter is not None:
                if not data:
                    raise ConnectionError("the relay has ended the connection")
                frames = self._splitter.dataReceived(data)
            for frame in frames:
                self.core.datagramReceived(frame, ("", 0), self._server, now)
        self.core.timeReached(now)
        self._drain()

    def _drain(self) -> None:
        for each in self.core.takeDatagrams():
            self.socket.sendall(each.data if self._splitter is None else pad(each.data))
        for event in self.core.takeEvents():
            if isinstance(event, RelayedDatagram):
                self.received.append(event.data)
            else:
                self._events.append(event)

    def close(self) -> None:
        """
        Leave without a word.
        """
        self.socket.close()


class Talk:
    """
    Two of them talk, in a thread, for as long as the block lasts.

    @ivar sent: how many messages.
    """

    def __init__(
        self,
        server: Address,
        *users: str,
        stream: bool = False,
        ports: Sequence[int] = (0, 0),
    ) -> None:
        """
        @param ports: that they come from.
        """
        self.pair = [
            Honest(server, user, stream, port=port)
            for user, port in zip(users, ports, strict=True)
        ]
        self.pair[0].meet(self.pair[1])
        self.sent = 0
        self._ending = False
        self._silent = False
        self._problem: Exception | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def received(self) -> int:
        """
        How many messages have come, different ones.
        """
        return sum(len(set(each.received)) for each in self.pair)

    def __enter__(self) -> Talk:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ending = True
        self._thread.join(2 * _PATIENCE)
        for each in self.pair:
            each.close()
        if self._problem is not None:
            raise self._problem

    def say(self, count: int) -> tuple[int, int]:
        """
        Say so much more, when all that was said before has come or is lost.

        @return: how many were sent from here on, and have come.
        """
        before = self.settled()
        end = time.monotonic() + _PATIENCE
        while self.sent < before[0] + count and time.monotonic() < end:
            time.sleep(0.02)
        sent, received = self.settled()
        return sent - before[0], received - before[1]

    def settled(self) -> tuple[int, int]:
        """
        Say nothing, until nothing has come for a while or all has.

        @return: how many messages were sent by then, and how many have come.
        """
        self._silent = True
        time.sleep(0.1)
        came, since = -1, time.monotonic()
        while self.received < self.sent and time.monotonic() < since + 1:
            if self.received > came:
                came, since = self.received, time.monotonic()
            time.sleep(0.02)
        counts = self.sent, self.received
        self._silent = False
        return counts

    def _run(self) -> None:
        one, two = self.pair
        due = time.monotonic()
        try:
            while not self._ending:
                if time.monotonic() >= due and not self._silent:
                    due = time.monotonic() + _PACE
                    for each, other in ((one, two), (two, one)):
                        each.send(b"message %d" % self.sent, other.relayed)
                        self.sent += 1
                one.turn(0.002)
                two.turn(0.002)
        except Exception as e:
            self._problem = e

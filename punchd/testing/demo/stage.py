"""
What a stage can do.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

from .events import Event

#: The program of B that gives everything back, and the one that takes a length
#: and so many bytes, and answers with their SHA-256.
ECHO, SUM = "echo", "sum"
#: The octets of the length.
HEAD = 8
#: Seconds between the messages of a L{Chatter}.
PERIOD = 0.02


class DemoFailed(Exception):
    """
    The job could not be done; one sentence.
    """


@dataclass
class Place:
    """
    A host and what is in front of it.

    @ivar kind: of its NAT.
    @ivar address: its own.
    @ivar public: the one that others see.
    """

    kind: str
    address: str
    public: str


@dataclass
class Transfer:
    """
    Bytes on their way from A to B.

    @ivar sent: SHA-256 of what A's program wrote.
    @ivar got: SHA-256 of what B's program read, once it has read all.
    @ivar seconds: from the first byte written to B's answer.
    """

    size: int
    sent: str = ""
    got: str | None = None
    seconds: float = 0.0
    error: str | None = None


class Summing:
    """
    The part of L{SUM} that knows no transport.
    """

    def __init__(self) -> None:
        self._sum = hashlib.sha256()
        self._left: int | None = None
        self._head = b""

    def take(self, data: bytes) -> bytes:
        """
        @return: what to answer, if anything.
        """
        if self._left is None:
            self._head += data
            if len(self._head) < HEAD:
                return b""
            self._left = int.from_bytes(self._head[:HEAD], "big")
            data = self._head[HEAD:]
        self._sum.update(data)
        self._left -= len(data)
        return self._sum.digest() if self._left == 0 else b""


@dataclass
class Chatter:
    """
    A program that sends a number every L{PERIOD} seconds, and B's echo of them.

    @ivar sent: how many numbers were sent.
    @ivar received: how many came back in order.
    @ivar wrong: how many came back out of order, or were not sent at all.
    @ivar longest: the longest time between two that came back, in seconds.
    """

    sent: int = 0
    received: int = 0
    wrong: int = 0
    longest: float = 0.0
    stopped: bool = False
    _last: float | None = None
    _rest: bytes = b""

    def message(self) -> bytes:
        """
        @return: the next number.
        """
        self.sent += 1
        return (self.sent - 1).to_bytes(8, "big")

    def came(self, data: bytes, now: float) -> None:
        """
        Something came back.
        """
        if self._last is not None:
            self.longest = max(self.longest, now - self._last)
        self._last = now
        self._rest += data
        while len(self._rest) >= 8:
            number = int.from_bytes(self._rest[:8], "big")
            self._rest = self._rest[8:]
            if number == self.received:
                self.received += 1
            else:
                self.wrong += 1

    @property
    def complete(self) -> bool:
        """
        Whether all came back.
        """
        return self.stopped and self.received == self.sent and not self.wrong


class Stage(ABC):
    """
    Where the play takes place.

    @ivar title: what it is, for people.
    @ivar places: what is known of A and B.
    @ivar delay: seconds one way across the public network.
    @ivar size: how many bytes make a good transfer here.
    @ivar cuttable: whether there is a direct path that can be cut.
    """

    title = ""
    places: dict[str, Place]
    rendezvous = ""
    delay = 0.0
    size = 0
    cuttable = True

    @abstractmethod
    def start(self) -> None:
        """
        Start the rendezvous and both clients.
        """

    @abstractmethod
    def now(self) -> float:
        """
        @return: the time, as in events.
        """

    @abstractmethod
    def step(self) -> list[Event]:
        """
        Let a little time pass.

        @return: what has happened.
        """

    @abstractmethod
    def greet(self) -> float:
        """
        Have A's program connect to B's L{ECHO} through punchd and say something.

        @return: when it began to connect.
        """

    @abstractmethod
    def greeted(self) -> bool:
        """
        @return: whether the echo came back.

        @raise DemoFailed: it cannot come any more.
        """

    @abstractmethod
    def transfer(self) -> Transfer:
        """
        Begin to send L{size} bytes to B's L{SUM}.
        """

    @abstractmethod
    def chat(self) -> Chatter:
        """
        Begin to talk over the connection that L{greet} made.
        """

    @abstractmethod
    def cut(self) -> None:
        """
        Have A's router drop all packets between the two hosts.
        """

    @abstractmethod
    def restore(self) -> None:
        """
        End the L{cut}.
        """

    @abstractmethod
    def status(self, letter: str) -> dict[str, Any]:
        """
        @return: what C{punchd status --json} says at A or B.
        """

    @abstractmethod
    def why(self) -> str:
        """
        @return: what C{punchd why} says at A about B.
        """

    @abstractmethod
    def traffic(self) -> dict[str, tuple[int, int]]:
        """
        @return: the bytes of packets, headers included, that have left the
            routers of A and of B: to each other, and to the rendezvous.
        """

    @abstractmethod
    def stop(self) -> None:
        """
        Stop both clients, then the rendezvous, in good order.
        """

    @abstractmethod
    def close(self) -> None:
        """
        Leave nothing behind, whatever has happened.
        """

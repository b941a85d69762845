"""
A worker as the process that has started it knows it.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

from twisted.internet.error import ProcessExitedAlready
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from punchd.core import Address
from punchd.net.sharing import Pair
from punchd.turn.neighbours import Lodger

from .traffic import Living
from .workerorders import PIPE, SOCKETS
from .workerpipe import Pipe, Record, makePair, unpack

#: Seconds until a worker that died is started again, at first.
AGAIN: Final = 0.1
#: Bytes of what a worker prints that are logged at a time.
PRINTED: Final = 4096
#: Looks (L{punchd.services.workerwatch}) after which a worker that has said nothing is
#: not given more to do.
QUIET: Final = 3


class Child:
    """
    One worker, whichever process it is.

    @ivar number: from 1 on.
    @ivar sockets: its pair for each shared address.
    @ivar lodgers: its relayed addresses.
    @ivar pipe: to the process, while there is one.
    @ivar ready: whether it is at work.
    @ivar silence: how often it was looked at since it has said something.
    @ivar passed: the TCP connections that it was passed, by number.
    @ivar lost: users whose allocations the process before this one had.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.sockets: list[Pair] = []
        self.pipe: Any = None
        self.process: Any = None
        self.startedAt = 0.0
        self.wait = AGAIN
        self.again: IDelayedCall | None = None
        self.lodgers: dict[Address, Lodger] = {}
        self.lost: set[str] = set()
        self.counters: Counter[str] = Counter()
        self.ports: Counter[str] = Counter()
        self.living: list[Living] = []
        self.ready = False
        self.silence = 0
        self.passed: dict[int, Any] = {}

    @property
    def answers(self) -> bool:
        """
        Whether it is at work, as far as can be told.
        """
        return self.ready and self.silence < QUIET

    def spawn(
        self,
        reactor: Any,
        received: Callable[[Child, Sequence[Record]], None],
        ended: Callable[[Child, Failure], None],
    ) -> None:
        """
        Start a process.

        @param received: called with the records that it sends.
        @param ended: called when it is gone.
        """
        ours, theirs = makePair()
        null = os.open(os.devnull, os.O_RDONLY)
        descriptors: dict[int, Any] = {0: null, 1: "r", 2: "r", PIPE: theirs.fileno()}
        sockets = [end for pair in self.sockets for end in pair]
        for number, end in enumerate(sockets, SOCKETS):
            descriptors[number] = end.fileno()

        def heard(message: bytes) -> None:
            self.silence = 0
            received(self, unpack(message))

        # Who closes the pipe, or does not read it, is of no use any more.
        self.pipe = Pipe(reactor, ours, heard, self.kill)
        self.startedAt, self.silence = reactor.seconds(), 0
        try:
            self.process = reactor.spawnProcess(
                _Process(self, ended),
                sys.executable,
                [sys.executable, "-m", "punchd.services.worker"],
                {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                childFDs=descriptors,
            )
        finally:
            os.close(null)
            theirs.close()

    def kill(self) -> None:
        """
        End the process at once, if there is one.
        """
        if self.process is not None:
            # The reactor may know that it is gone, and not have told us yet.
            with suppress(ProcessExitedAlready):
                self.process.signalProcess("KILL")

    def gone(self) -> None:
        """
        There is no process any more.
        """
        self.process = None
        self.ready = False
        self.pipe.close()
        self.pipe = None


class _Process(ProcessProtocol):
    """
    I am what the reactor knows a process by.
    """

    log = Logger()

    def __init__(self, child: Child, ended: Callable[[Child, Failure], None]) -> None:
        self._child = child
        self._ended = ended

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        """
        It has printed something: it has something to complain about.
        """
        self.log.warn(
            "worker {number}: {text}",
            number=self._child.number,
            text=data[:PRINTED].decode("utf-8", "replace").rstrip(),
            event="worker-printed",
        )

    def processEnded(self, reason: Failure) -> None:
        """
        It is gone.
        """
        self._child.gone()
        self._ended(self._child, reason)

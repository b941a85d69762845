"""
A reactor that does one thing at a time, in an order that a number decides.  Its
sockets are real, its time is not.
"""

from __future__ import annotations

import random
import select
import time
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.selectreactor import SelectReactor

#: How long what is sure to happen may take on a machine with other things to do, in
#: real seconds.
PATIENCE = 30.0

#: What is due later than that is not waited for, in seconds.
IDLE = 5.0


class Turns(SelectReactor):
    """
    I run no loop of my own.

    @ivar random: decides what comes next.
    """

    def __init__(self) -> None:
        self.random = random.Random(0)
        self._now = 1000.0
        super().__init__()

    def seconds(self) -> float:
        """
        @return: the time, which passes only while there is nothing else to do.
        """
        return self._now

    def _choose(self, wait: float) -> tuple[Any, str] | None:
        reads: list[Any] = sorted(self._reads, key=lambda each: each.fileno())
        writes: list[Any] = sorted(self._writes, key=lambda each: each.fileno())
        readable, writable, _ = select.select(reads, writes, [], wait)
        ready = [(each, "doRead") for each in readable]
        ready += [(each, "doWrite") for each in writable]
        return self.random.choice(ready) if ready else None

    def until(self, done: Callable[[], object]) -> None:
        """
        Go on until something is so.
        """
        end = time.monotonic() + PATIENCE
        while not done():
            if not self.soon() and not self.soon(0.01):
                assert time.monotonic() < end, "it never happened"

    def soon(self, wait: float = 0.0) -> bool:
        """
        Do one thing, if there is one to be done.  Time passes for what is due soon;
        an idle session has nothing to do but to wait.

        @param wait: how long the kernel may take to say what there is, in real
            seconds.

        @return: whether there was one.
        """
        due = self.timeout()
        ready = due is not None and due <= 0
        if ready and self.random.random() < 0.5:
            self.runUntilCurrent()
            return True
        chosen = self._choose(0.0 if ready else wait)
        if chosen is not None:
            self._doReadOrWrite(*chosen)
            return True
        if due is None or due > IDLE:
            return False
        self._now += max(0.0, due)
        self.runUntilCurrent()
        return True

    def result(self, deferred: Deferred[Any]) -> Any:
        """
        @return: what it fires with.
        """
        results: list[Any] = []
        failures: list[Any] = []
        deferred.addCallbacks(results.append, failures.append)
        self.until(lambda: results or failures)
        for failure in failures:
            failure.raiseException()
        return results[0]

    def end(self) -> None:
        """
        Close what is the reactor's own.
        """
        for each in self.removeAll():
            each.connectionLost(None)
        for internal in list(self._internalReaders):
            self._internalReaders.remove(internal)
            self.removeReader(internal)
            internal.connectionLost(None)

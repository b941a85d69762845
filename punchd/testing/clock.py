"""
Virtual time: a clock that steps from one delayed call to the next.

L{twisted.internet.task.Clock} sorts its list at every C{callLater}, sets the
time before it runs what was due, and never returns when a call keeps
scheduling itself for the same instant.  This one keeps a heap, runs every call
at its own time, and gives up with the names of the calls when an instant does
not end.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Coroutine, Generator, Iterable
from heapq import heapify, heappop, heappush
from typing import Any, TypeVar, overload

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from .timedcall import TimedCall, describe

_T = TypeVar("_T")


class SimulationStuck(AssertionError):
    """
    Virtual time cannot go on: one instant never ends.
    """


class SimulationTimeout(AssertionError):
    """
    What was waited for did not happen in the virtual time allowed.
    """


_Entry = tuple[float, int, Any, tuple[Any, ...] | None]


@implementer(IReactorTime)
class VirtualClock:
    """
    Time that passes only when it is told to.

    An exception in a delayed call is logged and kept in L{failures}, as the
    reactor would log it, and time goes on.

    @ivar failures: what delayed calls have raised.
    @ivar stepsPerInstant: how many calls one instant may take before
        L{SimulationStuck} is raised.
    """

    _log = Logger()

    def __init__(self) -> None:
        self._now = 0.0
        self._heap: list[_Entry] = []
        self._sequence = 0
        self._stale = 0
        self._instant = -1.0
        self._steps = 0
        self._recent: deque[object] = deque(maxlen=64)
        self.stepsPerInstant = 100_000
        self.failures: list[Failure] = []

    # --- IReactorTime -------------------------------------------------------

    def seconds(self) -> float:
        """
        @return: virtual seconds since the clock was made.
        """
        return self._now

    def callLater(
        self,
        delay: float,
        callable: Callable[..., object],
        *args: Any,
        **kwargs: Any,
    ) -> TimedCall:
        """
        Call C{callable} in C{delay} seconds.
        """
        return self.callLaterFor(self, delay, callable, args, kwargs)

    def getDelayedCalls(self) -> list[IDelayedCall]:
        """
        @return: every call to come, the next first, without the network's own.
        """
        calls = self.pending()
        return [call for call in calls if call.owner is not None]

    # --- for the simulated machines -----------------------------------------

    def callLaterFor(
        self,
        owner: object,
        delay: float,
        function: Callable[..., object],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> TimedCall:
        """
        Do as L{callLater} on behalf of C{owner}; L{None} is the network.
        """
        if not delay >= 0:
            raise AssertionError(f"{delay} is not a delay, in {describe(function)}")
        call = TimedCall(self, self._now + delay, function, args, kwargs or {}, owner)
        self._push(call)
        return call

    def schedule(
        self, delay: float, function: Callable[..., object], args: tuple[Any, ...]
    ) -> None:
        """
        Call C{function} in C{delay} seconds, come what may: the cheap form,
        for packets.
        """
        self._sequence += 1
        heappush(self._heap, (self._now + delay, self._sequence, function, args))

    def scheduleAt(
        self, due: float, function: Callable[..., object], args: tuple[Any, ...]
    ) -> None:
        """
        Do as L{schedule} at a time that must not be rounded.
        """
        self._sequence += 1
        heappush(self._heap, (due, self._sequence, function, args))

    def pending(self) -> list[TimedCall]:
        """
        @return: all calls that can be cancelled, the next first.
        """
        calls = [
            entry[2]
            for entry in self._heap
            if entry[3] is None and entry[1] == entry[2].sequence
        ]
        return sorted(calls, key=lambda call: (call.due, call.sequence))

    def cancelAll(self, owner: object) -> None:
        """
        Cancel the calls of C{owner}.
        """
        for call in self.pending():
            if call.owner is owner:
                call.cancel()

    def _push(self, call: TimedCall) -> None:
        self._sequence += 1
        call.sequence = self._sequence
        heappush(self._heap, (call.due, self._sequence, call, None))

    def _move(self, call: TimedCall, due: float) -> None:
        earlier = due < call.due
        call.due = due
        # A later time is noticed when the old entry comes up.
        if earlier:
            self._forget(call)
            self._push(call)

    def _forget(self, call: TimedCall) -> None:
        call.sequence = -1
        self._stale += 1
        if self._stale > 1000 and self._stale * 2 > len(self._heap):
            self._heap = [
                entry
                for entry in self._heap
                if entry[3] is not None or entry[1] == entry[2].sequence
            ]
            heapify(self._heap)
            self._stale = 0

    # --- stepping -----------------------------------------------------------

    def _ready(self) -> bool:
        """
        Bring the next call to the top of the heap.

        @return: whether there is one.
        """
        heap = self._heap
        while heap:
            due, sequence, what, args = heap[0]
            if args is not None:
                return True
            if what.sequence != sequence:
                heappop(heap)
                self._stale -= 1
            elif what.due > due:
                heappop(heap)
                self._push(what)
            else:
                return True
        return False

    def _step(self) -> None:
        """
        Make the call at the top of the heap.
        """
        due, _, what, args = heappop(self._heap)
        if due > self._instant:
            self._instant = due
            self._steps = 0
        self._steps += 1
        if self._steps > self.stepsPerInstant - 64:
            self._recent.append(what.function if args is None else what)
            if self._steps > self.stepsPerInstant:
                self._stuck()
        self._now = max(self._now, due)
        try:
            if args is None:
                what.run()
            else:
                what(*args)
        except Exception:
            failure = Failure()
            self.failures.append(failure)
            self._log.failure("in a delayed call", failure)

    def _stuck(self) -> None:
        names = Counter(describe(function) for function in self._recent)
        self._recent.clear()
        self._steps = 0
        raise SimulationStuck(
            f"{self.stepsPerInstant} calls at {self._instant:.6f} s and no end; "
            "the last were "
            + ", ".join(f"{name} ({n} times)" for name, n in names.most_common(8))
        )

    def advance(self, amount: float) -> None:
        """
        Let C{amount} seconds pass, each call running at its own time.
        """
        target = self._now + amount
        while self._ready() and self._heap[0][0] <= target:
            self._step()
        self._now = max(self._now, target)

    def pump(self, timings: Iterable[float]) -> None:
        """
        Advance by each of C{timings} in turn.
        """
        for amount in timings:
            self.advance(amount)

    def advanceToNext(self) -> bool:
        """
        Go to the next instant at which something is due and finish it.

        @return: whether there was one.
        """
        if not self._ready():
            return False
        instant = self._heap[0][0]
        while self._ready() and self._heap[0][0] <= instant:
            self._step()
        return True

    @overload
    def runUntil(self, what: Deferred[_T], timeout: float = ...) -> _T: ...

    @overload
    def runUntil(
        self,
        what: Coroutine[Deferred[Any], Any, _T] | Generator[Deferred[Any], Any, _T],
        timeout: float = ...,
    ) -> _T: ...

    @overload
    def runUntil(self, what: Callable[[], _T], timeout: float = ...) -> _T: ...

    def runUntil(self, what: Any, timeout: float = 60.0) -> Any:
        """
        Let time pass until something has happened, and not a call longer.

        @param what: a Deferred or coroutine, until it has a result; or a
            function, until it returns something true.
        @param timeout: at most this many virtual seconds.

        @return: the result.

        @raise SimulationTimeout: it did not happen.
        """
        results: list[object] = []
        if isinstance(what, (Coroutine, Generator)):
            what = Deferred.fromCoroutine(what)
        if isinstance(what, Deferred):
            what.addBoth(results.append)
        limit = self._now + timeout
        while True:
            if not isinstance(what, Deferred):
                happened = what()
                if happened:
                    return happened
            elif results:
                break
            if not self._ready():
                raise SimulationTimeout(self._report("nothing is left to happen"))
            if self._heap[0][0] > limit:
                self._now = limit
                raise SimulationTimeout(self._report(f"not within {timeout} s"))
            self._step()
        if isinstance(results[0], Failure):
            results[0].raiseException()
        return results[0]

    def _report(self, what: str) -> str:
        pending = [repr(call) for call in self.getDelayedCalls()[:8]]
        lines = [f"{what} (at {self._now:.6f} s)"]
        if pending:
            lines.append("next calls: " + ", ".join(pending))
        lines += [failure.getTraceback() for failure in self.failures[-3:]]
        return "\n".join(lines)

"""
Delayed calls in virtual time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.error import AlreadyCalled, AlreadyCancelled
from twisted.internet.interfaces import IDelayedCall
from twisted.python.reflect import fullyQualifiedName
from zope.interface import implementer

if TYPE_CHECKING:
    from .clock import VirtualClock


def describe(function: object) -> str:
    """
    @return: a name for C{function} by which a reader finds it.
    """
    try:
        return str(fullyQualifiedName(function))
    except AttributeError:
        return repr(function)


@implementer(IDelayedCall)
class TimedCall:
    """
    One scheduled call.

    @ivar owner: whose call it is; L{None} for the network's own timers, which
        L{VirtualClock.getDelayedCalls} does not list.
    """

    __slots__ = (
        "_args",
        "_clock",
        "_kwargs",
        "_live",
        "due",
        "function",
        "owner",
        "sequence",
    )

    def __init__(
        self,
        clock: VirtualClock,
        due: float,
        function: Callable[..., object],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        owner: object,
    ) -> None:
        self._clock = clock
        self.due = due
        self.function: Callable[..., object] | None = function
        self._args = args
        self._kwargs = kwargs
        self._live = True
        self.owner = owner
        self.sequence = -1

    def __repr__(self) -> str:
        return f"<{describe(self.function)} at {self.due:.6f}>"

    def getTime(self) -> float:
        """
        @return: the virtual second at which the call is due.
        """
        return self.due

    def active(self) -> bool:
        """
        @return: whether the call is still to come.
        """
        return self._live

    def _check(self) -> None:
        if not self._live:
            raise AlreadyCalled() if self.function else AlreadyCancelled()

    def cancel(self) -> None:
        """
        Forget the call.
        """
        self._check()
        self._live = False
        self.function = None
        self._args = ()
        self._clock._forget(self)

    def delay(self, secondsLater: float) -> None:
        """
        Have the call C{secondsLater} later than it was due.
        """
        self._check()
        self._clock._move(self, self.due + secondsLater)

    def reset(self, secondsFromNow: float) -> None:
        """
        Have the call C{secondsFromNow} from now.
        """
        self._check()
        self._clock._move(self, self._clock.seconds() + secondsFromNow)

    def run(self) -> None:
        """
        Make the call.
        """
        self._live = False
        assert self.function is not None
        self.function(*self._args, **self._kwargs)

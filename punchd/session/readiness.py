"""
Those who wait until a session can be used.
"""

from __future__ import annotations

from typing import Generic, TypeVar

from twisted.internet.defer import Deferred, fail, succeed
from twisted.python.failure import Failure

T = TypeVar("T")


class Readiness(Generic[T]):
    """
    I fire the Deferreds of all who wait, once, and of all who come later.
    """

    def __init__(self) -> None:
        self._waiting: list[Deferred[T]] = []
        self._result: tuple[T] | Failure | Readiness[T] | None = None

    def when(self) -> Deferred[T]:
        """
        @return: fires when the thing is ready, or fails with why it never will
            be.
        """
        result = self._result
        if isinstance(result, Readiness):
            return result.when()
        if isinstance(result, Failure):
            return fail(result)
        if result is not None:
            return succeed(result[0])
        waiting: Deferred[T] = Deferred(self._waiting.remove)
        self._waiting.append(waiting)
        return waiting

    def ready(self, value: T) -> None:
        """
        It is.
        """
        self._result = (value,)
        for waiter in self._swap():
            waiter.callback(value)

    def fail(self, reason: Failure) -> None:
        """
        It will not be, or not any more.
        """
        if not isinstance(self._result, Readiness):
            self._result = reason
        for waiter in self._swap():
            waiter.errback(reason)

    def inherit(self, heir: Readiness[T]) -> None:
        """
        Another thing takes the place of this one.
        """
        self._result = heir
        for waiter in self._swap():
            heir.when().chainDeferred(waiter)

    def _swap(self) -> list[Deferred[T]]:
        waiting, self._waiting = self._waiting, []
        return waiting

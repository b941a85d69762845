"""
Asking the rendezvous for leave to spray.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.python.failure import Failure

from punchd.traversal.events import LeaseReleased, LeaseWanted

from .context import Context

#: Seconds that the answer may take.
PATIENCE: Final = 3.0


class Leasing:
    """
    I ask for one session.  A rendezvous that does not answer, or is too old to
    know the question, is no obstacle.
    """

    def __init__(
        self, context: Context, answered: Callable[[str, float], object]
    ) -> None:
        """
        @param answered: called with the name, and the seconds until it is worth
            asking again, 0 for leave.
        """
        self._context = context
        self._answered = answered
        self._asking: object = None

    def happened(self, event: LeaseWanted | LeaseReleased) -> None:
        """
        A lease is wanted, or not any more.
        """
        if isinstance(event, LeaseWanted):
            self._ask(event.name)
        else:
            self.stop()
            self._context.link.release(event.name)

    def _ask(self, name: str) -> None:
        self.stop()

        def refused(failure: Failure) -> float:
            return 0.0

        def told(wait: float) -> None:
            if self._asking is asked:
                self._asking = None
                self._answered(name, max(0.0, wait))

        asked = self._asking = self._context.link.lease(name)
        asked.addTimeout(PATIENCE, self._context.clock)
        asked.addErrback(refused).addCallback(told)

    def stop(self) -> None:
        """
        No answer is wanted any more.
        """
        self._asking = None

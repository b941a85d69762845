"""
How the carrier of streams calls what is at their ends: soon, and guarded.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from twisted.logger import Logger
from twisted.python.context import call as callWithContext

from punchd.errors import ServiceFailed

from .flow import Flow
from .stream import Stream


def refuse(service: str, stream: Stream) -> None:
    """
    Let nobody in: what is done as long as nobody says what to do.
    """
    stream.refuse(ServiceFailed)


class Calls:
    """
    What all carriers have in common; see L{punchd.session.flow.Carrier}.

    @ivar onIncoming: called with the service and the stream that the other end
        opened for it.
    """

    log = Logger()

    def __init__(
        self,
        due: Callable[[], object],
        onIncoming: Callable[[str, Stream], object] = refuse,
    ) -> None:
        """
        @param due: called when L{run} has something to do.
        """
        self.onIncoming = onIncoming
        self._due = due
        self._later: deque[tuple[Callable[..., object], tuple[object, ...]]] = deque()

    @property
    def pending(self) -> bool:
        """
        Whether L{run} has something to do.
        """
        return bool(self._later)

    def run(self) -> None:
        """
        Do what was put off; what that puts off in turn waits once more.
        """
        for _ in range(len(self._later)):
            f, arguments = self._later.popleft()
            try:
                f(*arguments)
            except Exception:
                self.log.failure("A callback of a stream failed")

    # --- for the streams ----------------------------------------------------

    def later(self, f: Callable[..., object], *args: object) -> None:
        """
        Call C{f} soon, from a clean stack.
        """
        self._later.append((f, args))
        self._due()

    def call(self, stream: Flow, f: Callable[..., object], *args: object) -> None:
        """
        Call application code; an exception ends the stream, as in Twisted's
        reactors.
        """
        try:
            if stream.logContext is None:
                f(*args)
            else:
                callWithContext(stream.logContext, f, *args)
        except Exception as e:
            self.log.failure("Unhandled error in a stream's protocol")
            stream.abort(e)

    def incoming(self, service: str, stream: Flow) -> None:
        """
        The other end opened a stream.
        """
        assert isinstance(stream, Stream)
        try:
            self.onIncoming(service, stream)
        except Exception:
            self.log.failure("Cannot take a stream for {service}", service=service)
            stream.refuse(ServiceFailed)

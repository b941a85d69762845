"""
The rendezvous as a program: signals, metrics, and what its supervisor is told.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable
from typing import Any, Final

from twisted.application.service import MultiService, Service
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from punchd.errors import InvalidOption, PunchError
from punchd.forward.rules import parseServer
from punchd.services.rendezvous import Rendezvous

from .exits import oneSentence
from .supervision import notify

#: Files that may be open at a time, if the system does not permit less.
_FILES: Final = 1 << 16


class Server(MultiService):
    """
    The rendezvous as a program.
    """

    log = Logger()

    def __init__(
        self,
        program: str,
        reactor: Any,
        rendezvous: Rendezvous,
        reload: Callable[[], Iterable[str]],
    ) -> None:
        """
        @param program: the name of the command.
        @param reload: reads files again, or raises L{PunchError} and changes nothing;
            gives the names of options that have changed in vain.
        """
        super().__init__()
        self.rendezvous = rendezvous
        self._program = program
        self._reactor = reactor
        self._reload = reload
        self._before: dict[int, Any] = {}
        self._metrics: Service | None = None
        rendezvous.setServiceParent(self)

    def serveMetrics(self, endpoint: str) -> None:
        """
        @param endpoint: a server endpoint string.

        @raise InvalidOption: there can be none.
        """
        parsed = parseServer("metrics", endpoint, self._reactor)
        try:
            from punchd.services.metrics import Metrics
        except ImportError as e:
            raise InvalidOption(
                f"--metrics={endpoint}: prometheus-client is not installed; "
                "`pip install punchd[metrics]` has it."
            ) from e
        self._metrics = Metrics(self._reactor, parsed, self.rendezvous)

    # --- Service

    def privilegedStartService(self) -> None:
        """
        Open all ports, or end with one sentence.
        """
        with oneSentence(self._program):
            super().privilegedStartService()
            if self._metrics is not None:
                self._metrics.privilegedStartService()

    def startService(self) -> None:
        """
        Start, or end with one sentence.
        """
        allowFiles()
        with oneSentence(self._program):
            super().startService()
            if self._metrics is not None:
                self._metrics.startService()
        # Under nohup too: to read the files again survives a hang-up as well.
        if signal.getsignal(signal.SIGHUP) in (signal.SIG_DFL, signal.SIG_IGN):
            self._catch(signal.SIGHUP, self._reloadSaying)
        notify("READY=1")

    def stopService(self) -> Deferred[Any]:
        """
        Stop in good order; who says it again has no time for that.

        @return: fires when all is stopped.
        """
        notify("STOPPING=1")
        for number in (signal.SIGTERM, signal.SIGINT):
            # Only where the reactor has caught the first one.
            handler = signal.getsignal(number)
            if callable(handler) and handler is not signal.default_int_handler:
                self._catch(number, self.rendezvous.hurry)

        def drained(result: Any) -> Any:
            # Until now the numbers have told how much is left.
            return None if self._metrics is None else self._metrics.stopService()

        def stopped(result: Any) -> Any:
            before, self._before = self._before, {}
            for number, handler in before.items():
                signal.signal(number, handler)
            return result

        stopping: Deferred[Any] = super().stopService()
        return stopping.addBoth(drained).addBoth(stopped)

    def _catch(self, number: int, f: Callable[[], object]) -> None:
        def came(number: int, frame: object) -> None:
            self._reactor.callFromThread(f)

        self._before[number] = signal.signal(number, came)

    def _reloadSaying(self) -> None:
        try:
            for name in self._reload():
                self.log.warn("--{name} takes a restart to change", name=name)
        except PunchError as e:
            self.log.warn("Nothing was changed: {error}", error=str(e))


def allowFiles() -> None:
    """
    Have as many files open as the system permits: each relayed address is one.
    """
    try:
        import resource
    except ImportError:
        return  # not on Windows
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(hard, _FILES)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))

"""
Structured events: what is written into the log with a name, for programs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, Final

from twisted.application.service import Service
from twisted.logger import (
    ILogObserver,
    Logger,
    LogPublisher,
    formatEvent,
    globalLogPublisher,
)
from zope.interface import implementer

from punchd.errors import InvalidOption
from punchd.interfaces import IEventReceiver

#: What is ours among all that is logged.
NAMESPACE: Final = "punchd."


@implementer(ILogObserver)
class Events(Service):
    """
    I bring what is logged with a name to those who take it.
    """

    log = Logger()

    def __init__(
        self,
        receivers: Sequence[IEventReceiver],
        publisher: LogPublisher = globalLogPublisher,
    ) -> None:
        self._receivers = list(receivers)
        self._publisher = publisher
        self._observing = False

    def privilegedStartService(self) -> None:
        """
        Begin, before anything happens.
        """
        if not self._observing:
            self._observing = True
            self._publisher.addObserver(self)

    def startService(self) -> None:
        """
        Begin, if that was not done before.
        """
        super().startService()
        self.privilegedStartService()

    def stopService(self) -> None:
        """
        Tell nothing more.
        """
        super().stopService()
        if self._observing:
            self._observing = False
            self._publisher.removeObserver(self)
        for receiver in self._receivers:
            receiver.close()

    def __call__(self, event: Any) -> None:
        """
        Something was logged.
        """
        name = event.get("event")
        if not isinstance(name, str):
            return
        if not event.get("log_namespace", "").startswith(NAMESPACE):
            return
        told = {"time": event["log_time"], "event": name, "text": formatEvent(event)}
        for key, value in event.items():
            if not key.startswith("log_") and key not in told:
                told[key] = _plain(value)
        for receiver in list(self._receivers):
            try:
                receiver.happened(dict(told))
            except Exception:
                # What is wrong with it will be wrong the next time, too.
                self._receivers.remove(receiver)
                self.log.failure("a receiver of events failed and gets no more")


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, (str, int, float)):
        return value
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(each) for each in value]
    return str(value)


@implementer(IEventReceiver)
class Lines:
    """
    I write each event as one line of JSON.
    """

    def __init__(
        self, write: Callable[[str], object], close: Callable[[], object]
    ) -> None:
        self._write = write
        self._close = close

    def happened(self, event: dict[str, Any]) -> None:
        """
        @see: L{IEventReceiver.happened}.
        """
        self._write(json.dumps(event, ensure_ascii=True))

    def close(self) -> None:
        """
        @see: L{IEventReceiver.close}.
        """
        self._close()


def toLog(arguments: str, network: Any) -> IEventReceiver:
    """
    C{--events=log}, or C{--events=log:FILE}.

    @raise InvalidOption: the file cannot be written.
    """
    if not arguments:
        log = Logger("punchd.events")
        return Lines(lambda line: log.info("{line}", line=line), lambda: None)
    try:
        file = open(arguments, "a", encoding="ascii", buffering=1)  # noqa: SIM115
    except OSError as e:
        raise InvalidOption(f"--events=log:{arguments}: {e.strerror}.") from e
    return Lines(lambda line: file.write(f"{line}\n"), file.close)

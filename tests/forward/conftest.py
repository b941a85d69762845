"""
Both ends of a forward, and the lines that they log.
"""

from __future__ import annotations

from collections.abc import Generator

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.logger import (
    ILogObserver,
    LogEvent,
    LogLevel,
    formatEvent,
    globalLogPublisher,
)
from zope.interface import implementer

from tests.forward.ends import Ends


@pytest.fixture
def ends() -> Generator[Ends, None, None]:
    """
    A session between a listener that publishes and a dialler that forwards.
    """
    from twisted.internet import reactor

    ends = Ends(reactor)
    yield ends
    pytest_twisted.blockon(Deferred.fromCoroutine(ends.close()))


@pytest.fixture
def warnings() -> Generator[list[str], None, None]:
    """
    What the test logged for a person to act on.
    """
    lines: list[str] = []

    @implementer(ILogObserver)
    def observe(event: LogEvent) -> None:
        namespace = event.get("log_namespace", "")
        if namespace.startswith("punchd.forward") and event["log_level"] in (
            LogLevel.warn,
            LogLevel.error,
        ):
            lines.append(formatEvent(event))

    globalLogPublisher.addObserver(observe)
    yield lines
    globalLogPublisher.removeObserver(observe)

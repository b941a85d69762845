"""
Structured events.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from twisted.logger import Logger, LogPublisher
from zope.interface import implementer
from zope.interface.verify import verifyClass, verifyObject

from punchd._plugins import pluginNamed
from punchd.errors import InvalidOption
from punchd.interfaces import IEventReceiver, IEventSink
from punchd.services.events import Events, Lines, toLog
from tests.product.talk import product


@implementer(IEventReceiver)
class Recorder:
    """
    Keeps what it is told.
    """

    def __init__(self, fails: bool = False) -> None:
        self.told: list[dict[str, Any]] = []
        self.fails = fails
        self.closed = False

    def happened(self, event: dict[str, Any]) -> None:
        """
        Something has happened.
        """
        self.told.append(event)
        if self.fails:
            raise RuntimeError("no")

    def close(self) -> None:
        """
        That was all.
        """
        self.closed = True


def test_interfaces() -> None:
    """
    What is built in provides what is promised.
    """
    assert verifyClass(IEventReceiver, Recorder)
    assert verifyClass(IEventReceiver, Lines)
    assert verifyObject(IEventSink, pluginNamed(IEventSink, "log"))


def test_events() -> None:
    """
    What punchd logs with a name is told, as values that JSON has; what others log,
    and what has no name, is not.
    """
    publisher = LogPublisher()
    recorder = Recorder()
    events = Events([recorder], publisher)
    events.startService()
    ours = Logger("punchd.services.something", observer=publisher)
    ours.info("{peer} left", peer="bob", event="left", odd={1: (2, object)})
    ours.info("nothing")
    Logger("somebody", observer=publisher).info("other", event="left")
    (told,) = recorder.told
    assert told["text"] == "bob left"
    assert told["event"] == "left"
    assert told["peer"] == "bob"
    assert told["odd"] == {"1": [2, str(object)]}
    assert json.loads(json.dumps(told)) == told
    events.stopService()
    assert recorder.closed
    ours.info("gone", event="gone")
    assert len(recorder.told) == 1


def test_failing() -> None:
    """
    One that fails is not told more, and the others are not disturbed.
    """
    publisher = LogPublisher()
    logged: list[Any] = []
    bad, good = Recorder(fails=True), Recorder()
    events = Events([bad, good], publisher)
    # The publisher tells its observers, the receivers' failure, too.
    events.log = Logger("punchd.events", observer=publisher)
    publisher.addObserver(logged.append)  # type: ignore[arg-type]
    events.startService()
    log = Logger("punchd.x", observer=publisher)
    for _ in range(2):
        log.info("x", event="x")
    assert (len(bad.told), len(good.told)) == (1, 2)
    assert [each["log_namespace"] for each in logged].count("punchd.events") == 1
    events.stopService()


def test_file(tmp_path: Path) -> None:
    """
    C{log:FILE} appends one line of JSON an event.
    """
    path = tmp_path / "events"
    for number in range(2):
        receiver = toLog(str(path), None)
        receiver.happened({"event": "x", "number": number, "text": "\n\u2026"})
        receiver.close()
    lines = path.read_text().splitlines()
    assert [json.loads(line)["number"] for line in lines] == [0, 1]
    with pytest.raises(InvalidOption, match="--events=log:/nowhere/x: "):
        toLog("/nowhere/x", None)


def test_relaying() -> None:
    """
    An allocation and its traffic are told, by handle.
    """
    recorder = Recorder()
    events = Events([recorder])
    with product("symmetric", "symmetric", options={"mode": "relay"}) as pair:
        events.startService()
        stream, collector = pair.open()
        stream.write(b"x" * 20_000)
        pair.network.runUntil(collector.whenReceived(20_000), 30.0)
    events.stopService()
    named = {each["event"]: each for each in recorder.told}
    opened, closed = named["allocation-opened"], named["allocation-closed"]
    assert opened["handle"]
    assert opened["transport"] == "udp"
    assert closed["receivedBytes"] > 20_000
    assert closed["sentPackets"] > 0
    assert closed["reason"] == "released"

"""
What is remembered of networks.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.logger import LogEvent, capturedLogs

from punchd.errors import StateError
from punchd.nat.keepalive import Lifetime
from punchd.services.memory import (
    AGE,
    MOST_NETWORKS,
    MOST_PAIRS,
    Lesson,
    Memory,
    Network,
)
from punchd.services.state import StateFolder

_HERE, _THERE = "198.51.100.0/24", "192.0.2.0/24"


class _File:
    """
    A file of the state folder, in memory; time goes on by a second a look.
    """

    def __init__(self, content: bytes | None = None) -> None:
        self.content = content
        self.now = 1e9
        self.warnings: list[LogEvent] = []

    def _save(self, content: bytes) -> None:
        self.content = content

    def _time(self) -> float:
        self.now += 1
        return self.now

    def memory(self) -> Memory:
        """
        @return: one that begins with what the file has.
        """
        with capturedLogs() as events:
            made = Memory(self._time, lambda: self.content, self._save)
        self.warnings += events
        return made


def _network(**more: Any) -> Network:
    return Network(_HERE, "endpoint-independent, preserving", **more)


def test_survives() -> None:
    """
    What was noted is there the next time.
    """
    file = _File()
    memory = file.memory()
    memory.noteNetwork(
        _network(twoWay=Lifetime(120, 144), oneWay=Lifetime(30), measured=5.0)
    )
    memory.noteLesson(Lesson(_HERE, _THERE, "preserving", "random", "spray", 1.5))
    memory.save()
    again = file.memory()
    network = again.network(_HERE)
    assert (network.twoWay, network.oneWay) == (Lifetime(120, 144), Lifetime(30))
    assert network.measured == 5.0
    lesson = again.lesson(_HERE, _THERE)
    assert lesson is not None
    assert (lesson.strategy, lesson.seconds, lesson.times) == ("spray", 1.5, 1)
    assert again.lesson(_THERE, _HERE) is None
    assert not file.warnings


def test_anotherNat() -> None:
    """
    The same addresses behind another kind of NAT are another network; which of
    them we are in is the last one's, until the NAT is known.
    """
    memory = _File().memory()
    memory.noteNetwork(_network(measured=1.0))
    memory.noteNetwork(Network(_HERE, "address-dependent, random", measured=2.0))
    assert memory.network(_HERE).measured == 2.0
    assert memory.network(_HERE, "endpoint-independent, preserving").measured == 1.0
    assert memory.network(_HERE, "something else").measured == 0.0
    assert memory.network(_THERE).measured == 0.0


def test_lessons() -> None:
    """
    What is successful again counts; what fails is forgotten.
    """
    memory = _File().memory()
    for _ in range(3):
        memory.noteLesson(Lesson(_HERE, _THERE, "", "", "predicted"))
    lesson = memory.lesson(_HERE, _THERE)
    assert lesson is not None
    assert lesson.times == 3
    memory.noteLesson(Lesson(_HERE, _THERE, "", "", "spray"))
    lesson = memory.lesson(_HERE, _THERE)
    assert lesson is not None
    assert (lesson.strategy, lesson.times) == ("spray", 1)
    memory.unlearn(lesson)
    assert memory.lesson(_HERE, _THERE) is None


def test_bounded() -> None:
    """
    The oldest are forgotten when there are too many, and all in time.
    """
    file = _File()
    memory = file.memory()
    for number in range(300):
        memory.noteNetwork(Network(f"10.{number}.0.0/24", "some"))
        memory.noteLesson(Lesson(_HERE, f"10.{number}.0.0/24", strategy="spray"))
    memory.save()
    assert file.content is not None
    content = json.loads(file.content)
    assert len(content["networks"]) == MOST_NETWORKS
    assert len(content["pairs"]) == MOST_PAIRS
    assert memory.lesson(_HERE, "10.299.0.0/24") is not None
    assert memory.lesson(_HERE, "10.0.0.0/24") is None
    file.now += AGE
    assert file.memory().lesson(_HERE, "10.299.0.0/24") is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"[" * 100_000,
        b"[]",
        b'{"version": 2}',
        b'{"version": 1, "networks": {}, "pairs": []}',
        b'{"version": 1, "networks": [{"prefix": 5}], "pairs": []}',
        b'{"version": 1, "networks": [], "pairs": [null]}',
    ],
)
def test_corruptFile(content: bytes) -> None:
    """
    A file that is none of ours is worth one warning, and is begun anew.
    """
    file = _File(content)
    memory = file.memory()
    assert len(file.warnings) == 1
    assert "is lost" in file.warnings[0]["log_format"]
    memory.noteNetwork(_network(measured=7.0))
    memory.save()
    assert file.memory().network(_HERE).measured == 7.0


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["prefix", "nat", "seen", "twoWay", "model", "ours"]),
                inner,
                max_size=6,
            )
        ),
        max_leaves=20,
    )
)
def test_anyEntry(entry: object) -> None:
    """
    Whatever an entry is, nothing is raised.
    """
    content = {"version": 1, "networks": [entry], "pairs": [entry]}
    memory = _File(json.dumps(content).encode()).memory()
    assert memory.network(_HERE).prefix == _HERE


def test_savedLater() -> None:
    """
    Changes are saved together, some seconds later, and not without need.
    """
    file = _File()
    memory, clock = file.memory(), Clock()
    memory.saveSoon(clock)
    assert clock.getDelayedCalls() == []
    memory.noteNetwork(_network())
    memory.saveSoon(clock)
    memory.saveSoon(clock)
    assert file.content is None
    clock.advance(5.0)
    assert file.content is not None
    assert clock.getDelayedCalls() == []


def test_folderThatCannotBeWritten() -> None:
    """
    A full disk is worth a warning.
    """

    def fail(content: bytes) -> None:
        raise StateError("networks.json: No space left on device.")

    memory = Memory(lambda: 1e9, save=fail)
    with capturedLogs() as warnings:
        memory.noteNetwork(_network())
        memory.save()
    assert [each["log_format"] for each in warnings] == [
        "What was learned cannot be saved: {why}"
    ]


def test_stateFolder(tmp_path: Path) -> None:
    """
    The file is private, and replaced as a whole.
    """
    folder = StateFolder(str(tmp_path / "state"))

    def make() -> Memory:
        return Memory(
            lambda: 1e9,
            lambda: folder.read("networks.json"),
            lambda content: folder.write("networks.json", content),
        )

    memory = make()
    memory.noteNetwork(_network(measured=3.0))
    memory.save()
    assert (tmp_path / "state/networks.json").stat().st_mode & 0o777 == 0o600
    assert make().network(_HERE).measured == 3.0


def test_earlierFile() -> None:
    """
    A file of an earlier program lacks what came later, and is good all the same.
    """
    file = _File()
    memory = file.memory()
    memory.noteNetwork(_network(openerTtl=3, relay="tcp", measured=5.0))
    memory.noteLesson(Lesson(_HERE, _THERE, strategy="spray", openerTtl=3, relay="tls"))
    memory.save()
    assert file.content is not None
    content = json.loads(file.content)
    for each in (*content["networks"], *content["pairs"]):
        assert each.pop("openerTtl") == 3
        assert each.pop("relay")
    file.content = json.dumps(content).encode()
    again = file.memory()
    assert not file.warnings
    network, lesson = again.network(_HERE), again.lesson(_HERE, _THERE)
    assert lesson is not None
    assert (network.measured, network.openerTtl, network.relay) == (5.0, 0, "")
    assert (lesson.strategy, lesson.openerTtl, lesson.relay) == ("spray", 0, "")


def test_natNotKnownYet() -> None:
    """
    A network is remembered before its NAT is known, and once afterwards.
    """
    memory = _File().memory()
    memory.noteNetwork(Network(_HERE))
    assert memory.network(_HERE).seen == 0.0
    memory.noteNetwork(Network(_HERE, relay="tcp"))
    assert memory.network(_HERE).relay == "tcp"
    memory.noteNetwork(_network(relay="tcp", openerTtl=2))
    assert memory.network(_HERE).openerTtl == 2
    assert memory.network(_HERE, "").nat

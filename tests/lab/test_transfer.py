"""
A large transfer through a forward, and what may happen to it.
"""

from __future__ import annotations

import time

import pytest

from punchd.testing.lab import waitFor

from .tools import connect, echoed, tool
from .transfers import MB, Memory, Sink, Source, arrived

_SIZE = 200 * MB

#: How long the transfer may stand still at a change of its path, in seconds: a
#: few until the loss is certain, and some for a busy machine.
_STALL = 8.0

#: How much may be under way on one stream, in bytes.
_WINDOW = 16 << 20

#: What a busy process may have grown by besides: Python keeps memory that it
#: has used, and there are copies on their way through TLS and sockets.
_SLACK = 16 << 20


def _transfer(product, **options):
    """
    @return: a product whose client A sends to a service of B, both ends, and the
        memory of the clients before that.
    """
    running = product(
        a=["--forward=tcp:9000=b/sink", "--forward=tcp:7000=b/echo"],
        b=["--publish=sink=tcp:127.0.0.1:9000", "--publish=echo=tcp:127.0.0.1:7"],
    )
    pids = {letter: running.processes[letter].pid for letter in "ab"}
    memory = Memory(**pids)
    sink = Sink(running.lab.hostB, 9000)
    sink.start()
    source = Source(running.lab.hostA, 9000, _SIZE, **options)
    source.start()
    for letter in "ab":
        running.whenPath("direct", letter)
    return running, source, sink, memory


def _changes(running):
    return [running.session(letter)["pathChanges"] for letter in "ab"]


@pytest.mark.timeout(180)
def test_pathChanges(product, record_property):
    """
    A transfer goes on over the relay while no direct packet comes through, comes
    back when one does, and does not notice that the rendezvous is restarted.
    """
    # Slow enough to be still there at the end of all that.
    running, source, sink, _ = _transfer(product, rate=8 * MB, last=40 * MB)
    sink.whenHas(10 * MB)
    sink.takeStall()
    before = _changes(running)

    began = time.monotonic()
    running.lab.routerA.dropDirect()
    for letter in "ab":
        running.whenPath("relayed", letter, 10)
    relayed = sink.count
    waitFor(lambda: time.monotonic() > began + 10, 11)
    assert sink.count > relayed + MB, "nothing came over the relay"
    toRelay = sink.takeStall()
    running.lab.routerA.restore()
    for letter in "ab":
        running.whenPath("direct", letter, 30)
    toDirect = sink.takeStall()
    assert _changes(running) == [count + 2 for count in before]

    assert running.end("rendezvous") in (0, -15)
    assert source.sent < _SIZE - 40 * MB, "it was over too soon"
    source.finish()
    sink.whenHas(sink.count + 5 * MB)
    running.restart("rendezvous")
    running.whenRegistered()
    sink.whenHas(sink.count + 5 * MB)
    assert [running.path(letter) for letter in "ab"] == ["direct", "direct"]
    assert _changes(running) == [count + 2 for count in before]

    arrived(source, sink, 60)
    stalls = toRelay, toDirect, sink.takeStall()
    print("longest stalls, s:", [round(stall, 2) for stall in stalls])
    record_property("stalls", stalls)
    assert max(stalls) < _STALL


@pytest.mark.timeout(240)
def test_slowReader(product, record_property):
    """
    A reader that stops for a minute stops the sender: neither client keeps more
    than a window of what waits.  Other streams go on, and so does this one when
    it is read again.
    """
    running, source, sink, memory = _transfer(product)
    sink.whenHas(40 * MB)
    sink.pause()
    until = time.monotonic() + 60
    tool(running.lab.hostB, "echo", 7)
    # What is under way arrives first.
    given = -1
    while given != source.sent:
        assert time.monotonic() < until
        given = source.sent
        time.sleep(3)
    most = memory.growth()
    with connect(running.lab.hostA, 7000) as other:
        while time.monotonic() < until:
            assert echoed(other, b"x" * 10_000) == b"x" * 10_000
            time.sleep(0.5)
            for letter, growth in memory.growth().items():
                most[letter] = max(most[letter], growth)
    assert source.sent == given < sink.count + 64 * MB

    began, had = time.monotonic(), sink.count
    sink.resume()
    arrived(source, sink, 60)
    rate = (sink.count - had) / (time.monotonic() - began)
    found = {letter: round(growth / MB, 1) for letter, growth in most.items()}
    print(f"grown by {found} MB, then {rate / MB:.1f} MB/s")
    record_property("growth", found)
    assert max(most.values()) < _WINDOW + _SLACK
    assert max(memory.growth().values()) < _WINDOW + _SLACK


@pytest.mark.timeout(150)
def test_cableCut(product, record_property):
    """
    Nothing passes for a while, not even to the rendezvous: transfers in both
    directions stall, and go on in the same session when packets pass again.
    """
    running = product(
        a=["--forward=tcp:9000=b/sink", "--publish=sink=tcp:127.0.0.1:9001"],
        b=["--forward=tcp:9001=a/sink", "--publish=sink=tcp:127.0.0.1:9000"],
    )
    ways = []
    for giver, taker, port in (("hostA", "hostB", 9000), ("hostB", "hostA", 9001)):
        sink = Sink(running.lab.spaces[taker], port)
        sink.start()
        source = Source(running.lab.spaces[giver], port, 40 * MB, last=20 * MB)
        source.start()
        sink.whenHas(MB)
        ways.append((source, sink))
    for letter in "ab":
        running.whenPath("direct", letter)
    running.lab.routerA.dropAll()
    cut = time.monotonic()
    for source, _ in ways:
        source.finish()
    waitFor(lambda: [running.path(letter) for letter in "ab"] == [None, None], 20)
    waitFor(lambda: time.monotonic() > cut + 15, 16)
    assert [running.session(letter)["state"] for letter in "ab"] == ["recovering"] * 2
    running.lab.routerA.restore()
    restored = time.monotonic()
    had = [sink.count for _, sink in ways]
    for count, (_, sink) in zip(had, ways):
        sink.whenHas(count + MB, 20)
    took = time.monotonic() - restored
    for source, sink in ways:
        arrived(source, sink, 60)
    print(f"goes on {took:.1f} s after the cable is whole")
    record_property("seconds", took)

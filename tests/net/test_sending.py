"""
How datagrams leave: runs, and what becomes of them when the kernel refuses.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from punchd.core import Address, Datagram
from punchd.net import ancillary
from punchd.net.sending import SEGMENTED, SEGMENTS, Sender

A = ("192.0.2.1", 1000)
B = ("192.0.2.2", 2000)


class Socket:
    """
    A socket that keeps what is sent and raises what it is told to.
    """

    def __init__(self, known: bool = True) -> None:
        self.known = known
        #: (payload, segment size or None, remote)
        self.sent: list[tuple[bytes, int | None, Address]] = []
        self.buffers: list[int] = []
        self.runError: OSError | None = None
        self.error: OSError | None = None
        self.room = 1 << 30

    def getsockopt(self, level: int, option: int) -> int:
        if not self.known:
            raise OSError(errno.ENOPROTOOPT, "unknown")
        return 0

    def sendto(self, data: bytes, remote: Address) -> None:
        self._send([data], None, remote)

    def sendmsg(self, buffers: Any, control: Any, flags: int, remote: Address) -> None:
        segment = None
        for _, kind, value in control:
            if kind == ancillary.UDP_SEGMENT:
                (segment,) = struct.unpack("=H", value)
        if segment and self.runError:
            raise self.runError
        self._send(buffers, segment, remote)

    def _send(self, buffers: Any, segment: int | None, remote: Address) -> None:
        if self.error:
            raise self.error
        if not self.room:
            raise BlockingIOError
        self.room -= 1
        self.buffers.append(len(buffers))
        self.sent.append((b"".join(buffers), segment, remote))

    @property
    def datagrams(self) -> list[tuple[bytes, Address]]:
        """
        What was sent, as the network sees it.
        """
        seen = []
        for data, segment, remote in self.sent:
            step = segment or max(len(data), 1)
            seen += [
                (data[start : start + step], remote)
                for start in range(0, max(len(data), 1), step)
            ]
        return seen


def make(sock: Any = None, **more: Any) -> tuple[Any, Sender, Counter[str]]:
    """
    @return: a fake socket, a sender over it, and its counters.
    """
    sock = Socket() if sock is None else sock
    counters: Counter[str] = Counter()
    return sock, Sender(sock, 4, counters, **more), counters


@given(
    st.lists(
        st.builds(
            Datagram,
            st.sampled_from([0, 1, 100, 1000, 1200, 1200, 1200, 9000]).map(bytes),
            st.sampled_from([None, None, None, ("192.0.2.9", 5)]),
            st.sampled_from([A, A, A, B]),
            st.sampled_from([None, None, None, 3]),
        ),
        max_size=200,
    )
)
def test_runs(datagrams: list[Datagram]) -> None:
    """
    Whatever is sent, the network sees the same datagrams in the same order, and
    no run is more than the kernel takes.
    """
    for number, datagram in enumerate(datagrams):
        if len(datagram.data) >= 4:
            datagram.data = number.to_bytes(4, "big") + datagram.data[4:]
    sock, sender, counters = make()
    assert sender.transmit(datagrams) == len(datagrams)
    assert sock.datagrams == [(d.data, d.remote) for d in datagrams]
    assert all(count <= SEGMENTS for count in sock.buffers)
    assert all(
        len(data) <= SEGMENTED for data, segment, _ in sock.sent if segment is not None
    )
    assert counters == {}


def test_oneCallForARun() -> None:
    """
    Sixty-four datagrams of one size and a shorter one leave in two calls; a
    longer one, another destination, source or hop limit begins a new run.
    """
    sock, sender, _ = make()
    sender.transmit([Datagram(bytes(900), None, A)] * 64 + [Datagram(b"x", None, A)])
    assert sock.buffers == [64, 1]
    sock.buffers.clear()
    sender.transmit(
        [
            *[Datagram(b"xx", None, A)] * 2,
            *[Datagram(b"xxx", None, A)] * 2,
            *[Datagram(b"xxx", None, B)] * 2,
            *[Datagram(b"xxx", ("192.0.2.9", 1), B)] * 2,
            *[Datagram(b"xxx", ("192.0.2.9", 1), B, 9)] * 2,
            Datagram(b"x", ("192.0.2.9", 1), B, 9),
            Datagram(b"x", ("192.0.2.9", 1), B, 9),
        ]
    )
    assert sock.buffers == [2, 2, 2, 2, 3, 1]


@pytest.mark.parametrize("known", [True, False])
def test_without(known: bool) -> None:
    """
    Without the offload, by wish or by kernel, each datagram leaves alone.
    """
    sock, sender, _ = make(Socket(known), offload=not known)
    assert not sender.segmenting
    sender.transmit([Datagram(b"x", None, A)] * 5)
    assert sock.buffers == [1] * 5


RUN = [Datagram(bytes([n]) * 1200, None, A) for n in range(10)]


@pytest.mark.parametrize("number", [errno.EIO, errno.EINVAL])
def test_refusedRun(number: int) -> None:
    """
    A kernel that cannot do it after all is asked once; everything leaves, in
    order.
    """
    sock, sender, counters = make()
    sock.runError = OSError(number, "no")
    assert sender.transmit(RUN) == 10
    assert sock.datagrams == [(d.data, A) for d in RUN]
    assert not sender.segmenting
    assert counters == {"segmenting " + errno.errorcode[number]: 1}
    sock.runError = None
    sender.transmit(RUN)
    assert sock.buffers == [1] * 20


def test_refusedForItsSize() -> None:
    """
    A run whose segments may be too big for the path does not switch runs off
    for smaller ones.
    """
    sock, sender, _ = make()
    sock.runError = OSError(errno.EINVAL, "no")
    sender.transmit([Datagram(bytes(1400), None, A)] * 3)
    sock.runError = None
    sock.buffers.clear()
    sender.transmit([Datagram(bytes(1400), None, A)] * 3)
    sender.transmit(RUN)
    assert sock.buffers == [1, 1, 1, 10]


def test_refusedForAnotherReason() -> None:
    """
    A run that fails as each of its datagrams would fail says nothing about
    runs; one that the network refuses is counted whole.
    """
    sock, sender, counters = make()
    sock.runError = sock.error = OSError(errno.EINVAL, "no such source")
    assert sender.transmit(RUN) == 10
    assert sender.segmenting
    assert counters == {"send EINVAL": 10}
    sock.runError = OSError(errno.ENETUNREACH, "unreachable")
    assert sender.transmit(RUN) == 10
    assert counters["send ENETUNREACH"] == 10
    assert sender.segmenting


def test_refusedAndFull() -> None:
    """
    A run is refused and then there is no room: nothing is lost, and the kernel
    is not blamed.
    """
    sock, sender, counters = make()
    sock.runError = OSError(errno.EIO, "no")
    sock.room = 0
    assert sender.transmit(RUN) == 0
    assert counters == {}
    sock.room = 4
    assert sender.transmit(RUN) == 4


def test_full() -> None:
    """
    What has no room is told, between runs and between single datagrams.
    """
    sock, sender, _ = make()
    sock.room = 1
    assert sender.transmit([*RUN, Datagram(b"x", None, B)]) == 10
    sock.room = 2
    assert sender.transmit([Datagram(b"x", None, r) for r in (A, B, A)]) == 2
    assert sender.sendOne(RUN[0]) == 0


def test_icmpErrors() -> None:
    """
    What the network says about a datagram is counted by its name.
    """
    sock, sender, counters = make()
    sock.error = ConnectionRefusedError(errno.ECONNREFUSED, "refused")
    assert sender.transmit([Datagram(b"x", None, A), Datagram(b"x", None, B)]) == 2
    assert counters == {"send ECONNREFUSED": 2}


@pytest.mark.parametrize(
    ("local", "remote"),
    [
        (None, ("localhost", 9)),
        (None, ("2001:db8::1", 9)),
        (None, ("192.0.2.1\0", 9)),
        (None, ("192.0.2.1", 0)),
        (None, ("192.0.2.1", 65536)),
        (("::1", 5), A),
    ],
)
def test_badAddress(local: Any, remote: Any) -> None:
    """
    An address that is none of this family is counted, and looked up nowhere.
    """
    sock, sender, counters = make()
    bad = Datagram(b"x", local, remote)
    assert sender.transmit([bad, bad, Datagram(b"y", None, A)]) == 3
    assert counters == {"send bad address": 2}
    assert sock.datagrams == [(b"y", A)]


def test_boundedMemory(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Many destinations do not grow what is remembered.
    """
    monkeypatch.setattr("punchd.net.sending._CACHED", 10)
    sock, sender, _ = make()
    for n in range(100):
        sender.sendOne(Datagram(b"x", (f"192.0.2.{n + 1}", 1), (f"10.0.0.{n}", 7)))
    assert len(sock.sent) == 100
    assert len(sender._remotes) <= 10
    assert len(sender._controls) <= 10


def test_sourceControl() -> None:
    """
    The source is named as the kernel reads it, in both families.
    """
    level, kind, value = ancillary.sourceControl(6, "2001:db8::1")[0]
    assert (level, kind) == ancillary.packetInformation(6)
    assert ancillary.destination(6, value) == "2001:db8::1"
    with pytest.raises(OSError, match="illegal IP"):
        ancillary.sourceControl(4, "2001:db8::1")


def test_systemWithout(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Where the system has neither offloads nor packet information for IPv4,
    nothing is asked for.
    """
    monkeypatch.setattr(ancillary, "LINUX", False)
    monkeypatch.setattr(ancillary, "IP_PKTINFO", None)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        assert not ancillary.canSegment(sock)
        assert not ancillary.coalesce(sock)
        assert not ancillary.askForDestination(sock, 4)
        before = sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        ancillary.enlarge(sock, 100_000, 100_000)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) != before
    assert ancillary.sourceControl(4, "192.0.2.1") == []
    assert ancillary.hopLimitControl(4, 9) == []

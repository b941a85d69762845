"""
Datagrams that go or came the same way, as a whole.
"""

from __future__ import annotations

import pytest_twisted
from hypothesis import given
from hypothesis import strategies as st
from zope.interface import implementer
from zope.interface.verify import verifyClass, verifyObject

from punchd.core import Address, Burst, Datagram
from punchd.interfaces import IRunReceiver
from punchd.net.demux import Demux, isSession
from punchd.net.sending import SEGMENTED, SEGMENTS
from punchd.net.udp import Run, flattened
from tests.net.sockets import BatchInbox, Inbox, Opener, linux, loopback
from tests.net.test_demux import HERE, OTHER, PEER, QUIC, check
from tests.net.test_sending import make

THERE: Address = ("192.0.2.2", 2)


@implementer(IRunReceiver)
class RunInbox(BatchInbox):
    """
    I keep what comes, and the runs that it came in.
    """

    def __init__(self) -> None:
        super().__init__()
        self.runs: list[Run] = []

    def runsReceived(self, runs: list[Run]) -> None:
        self.runs += runs
        self.received += flattened(runs)
        self._settle()


def test_interfaces() -> None:
    """
    The inbox is what a receiver of runs has to be, and so is the demultiplexer.
    """
    assert verifyClass(IRunReceiver, RunInbox)
    assert verifyObject(IRunReceiver, Demux())


def test_burst() -> None:
    """
    A burst is a sequence of datagrams.
    """
    burst = Burst([b"a", b"b", b"c"], HERE, THERE)
    each = [Datagram(data, HERE, THERE) for data in (b"a", b"b", b"c")]
    assert list(burst) == each
    assert (len(burst), burst[1], burst[-1]) == (3, each[1], each[2])
    assert isinstance(burst[1:], Burst)
    assert list(burst[1:]) == each[1:]
    assert each[0] in burst
    assert not Burst([], None, THERE)


@given(
    st.lists(
        st.sampled_from([0, 1, 100, 1000, 1200, 1200, 1200, 9000, 60000]),
        max_size=200,
    ),
    st.booleans(),
)
def test_sendBurst(sizes: list[int], offload: bool) -> None:
    """
    A burst leaves as the datagrams do that it stands for, in runs that the
    kernel takes.
    """
    payloads = [bytes([n % 256]) * size for n, size in enumerate(sizes)]
    sock, sender, counters = make(offload=offload)
    assert sender.transmit(Burst(payloads, None, THERE)) == len(payloads)
    assert sock.datagrams == [(data, THERE) for data in payloads]
    assert all(count <= (SEGMENTS if offload else 1) for count in sock.buffers)
    assert all(len(d) <= SEGMENTED for d, segment, _ in sock.sent if segment)
    assert counters == {}


def test_burstInFewCalls() -> None:
    """
    A burst of full datagrams leaves with as few calls as there can be; without
    room for a run, the rest is left.
    """
    sock, sender, _ = make()
    sender.transmit(Burst([bytes(1200)] * 110 + [b"end"], None, THERE))
    assert sock.buffers == [54, 54, 3]
    sock.room = 1
    assert sender.transmit(Burst([bytes(1200)] * 60, None, THERE)) == 54


def test_runThroughDemux() -> None:
    """
    Runs stay whole on their way to who takes runs; only one with a check among
    the session's data is taken apart.
    """
    demux = Demux()
    runs, batched, single = RunInbox(), BatchInbox(), Inbox()
    for remote, inbox in ((PEER, runs), (OTHER, batched), (THERE, single)):
        demux.register(remote, inbox)
    demux.registerUfrag("ours", batched)
    pair = [QUIC + b"1", QUIC + b"2"]
    demux.runsReceived(
        [(pair, HERE, PEER), (pair, HERE, OTHER), (pair, HERE, THERE)],
    )
    assert runs.runs == [(pair, HERE, PEER)]
    assert (batched.batches, single.data) == ([2], pair)
    demux.runsReceived([([QUIC, check(), b""], HERE, PEER)])
    assert runs.data[2:] == [QUIC, b""]
    assert batched.data[2:] == [check()]


def test_isSession() -> None:
    """
    Whatever begins as STUN does makes a run suspicious, and so does nothing.
    """
    assert isSession([QUIC, b"\xc0", b"\x40"])
    assert not isSession([QUIC, b"\x3f" + QUIC])
    assert not isSession([QUIC, b""])


@linux
@pytest_twisted.ensureDeferred
async def test_runFromThePort(open_: Opener) -> None:
    """
    What the port reads at a time from one source is one run.
    """
    inbox = RunInbox()
    a, b = open_(Inbox()), open_(inbox)
    payloads = [bytes([n]) * 1000 for n in range(50)]
    a.sendMany(Burst(payloads, None, loopback(b)))
    await inbox.whenReceived(50)
    assert inbox.runs == [(payloads, loopback(b), loopback(a))]
    assert inbox.batches == []

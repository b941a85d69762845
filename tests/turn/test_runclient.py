"""
Tests for L{punchd.turn.runclient}: runs do what their datagrams would do.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from punchd.core import Address, Burst
from punchd.turn.channeldata import channelData
from punchd.turn.client import Client, RelayedDatagram, State
from punchd.turn.runclient import RelayedRun, RunClient
from tests.turn.link import LISTEN, PEER, entropy

HERE: Address = ("", 0)
OTHER: Address = ("192.0.2.78", 5001)
CHANNELS = {0x4000: PEER, 0x4001: OTHER}


def bound(kind: type[Client]) -> Client:
    """
    @return: a client that is allocated, with a channel to each of two peers.
    """
    client = kind(LISTEN, entropy=entropy())
    client._state = State.ALLOCATED
    client._expires = 600.0
    client._peers.allocated(0.0)
    for number, peer in CHANNELS.items():
        client._peers.bind(peer, 0.0)
        client._peers.bind(peer, 0.0)
        channel = client._peers._channels[peer]
        assert channel.number == number
        channel.boundUntil = 500.0
    client.takeDatagrams()
    return client


def told(client: Client) -> list[tuple[bytes, Address]]:
    """
    @return: what came through the relay.
    """
    found: list[tuple[bytes, Address]] = []
    for event in client.takeEvents():
        if isinstance(event, RelayedRun):
            found += [(data, event.peer) for data in event.payloads]
        else:
            assert isinstance(event, RelayedDatagram)
            found.append((event.data, event.peer))
    return found


FRAMES = st.one_of(
    st.builds(channelData, st.sampled_from([0x4000, 0x4001]), st.binary(max_size=3)),
    st.builds(channelData, st.just(0x4002), st.binary(max_size=3)),
    # Cut short, and with more behind it than it says.
    st.just(channelData(0x4000, b"abcd")[:-1]),
    st.just(channelData(0x4001, b"abcd") + b"padding"),
    st.binary(max_size=8),
)


@given(
    st.lists(st.tuples(st.lists(FRAMES, min_size=1), st.sampled_from([LISTEN, PEER])))
)
def test_received(runs: list[tuple[list[bytes], Address]]) -> None:
    """
    Whatever comes in runs is told, or counted, as if it had come one by one.
    """
    one, many = bound(Client), bound(RunClient)
    assert isinstance(many, RunClient)
    for payloads, remote in runs:
        for data in payloads:
            one.datagramReceived(data, HERE, remote, 1.0)
    many.runsReceived([(list(some), HERE, remote) for some, remote in runs], 1.0)
    assert told(many) == told(one)
    assert many.counters == one.counters


@given(
    st.lists(
        st.tuples(
            st.lists(st.binary(max_size=3), min_size=1, max_size=5),
            st.sampled_from([PEER, OTHER, ("192.0.2.79", 1), ("2001:db8::1", 1)]),
            st.booleans(),
        )
    )
)
def test_sent(runs: list[tuple[list[bytes], Address, bool]]) -> None:
    """
    What is sent in runs, to peers with and without a channel and mixed with single
    datagrams, leaves as if it had been sent one by one.
    """
    one, many = bound(Client), bound(RunClient)
    assert isinstance(many, RunClient)
    for payloads, peer, together in runs:
        for data in payloads:
            one.send(data, peer, 1.0)
        if together:
            many.sendRun(payloads, peer, 1.0)
        else:
            for data in payloads:
                many.send(data, peer, 1.0)
    assert list(many.takeDatagrams()) == list(one.takeDatagrams())
    assert many.counters == one.counters


def test_together() -> None:
    """
    A run in a channel comes out whole, both ways.
    """
    client = bound(RunClient)
    assert isinstance(client, RunClient)
    payloads = [b"a" * 1200] * 3 + [b"b"]
    client.sendRun(payloads, PEER, 1.0)
    client.sendRun(payloads, PEER, 1.0)
    sent = client.takeDatagrams()
    assert isinstance(sent, Burst)
    assert sent.remote == LISTEN
    assert sent.payloads == [channelData(0x4000, each) for each in payloads] * 2
    client.runsReceived([(sent.payloads, HERE, LISTEN)], 1.0)
    assert client.takeEvents() == [RelayedRun(payloads * 2, PEER)]


def test_nothing() -> None:
    """
    Without an allocation a run is dropped, and counted.
    """
    client = RunClient(LISTEN, entropy=entropy())
    client.sendRun([b"a", b"b"], PEER, 1.0)
    client.runsReceived([([channelData(0x4000, b"a")], HERE, LISTEN)], 1.0)
    assert not client.takeDatagrams()
    assert not client.takeEvents()
    assert client.counters == {"not allocated": 2, "stray data": 1}

"""
The whole product where UDP does not get from one host to the other, but TCP does.
"""

from __future__ import annotations

import random
import time

import pytest

from punchd.testing.lab import Lab, waitFor
from tests.lab.tools import connect, echoed, tool
from tests.lab.transfers import MB, Sink, Source, arrived

#: They mostly wait, but on a busy machine for long.
pytestmark = pytest.mark.timeout(120)

_PORT, _FORWARD = 7, 7000


def dropUDP(lab: Lab) -> None:
    """
    Let no UDP through between the hosts; the rendezvous is reached by all means.
    """
    lab.routerA.drop(
        *(
            f"meta l4proto udp {'ip6' if ':' in host else 'ip'} {way} {host}"
            for host in lab.routerA.peers
            for way in ("saddr", "daddr")
        )
    )


@pytest.mark.parametrize(
    ("kind", "other"),
    [
        ("portrestricted", "portrestricted"),
        ("udpblocked", "portrestricted"),
        ("ipv6", "ipv6"),
        ("ipv6udpblocked", "ipv6udpblocked"),
        ("sequential", "portrestricted"),
    ],
)
def test_tcp(product, kind, other):
    """
    The path becomes direct over TCP.
    """
    running = product(
        kind,
        other,
        a=[f"--forward=tcp:{_FORWARD}=b/echo"],
        b=[f"--publish=echo=tcp:127.0.0.1:{_PORT}"],
        prepare=dropUDP,
    )
    tool(running.lab.hostB, "echo", _PORT)
    sock = connect(running.lab.hostA, _FORWARD)
    early = random.randbytes(1000)
    assert echoed(sock, early) == early

    def paths():
        return [running.session(letter)["path"] for letter in "ab"]

    waitFor(lambda: all(p["kind"] == "direct" for p in paths()), 60, "direct")
    for path in paths():
        assert (path["transport"], path["strategy"]) == ("tcp", "tcp")
        assert path["remote"].startswith("[") == kind.startswith("ipv6")
    lab = running.lab
    for router in (lab.routerA, lab.routerB):
        router.resetCounters()
    plenty = random.randbytes(1 << 20)
    assert echoed(sock, plenty) == plenty
    for router, host in ((lab.routerA, lab.hostB), (lab.routerB, lab.hostA)):
        crossed = [router.sentTo(p, protocol="tcp", unit="bytes") for p in host.public]
        assert sum(crossed) > len(plenty)
    print(kind, other, [running.session(letter)["secondsToDirect"] for letter in "ab"])


def _transfer(product, kind, size, **options):
    """
    @return: a product on a direct path over TCP, and both ends of a transfer.
    """
    running = product(
        kind,
        kind,
        a=["--forward=tcp:9000=b/sink"],
        b=["--publish=sink=tcp:127.0.0.1:9000"],
        prepare=dropUDP,
    )
    sink = Sink(running.lab.hostB, 9000)
    sink.start()
    source = Source(running.lab.hostA, 9000, size, **options)
    source.start()
    for letter in "ab":
        running.whenPath("direct", letter, 60)
        assert running.session(letter)["path"]["transport"] == "tcp"
    return running, source, sink


def test_transfer(product):
    """
    20 MB arrive as they were sent, and the TCP connection through both NATs carries
    them; on a busy machine perhaps not to the end, as the relay may look better then.
    """
    running, source, sink = _transfer(product, "udpblocked", 40 * MB, last=20 * MB)
    sink.whenHas(20 * MB)
    began = time.monotonic()
    source.finish()
    arrived(source, sink, 60)
    assert sink.count == source.sent >= 20 * MB
    print(f"{20 / (time.monotonic() - began):.1f} MB/s")
    lab = running.lab
    crossed = [
        lab.routerA.sentTo(each, protocol="tcp", unit="bytes")
        for each in lab.hostB.public
    ]
    print(f"{sum(crossed) / MB:.0f} MB directly")
    assert sum(crossed) > MB


def test_cut(product):
    """
    When nothing comes through any more, the transfer goes on over the relay.
    """
    running, source, sink = _transfer(
        product, "portrestricted", 20 * MB, rate=4 * MB, last=10 * MB
    )
    sink.whenHas(6 * MB)
    running.lab.routerA.dropDirect()
    for letter in "ab":
        running.whenPath("relayed", letter)
    source.finish()
    arrived(source, sink, 60)
    assert sink.count == source.sent >= 6 * MB
    assert [running.path(letter) for letter in "ab"] == ["relayed", "relayed"]
    print(f"the longest stall was {sink.stall:.1f} s")


def test_random(product):
    """
    Where neither NAT's ports can be told, that is the verdict, and the relay stays.
    """
    running = product(
        "symmetric",
        "symmetric",
        a=[f"--forward=tcp:{_FORWARD}=b/echo"],
        b=[f"--publish=echo=tcp:127.0.0.1:{_PORT}"],
        prepare=dropUDP,
    )
    tool(running.lab.hostB, "echo", _PORT)
    sock = connect(running.lab.hostA, _FORWARD)
    assert echoed(sock, b"early") == b"early"

    def verdicts():
        both = [running.session(letter)["verdicts"] for letter in "ab"]
        return [{each["strategy"]: each for each in found} for found in both]

    waitFor(lambda: all("traversal" in found for found in verdicts()), 60, "verdicts")
    for found in verdicts():
        tcp = found["tcp"]
        assert (tcp["outcome"], tcp["reason"]) == ("failed", "out-of-reach")
        assert tcp["evidence"]["ourTcpMapping"] == {"4": "random"}
        assert tcp["evidence"]["theirTcpMapping"] == {"4": "random"}
        assert found["traversal"]["reason"] == "out-of-reach"
    assert [running.path(letter) for letter in "ab"] == ["relayed", "relayed"]

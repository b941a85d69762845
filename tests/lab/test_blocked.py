"""
The whole product for hosts that UDP does not reach: they are connected over the
relay, by TCP, by TLS or through a real proxy, from the URL that the rendezvous has
printed.
"""

from __future__ import annotations

import re
import time

import pytest

from punchd.testing.lab import waitFor
from punchd.testing.lab.proxy import startProxy
from tests.lab.tools import connect, echoed, result, tool

#: They mostly wait, but on a busy machine for long.
pytestmark = pytest.mark.timeout(120)

_FORWARD, _BULK = 7000, 7001

#: Two seconds is the aim on an idle machine; a busy one has a bit more.
_SECONDS = 2.0 * 2

_MB = 1_000_000

_TRANSPORTS = {"udpblocked": "tcp", "tcp443": "tls", "proxyonly": "tls"}


def _proxies(folder, kinds, credentials):
    """
    @return: what starts the proxies that hosts of these kinds need.
    """

    def prepare(lab):
        for host, router, kind in zip((lab.hostA, lab.hostB), "AB", kinds):
            if kind == "proxyonly":
                space = lab.routers[f"router{router}"]
                url = startProxy(space, folder, credentials=credentials)
                if credentials is None:
                    host.environment["https_proxy"] = url

    return prepare


def _relayedBy(running, letter):
    """
    @return: the ways by which a client got relayed addresses, as its log has it.
    """
    log = running.log(letter).read_text()
    return re.findall(r"Relayed address \S+, (\w+) to ", log)


@pytest.mark.parametrize("both", [False, True], ids=["one", "both"])
@pytest.mark.parametrize("kind", list(_TRANSPORTS))
def test_blocked(product, tmp_path, record_property, kind, both):
    """
    The first byte is back soon, and 20 MB arrive as they were.
    """
    kinds = kind, kind if both else "portrestricted"
    # One proxy is known from the environment, two that want a password by options.
    credentials = ("me", "sesame") if both else None
    proxies = ["", ""]
    if kind == "proxyonly" and both:
        proxies = [f"--proxy=http://me:sesame@192.168.{n}.1:3128" for n in (1, 2)]
    running = product(
        *kinds,
        a=[
            f"--forward=tcp:{_FORWARD}=b/echo",
            f"--forward=tcp:{_BULK}=b/recv",
            *filter(None, proxies[:1]),
        ],
        b=[
            "--publish=echo=tcp:127.0.0.1:7",
            "--publish=recv=tcp:127.0.0.1:8",
            *filter(None, proxies[1:]),
        ],
        prepare=_proxies(tmp_path, kinds, credentials),
    )
    lab = running.lab
    tool(lab.hostB, "echo", 7)
    tool(lab.hostB, "recv", 8)
    began = time.monotonic()
    sock = connect(lab.hostA, _FORWARD)
    assert echoed(sock, b"x") == b"x"
    first = time.monotonic() - began
    # The first byte may have come over the rendezvous: that is no path yet.
    waitFor(lambda: running.path("a") and running.path("b"), 30, "a path")
    seconds = time.monotonic() - began
    print(f"{' and '.join(kinds)}: byte after {first:.2f} s, path after {seconds:.2f}")
    record_property("seconds", seconds)
    assert seconds < _SECONDS
    if kind != "udpblocked":
        # Nothing but the relay is left to these, for as long as they live.
        for letter, each in zip("ab", kinds):
            running.whenPath("relayed", letter)
            path = running.session(letter)["path"]
            assert path["transport"] == _TRANSPORTS.get(each, "udp")
            assert path["strategy"] == "relay"
    waitFor(lambda: _relayedBy(running, "a"), 30, "a relayed address")
    # On a busy machine TLS may overtake TCP, where both get through.
    possible = {"TCP", "TLS"} if kind == "udpblocked" else {"TLS"}
    assert set(_relayedBy(running, "a")) <= possible
    sent = result(tool(lab.hostA, "send", _BULK, 20 * _MB), 100)
    assert sent["received"] == sent["sent"]
    rate = 20 / sent["seconds"]
    print(f"20 MB at {rate:.1f} MB/s")
    record_property("rate", rate)
    assert "sesame" not in "".join(running.log(x).read_text() for x in "ab")
    if kind == "proxyonly" and not both:
        # As the user would find out.
        done = running.punchd("a", "doctor", "--no-portmap")
        assert done.returncode == 0
        assert "is reached through the proxy at 192.168.1.1:3128." in done.stdout

"""
The real miniupnpd on a router: what the clients behind it make of it.
"""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from punchd.testing.lab import waitFor
from punchd.testing.lab.namespaces import LabError, program
from punchd.testing.lab.product import Product
from tests.lab.tools import connect, echoed, tool

_PORT, _FORWARD = 7, 7000

#: miniupnpd refuses to serve addresses that are reserved, as the lab's
#: documentation networks are: its router gets one more.
_OUTSIDE = "25.0.0.10"

_CONFIGURATION = """
ext_ifname=wan
ext_ifname6=wan
listening_ip=lan
ext_ip={outside}
enable_natpmp=yes
enable_upnp=yes
secure_mode=yes
lease_file={folder}/leases
lease_file6={folder}/leases6
min_lifetime=2
max_lifetime=86400
upnp_table_name=miniupnpd
upnp_nat_table_name=miniupnpd
upnp_forward_chain=forward
upnp_nat_chain=prerouting
upnp_nat_postrouting_chain=postrouting
uuid=00000000-0000-0000-0000-000000000000
allow 1024-65535 0.0.0.0/0 1024-65535
deny 0-65535 0.0.0.0/0 0-65535
"""

# Its own chains only: it cannot delete pinholes from a chain with other rules.
_TABLE = """
table inet miniupnpd {
  chain forward { type filter hook forward priority -5; }
  chain prerouting { type nat hook prerouting priority dstnat; }
  chain postrouting { type nat hook postrouting priority srcnat; }
}
table inet services {
  chain input { type filter hook input priority -10; }
}
"""

#: What the requests of each protocol look like: version 2 is PCP, 0 is NAT-PMP.
_REQUESTS = {
    "pcp": "udp dport 5351 @th,64,8 2",
    "natpmp": "udp dport 5351 @th,64,8 0",
    "upnp": "udp dport 1900",
}


class Daemon:
    """
    I am miniupnpd on router A of a lab.
    """

    def __init__(self, lab: Any, folder: Path, services: Sequence[str]) -> None:
        """
        @param services: the protocols that it speaks.
        """
        self.router = lab.routerA
        self.log = folder / "miniupnpd.log"
        self._leases = folder / "leases"
        ip = program("ip")
        outside = f"{_OUTSIDE}/32"
        self.router.run([ip, "address", "add", outside, "dev", "wan"], check=True)
        route = ["route", "add", outside, "via", self.router.public[0]]
        lab.public.run([ip, *route], check=True)
        self.router.nft(_TABLE)
        self.serve(*services)
        configuration = folder / "miniupnpd.conf"
        configuration.write_text(_CONFIGURATION.format(folder=folder, outside=_OUTSIDE))
        command = [program("miniupnpd"), "-d", "-f", str(configuration)]
        self.router.popen([*command, "-P", str(folder / "pid")], log=self.log)
        waitFor(
            lambda: "Listening for NAT-PMP" in self.log.read_text(), 30, "miniupnpd"
        )

    def serve(self, *services: str) -> None:
        """
        Speak these protocols only: requests of others are dropped.
        """
        drops = [match for name, match in _REQUESTS.items() if name not in services]
        rules = [f"add rule inet services input {match} drop" for match in drops]
        self.router.nft("\n".join(["flush chain inet services input", *rules]))

    def ports(self) -> list[str]:
        """
        What the ports that it has opened lead to, as the kernel has them.
        """
        table = [program("nft"), "list", "table", "inet", "miniupnpd"]
        done = self.router.run(table, capture_output=True, check=True)
        return re.findall(r"dnat ip to (\S+)", done.stdout)

    def filters(self) -> list[str]:
        """
        The rules by which packets are let in.
        """
        chain = [program("nft"), "list", "chain", "inet", "miniupnpd", "forward"]
        done = self.router.run(chain, capture_output=True, check=True)
        return re.findall(r"th dport .* accept", done.stdout)

    def leases(self) -> str:
        """
        What it has written into its lease file.
        """
        return self._leases.read_text() if self._leases.exists() else ""


@pytest.fixture
def mapping(
    product: Callable[..., Product], makeLab: Any, tmp_path: Path
) -> Callable[..., tuple[Product, Daemon]]:
    """
    C{mapping(kindA, kindB, **options)} runs the product with miniupnpd on router A,
    and waits until A has its port.
    """
    try:
        program("miniupnpd")
    except LabError as e:
        pytest.skip(str(e))

    def make(
        kindA: str,
        kindB: str,
        *,
        services: Sequence[str] = tuple(_REQUESTS),
        prepare: Callable[[Any], None] = lambda lab: None,
        wait: bool = True,
        **options: Any,
    ) -> tuple[Product, Daemon]:
        daemons: list[Daemon] = []

        def start(lab: Any) -> None:
            prepare(lab)
            daemons.append(Daemon(lab, tmp_path, services))

        running = product(kindA, kindB, prepare=start, **options)
        if wait:
            waitFor(lambda: mapped(running, "a"), 30, "a mapped port")
        return running, daemons[0]

    return make


def services(running: Product, letter: str) -> dict[str, dict[str, Any]]:
    """
    What became of each protocol, by name.
    """
    told = running.status(letter)["nat"]["portMapping"]
    return {each["service"]: each for each in told if each["family"] == 4}


def states(running: Product, letter: str) -> set[str]:
    """
    What has become of the protocols.
    """
    return {each["state"] for each in services(running, letter).values()}


def mapped(running: Product, letter: str) -> Any:
    """
    The address that a router has opened to a client, or None.
    """
    for each in services(running, letter).values():
        if each["state"] == "mapped":
            return list(each["address"])
    return None


def _forwarding(dialler: str) -> dict[str, tuple[str, ...]]:
    listener = "b" if dialler == "a" else "a"
    return {
        dialler: (f"--forward=tcp:{_FORWARD}={listener}/echo",),
        listener: (f"--publish=echo=tcp:127.0.0.1:{_PORT}",),
    }


def _dial(running: Product, dialler: str) -> Any:
    lab = running.lab
    near, far = (lab.hostA, lab.hostB) if dialler == "a" else (lab.hostB, lab.hostA)
    tool(far, "echo", _PORT)
    sock = connect(near, _FORWARD)
    assert echoed(sock, b"x") == b"x"
    return sock


@pytest.mark.parametrize("dialler", ["a", "b"])
@pytest.mark.parametrize("kind", ["portrestricted", "symmetric"])
def test_direct(mapping: Any, kind: str, dialler: str) -> None:
    """A port that one router opens makes direct what could only be relayed."""
    running, daemon = mapping("symmetric", kind, **_forwarding(dialler))
    host, port = address = mapped(running, "a")
    assert host == _OUTSIDE
    assert services(running, "a")["pcp"]["state"] == "mapped"
    sock = _dial(running, dialler)
    for letter in "ab":
        running.whenPath("direct", letter)
    paths = [running.session(letter)["path"] for letter in "ab"]
    assert [path["strategy"] for path in paths] == ["mapped", "mapped"]
    assert paths[1]["remote"] == f"{host}:{port}"
    for router in (running.lab.routerA, running.lab.routerB):
        router.resetCounters()
    plenty = bytes(1 << 20)
    assert echoed(sock, plenty) == plenty
    assert running.lab.routerB.sentTo(host, port, unit="bytes") > len(plenty)
    said = running.punchd("b", "why", "a").stdout
    assert "through a port that a router opened on request" in said
    # One port, by one protocol, although the router speaks three.
    assert daemon.ports() == [f"192.168.1.2:{port}"]
    assert address == mapped(running, "a")


@pytest.mark.parametrize("service", ["pcp", "natpmp", "upnp"])
def test_lease(mapping: Any, service: str) -> None:
    """
    Any protocol will do; the port is open for two hours, and closed as the client
    ends.
    """
    running, daemon = mapping("symmetric", "symmetric", services=(service,))
    found = services(running, "a")
    assert [name for name in found if found[name]["state"] == "mapped"] == [service]
    _, port = mapped(running, "a")
    inside = f"192.168.1.2:{port}"
    assert daemon.ports() == [inside]
    (lease,) = daemon.leases().splitlines()
    assert lease.startswith(f"UDP:{port}:{inside}:")
    assert 7100 < int(lease.split(":")[4]) - time.time() < 7300
    began = time.monotonic()
    running.end("a")
    # A stop does not wait for a router that says nothing.
    assert time.monotonic() - began < 10
    waitFor(lambda: daemon.ports() == [], 30, "no mapped port")
    assert daemon.leases() == ""


def test_late(mapping: Any) -> None:
    """
    Nobody waits for a router that does not answer; the port that it opens in the
    end makes direct what was relayed until then.
    """
    running, daemon = mapping(
        "symmetric", "symmetric", services=(), wait=False, **_forwarding("a")
    )
    sock = _dial(running, "a")
    states = {name: each["state"] for name, each in services(running, "a").items()}
    assert states["pcp"] == states["natpmp"] == "asking"
    running.whenPath("relayed", "a")
    daemon.serve("pcp")
    running.whenPath("direct", "a", 30)
    assert running.session("a")["path"]["strategy"] == "mapped"
    assert echoed(sock, b"still") == b"still"


def test_switchedOff(mapping: Any) -> None:
    """With --no-portmap nothing is asked."""
    running, daemon = mapping("symmetric", "symmetric", a=("--no-portmap",), wait=False)
    # B, whose router has no such service, asks in vain.
    waitFor(lambda: "failed" in states(running, "b"), 30, "the end of a search")
    assert services(running, "b")["upnp"]["reason"] == "no answer"
    assert running.status("a")["nat"]["portMapping"] == []
    assert daemon.ports() == []
    assert "request received" not in daemon.log.read_text()


@pytest.mark.parametrize("renewed", [False, True])
def test_pinhole(mapping: Any, renewed: bool) -> None:
    """
    PCP opens a firewall for IPv6, of a router known by its link-local address, and
    closes it.  What was renewed miniupnpd does not close on request: it ends by itself.
    """
    running, daemon = mapping("ipv6", "ipv6", prepare=_routeByLinkLocal)
    host = running.lab.hostA.addresses[1]

    def pinhole() -> dict[str, Any] | None:
        told = running.status("a")["nat"]["portMapping"]
        found = [each for each in told if each["family"] == 6]
        assert [each["service"] for each in found] == ["pcp"]
        assert found[0]["gateway"].startswith("fe80::")
        return found[0] if found[0]["state"] == "mapped" else None

    address = waitFor(pinhole, 30, "a pinhole")["address"]
    assert address[0] == host
    # The kernel names the address as such, or by its bytes in the header.
    names = host, f"0x{socket.inet_pton(socket.AF_INET6, host).hex()}"
    holes = [
        rule
        for rule in daemon.filters()
        if f"dport {address[1]} " in rule and any(name in rule for name in names)
    ]
    assert len(holes) == 1
    if renewed:
        ip = program("ip")
        address = ["address", "add", "192.168.1.77/24", "dev", "eth0"]
        running.lab.hostA.run([ip, *address], check=True)
        waitFor(lambda: "updating pinhole" in daemon.log.read_text(), 30, "renewal")
        waitFor(pinhole, 30, "a pinhole")
    running.end("a")
    waitFor(lambda: daemon.filters() == [], 30, "no pinhole")


def _routeByLinkLocal(lab: Any) -> None:
    """
    Have host A know its router as hosts do that heard its advertisement.
    """
    ip = program("ip")
    shown = lab.routerA.run(
        [ip, "-6", "address", "show", "dev", "lan"], capture_output=True, check=True
    )
    (gateway,) = re.findall(r"inet6 (fe80:\S+)/", shown.stdout)
    route = ["route", "replace", "default", "via", gateway, "dev", "eth0"]
    lab.hostA.run([ip, "-6", *route], check=True)

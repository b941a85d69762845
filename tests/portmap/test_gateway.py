"""
Reading the routes of Linux.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from punchd.portmap.gateway import Gateway, KernelGateways

_HEAD = (
    "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT"
)
_ZERO = "0" * 32


def _route(interface: str, gateway: bytes, metric: int, flags: str = "0003") -> str:
    number = int.from_bytes(gateway, sys.byteorder)
    words = [interface, "00000000", f"{number:08X}", flags, "0", "0", str(metric)]
    return "\t".join([*words, "00000000", "0", "0", "0"])


def _route6(interface: str, gateway: str, metric: int, flags: str = "00000003") -> str:
    words = [_ZERO, "00", _ZERO, "00", gateway, f"{metric:08x}", "00000001", "00000000"]
    return " ".join([*words, flags, f"    {interface}"])


def testIPv4(tmp_path: Path) -> None:
    """The default route of the least metric leads to the gateway."""
    routes = [
        _HEAD,
        _route("wlan0", bytes((10, 0, 0, 1)), 600),
        _route("eth0", bytes((192, 168, 1, 254)), 100),
        # Down; and one that needs no gateway.
        _route("eth1", bytes((192, 168, 9, 1)), 0, "0002"),
        _route("ppp0", bytes(4), 0, "0001"),
        "eth0\t0001A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0",
    ]
    (tmp_path / "route").write_text("\n".join(routes))
    found = KernelGateways(tmp_path).defaultGateway(4)
    assert found == Gateway("192.168.1.254", "eth0")


def testIPv6(tmp_path: Path) -> None:
    """Gateways of IPv6 are link-local, so the interface belongs to them."""
    gateway = "fe80" + "0" * 27 + "1"
    routes = [
        _route6("eth0", "fe80" + "0" * 27 + "2", 1024),
        _route6("wlan0", gateway, 256),
        _route6("lo", _ZERO, 1, "00200200"),
    ]
    (tmp_path / "ipv6_route").write_text("\n".join(routes))
    found = KernelGateways(tmp_path).defaultGateway(6)
    assert found == Gateway("fe80::1", "wlan0")


@pytest.mark.parametrize("text", ["", _HEAD, "\n\n", "a b c", "x " * 12])
def testNone(tmp_path: Path, text: str) -> None:
    """Without a default route, without the file, or with another form there is none."""
    gateways = KernelGateways(tmp_path)
    assert [gateways.defaultGateway(family) for family in (4, 6)] == [None, None]
    for name in ("route", "ipv6_route"):
        (tmp_path / name).write_text(text)
    assert [gateways.defaultGateway(family) for family in (4, 6)] == [None, None]

"""
The network of this machine.
"""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import ifaddr
import pytest
from twisted.internet.error import CannotListenError
from zope.interface.verify import verifyObject

from punchd.interfaces import IDatagramPort, INetwork
from punchd.net.kernel import NO_OFFLOAD, KernelNetwork
from tests.net.sockets import Inbox, ListReactor


def adapters(**hosts: list[Any]) -> list[Any]:
    """
    @return: what ifaddr tells of these interfaces.
    """
    return [
        SimpleNamespace(
            name=name.replace("_", "-"),
            ips=[SimpleNamespace(ip=ip) for ip in ips],
        )
        for name, ips in hosts.items()
    ]


def test_interface() -> None:
    """
    The kernel's network is one, and so are its ports.
    """
    network = KernelNetwork(ListReactor(), environ={})
    assert verifyObject(INetwork, network)
    port = network.listenDatagram(Inbox(), 4, "127.0.0.1", 0)
    assert verifyObject(IDatagramPort, port)
    with pytest.raises(CannotListenError):
        network.listenDatagram(Inbox(), *(4, *port.getHost()))
    port.close()


def test_environment() -> None:
    """
    The variable switches the offloads off.
    """
    network = KernelNetwork(ListReactor(), environ={NO_OFFLOAD: "1"})
    port: Any = network.listenDatagram(Inbox(), 4, "", 0)
    assert not port.coalescing
    assert not port.sender.segmenting
    port.close()


def test_localHosts(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Addresses that nobody else can reach are left out; those of interfaces that
    lead out of the machine come first, each once, in the system's order.
    """
    told = adapters(
        lo=["127.0.0.1", ("::1", 0, 0)],
        docker0=["172.17.0.1"],
        br_2a=["172.18.0.1"],
        wg0=["10.9.0.1"],
        veth12=["169.254.3.4", ("fe80::1", 0, 7), "10.200.0.1"],
        eth0=["192.168.1.5", ("2001:db8::5", 0, 0), ("fe80::2", 0, 2)],
        brewery=["10.1.1.1", "10.1.1.1", "0.0.0.0", "224.0.0.5"],
    )
    monkeypatch.setattr(ifaddr, "get_adapters", lambda: told)
    assert KernelNetwork(ListReactor()).localHosts() == [
        ("192.168.1.5", "eth0"),
        ("2001:db8::5", "eth0"),
        ("10.1.1.1", "brewery"),
        ("10.9.0.1", "wg0"),
        ("172.17.0.1", "docker0"),
        ("172.18.0.1", "br-2a"),
        ("10.200.0.1", "veth12"),
    ]


def test_wallClockAndEntropy(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The wall clock is the system's, and entropy comes by the byte.
    """
    network = KernelNetwork(ListReactor())
    monkeypatch.setattr(time, "time", lambda: 1234.5)
    assert network.wallClock() == 1234.5
    assert len(network.entropy(20)) == 20
    assert network.entropy(20) != network.entropy(20)

"""
Where the benchmark of the relay runs: server, load and peer, each in a network
namespace of its own, or all on loopback.

Between the server and each of the other two there is a veth pair with an MTU of 1500
and the offloads that the kernel gives it; there is no NAT and no filter.  The
addresses are from the documentation networks, which no deny list has.
"""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from punchd.testing.lab import Namespace, whyNot
from punchd.testing.lab.namespaces import Keeper, LabError, program
from punchd.testing.lab.topology import Plan


class Hosts:
    """
    I am the three hosts.

    @ivar server: the address of the server, and of its relayed addresses.
    @ivar peer: the address of the peer.
    @ivar loopback: whether all of them are this machine.
    """

    def __init__(self, spaces: Mapping[str, Namespace]) -> None:
        """
        @param spaces: C{server}, C{load} and C{peer}; empty for loopback.
        """
        self._spaces = spaces
        self.loopback = not spaces
        self.server = "127.0.0.1" if self.loopback else spaces["server"].address
        self.peer = "127.0.0.3" if self.loopback else spaces["peer"].address

    def start(
        self, name: str, command: Sequence[str], **options: Any
    ) -> subprocess.Popen[Any]:
        """
        As L{subprocess.Popen}, on a host.
        """
        if not self.loopback:
            return self._spaces[name].popen(command, **options)
        return subprocess.Popen(command, **options)

    def socket(self, name: str) -> socket.socket:
        """
        @return: a UDP socket of a host.
        """
        if not self.loopback:
            return self._spaces[name].socket()
        return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def environment(self, name: str) -> dict[str, str]:
        """
        @return: the environment of programs on a host.
        """
        return dict(os.environ if self.loopback else self._spaces[name].environment)


def makePlan() -> Plan:
    """
    @return: what to build.
    """
    plan = Plan()
    for name in ("server", "load", "peer"):
        plan.space(name)
    plan.link("server", "peer", "peer", "eth0")
    plan.link("server", "load", "load", "eth0")
    # The server has one address for all.
    plan.address("server", "peer", "203.0.113.10/24")
    plan.address("server", "load", "198.51.100.1/24")
    plan.address("peer", "eth0", "203.0.113.20/24")
    plan.address("load", "eth0", "198.51.100.10/24")
    plan.ip("load", "route add default via 198.51.100.1")
    return plan


@contextmanager
def hosts(loopback: bool) -> Iterator[Hosts]:
    """
    The three hosts; what was started on them is ended by who did it.
    """
    if loopback:
        yield Hosts({})
        return
    reason = whyNot(delayed=False)
    if reason is not None:
        raise SystemExit(f"The kernel lab does not run here: {reason}")
    plan = makePlan()
    keeper = Keeper()
    try:
        numbers = keeper.make(len(plan.spaces), {})
        spaces = {
            name: Namespace(keeper, number, name, plan.addresses[name])
            for name, number in zip(plan.spaces, numbers, strict=True)
        }
        links = [
            f"link add name {mine} netns {spaces[a].path} type veth"
            f" peer name {theirs} netns {spaces[b].path}"
            for a, mine, b, theirs in plan.links
        ]
        _configure(spaces["server"], links)
        for name, lines in plan.commands.items():
            _configure(spaces[name], lines)
        yield Hosts(spaces)
    finally:
        keeper.close()


def _configure(space: Namespace, lines: Sequence[str]) -> None:
    said = space.run(
        [program("ip"), "-batch", "-"], input="\n".join(lines), capture_output=True
    )
    if said.returncode:
        raise LabError(said.stderr.strip())

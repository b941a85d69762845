"""
A router of the lab: its nftables, its controls for tests and its counters.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .namespaces import LabError, Namespace, program

# Dropped after NAT on the way out and before it on the way in, so that the
# rules see what is on the wire.
_CONTROL = """
table inet control
delete table inet control
table inet control {
  set sent4 {
    type ipv4_addr . inet_proto . inet_service
    flags dynamic; size 131072; counter;
  }
  set sent6 {
    type ipv6_addr . inet_proto . inet_service
    flags dynamic; size 131072; counter;
  }
  chain dropped { }
  chain arriving {
    type filter hook prerouting priority -400;
    iifname "wan" jump dropped
  }
  chain leaving {
    type filter hook postrouting priority 310;
    oifname "wan" jump dropped
  }
  chain count {
    type filter hook postrouting priority 320;
    oifname != "wan" accept
    meta l4proto != { tcp, udp } accept
    update @sent4 { ip daddr . meta l4proto . th dport counter }
    update @sent6 { ip6 daddr . meta l4proto . th dport counter }
  }
}
"""

_BRIDGE = """
table bridge control {
  chain forward {
    type filter hook forward priority 0; policy drop;
  }
}
"""
_FOREIGN = Path(__file__).with_name("foreign.py")
#: Where other people's flows go: the public network itself, which drops them.
_ELSEWHERE = ("203.0.113.1", 9)

_NO_BRIDGE = "table bridge control\ndelete table bridge control\n"


def controlled(rules: str) -> str:
    """
    @return: the rules of a router and those of its controls.
    """
    return rules + _CONTROL


class Router(Namespace):
    """
    I am a router, with a kind of NAT or none.

    @ivar peers: the public addresses of the other side's host.
    @ivar bridged: both hosts are on my own network.
    """

    peers: Sequence[str] = ()
    bridged = False

    def nft(self, rules: str) -> None:
        """
        Load rules.
        """
        done = self.run([program("nft"), "-f", "-"], input=rules, capture_output=True)
        if done.returncode:
            raise LabError(f"nft in {self.name}: {done.stderr}")

    def dropDirect(self) -> None:
        """
        Drop all packets between the two hosts; both still reach the rendezvous.
        """
        if self.bridged:
            self.nft(_NO_BRIDGE + _BRIDGE)
            return
        self.drop(
            *(
                f"{_family(a)} {way} {a}"
                for a in self.peers
                for way in ("saddr", "daddr")
            )
        )

    #: The same, in the words of who thinks of the other host.
    dropPeer = dropDirect

    def dropUDP(self) -> None:
        """
        Drop all UDP.
        """
        self.drop("meta l4proto udp")

    def dropAll(self) -> None:
        """
        Drop everything, as if the cable were cut.
        """
        self.drop("")

    def drop(self, *matches: str) -> None:
        """
        Drop what any of these nftables expressions matches, on its way in or out
        of C{wan}, instead of what was dropped before.
        """
        rules = [f"add rule inet control dropped {m} counter drop" for m in matches]
        self.nft("\n".join(["flush chain inet control dropped", *rules]))

    def restore(self) -> None:
        """
        Drop nothing any more.
        """
        self.drop()
        if self.bridged:
            self.nft(_NO_BRIDGE)

    def foreign(self, rate: float, seed: int = 0) -> subprocess.Popen[Any]:
        """
        Have flows of other people pass me until the lab, or the program that is
        returned, ends.

        @param rate: new ones a second, on average.
        """
        host, port = _ELSEWHERE
        words = [str(_FOREIGN), host, str(port), str(rate), str(seed)]
        return self.popen(
            [sys.executable, "-I", "-S", *words], stdin=subprocess.DEVNULL
        )

    def forget(self) -> None:
        """
        Lose all bindings, as a router does that is switched off and on.
        """
        done = self.run([program("conntrack"), "-F"], capture_output=True)
        if done.returncode:
            raise LabError(f"conntrack in {self.name}: {done.stderr}")
        self.nft(
            "flush set ip cone contacted; flush map ip cone mapped;"
            if self._has("cone")
            else ""
        )

    def _has(self, table: str) -> bool:
        done = self.run([program("nft"), "list", "tables"], capture_output=True)
        return f" {table}\n" in done.stdout

    def sent(
        self, protocol: str = "udp", unit: str = "packets"
    ) -> dict[tuple[str, int], int]:
        """
        @param unit: C{"packets"} or C{"bytes"}.

        @return: how many have left by C{wan}, by destination.  A train of segments
            that the kernel has not cut counts as one packet.
        """
        found: dict[tuple[str, int], int] = {}
        number = socket.getprotobyname(protocol)
        for name in ("sent4", "sent6"):
            command = [
                program("nft"),
                "-j",
                "-n",
                "list",
                "set",
                "inet",
                "control",
                name,
            ]
            done = self.run(command, capture_output=True, check=True)
            for host, proto, port, counter in _elements(done.stdout):
                if proto in (protocol, number, str(number)):
                    found[host, port] = counter[unit]
        return found

    def sentTo(
        self,
        host: str,
        port: int | None = None,
        protocol: str = "udp",
        unit: str = "packets",
    ) -> int:
        """
        @return: how many packets, or bytes, have left by C{wan} to there.
        """
        return sum(
            count
            for (h, p), count in self.sent(protocol, unit).items()
            if h == host and port in (None, p)
        )

    def resetCounters(self) -> None:
        """
        Count from nothing again.
        """
        self.nft("flush set inet control sent4; flush set inet control sent6;")


def _family(address: str) -> str:
    return "ip6" if ":" in address else "ip"


def _elements(text: str) -> list[tuple[str, Any, int, dict[str, int]]]:
    """
    Read the elements of a set from what C{nft -j} says.
    """
    found = []
    for item in json.loads(text)["nftables"]:
        for element in item.get("set", {}).get("elem", []):
            inner = element["elem"]
            host, protocol, port = inner["val"]["concat"]
            found.append((host, protocol, port, inner["counter"]))
    return found

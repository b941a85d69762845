"""
The lab: two hosts behind NATs, a public network and a rendezvous, in the kernel.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Any

from .capture import Capture
from .kinds import KINDS
from .namespaces import Keeper, LabError, Namespace, ask, program, startHelper
from .router import Router, controlled
from .topology import Plan, makePlan

#: For every namespace: forward, believe in any source, be ready at once, and
#: do not depend on what the machine has set for itself.
_SYSCTLS = {
    "net.ipv4.ip_forward": "1",
    "net.ipv4.conf.all.rp_filter": "0",
    "net.ipv4.conf.default.rp_filter": "0",
    "net.ipv4.conf.all.send_redirects": "0",
    "net.ipv4.conf.default.send_redirects": "0",
    "net.ipv6.conf.all.disable_ipv6": "0",
    "net.ipv6.conf.default.disable_ipv6": "0",
    "net.ipv6.conf.all.forwarding": "1",
    "net.ipv6.conf.default.accept_dad": "0",
    "net.ipv6.conf.default.accept_ra": "0",
    "net.ipv6.conf.default.router_solicitations": "0",
}


#: Where the module br_netfilter is loaded, NATs see what a switch passes on.
_SWITCH = {
    f"net.bridge.bridge-nf-call-{each}": "0"
    for each in ("iptables", "ip6tables", "arptables")
    if Path("/proc/sys/net/bridge").exists()
}


class DelayLine:
    """
    I steer the program that the public network's packets pass.
    """

    def __init__(self, public: Namespace, seed: int) -> None:
        self._process, self._control = startHelper(public.enter, "line.py", str(seed))
        try:
            ask(self._control, None)
        except BaseException:
            self.close()
            raise

    def set(self, **conditions: float) -> dict[str, float]:
        """
        Change delay and jitter (seconds), loss and reorder (percent), rate (bytes
        a second of each sender) and queue (bytes) for the packets to come.

        @return: what L{counts} does.
        """
        return ask(self._control, conditions)

    def counts(self) -> dict[str, float]:
        """
        @return: how many packets have passed, were lost as ordered, were dropped
            against all wishes, are waiting; and the CPU seconds used.
        """
        return self.set()

    def close(self) -> None:
        """
        End the program.
        """
        self._control.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class Lab:
    """
    I am a context manager that builds a lab and takes it down.

    @ivar hostA: a host behind C{routerA}; with C{sameNat}, B is there, too.
    @ivar routers: all routers by name, also C{carrierA} and C{carrierB} of CGNAT.
    @ivar public: the public network.
    @ivar spaces: all namespaces by name.
    @ivar line: the delay line, when there is one.
    """

    def __init__(
        self,
        kindA: str = "portrestricted",
        kindB: str = "portrestricted",
        *,
        delay: float = 0.025,
        jitter: float = 0.0,
        loss: float = 0.0,
        reorder: float = 0.0,
        udpTimeout: int | None = None,
        sameNat: bool = False,
        isolated: bool = False,
        overlap: bool = False,
        rendezvousNat: bool = False,
        congestion: str | None = None,
        foreign: float = 0.0,
        seed: int = 0,
    ) -> None:
        """
        @param delay: seconds that each packet needs across the public network,
            one way.
        @param jitter: up to so many seconds more; the order is kept.
        @param loss: percent of the packets that the public network loses.
        @param reorder: percent of the packets that overtake others.
        @param udpTimeout: the life of UDP bindings in whole seconds.
        @param sameNat: both hosts are behind router A.
        @param isolated: and their network keeps them from each other.
        @param overlap: both private networks use the same addresses.
        @param rendezvousNat: the rendezvous is behind a 1:1 NAT.
        @param congestion: what TCP does in all hosts, such as C{reno}; as on this
            machine by default.
        @param foreign: new flows a second that other people have through the
            outermost NAT of each side.
        @param seed: of loss, jitter, reordering and those flows.
        @raise ValueError: when kinds are unknown or do not go together.
        """
        self.kinds = (kindA, kindB)
        if udpTimeout is not None and (udpTimeout < 1 or udpTimeout != int(udpTimeout)):
            raise ValueError("a binding lives a whole number of seconds")
        self._udpTimeout = udpTimeout
        self._seed = seed
        self._foreign = foreign
        self._sysctls = dict(_SYSCTLS)
        if congestion is not None:
            self._sysctls["net.ipv4.tcp_congestion_control"] = congestion
        self._conditions = {
            "delay": delay,
            "jitter": jitter,
            "loss": loss,
            "reorder": reorder,
        }
        self._plan = makePlan(
            kindA,
            kindB,
            sameNat=sameNat,
            isolated=isolated,
            overlap=overlap,
            rendezvousNat=rendezvousNat,
            line=any(self._conditions.values()),
            udpTimeout=udpTimeout,
        )
        self._keeper: Keeper | None = None
        self.line: DelayLine | None = None
        self.spaces: dict[str, Namespace] = {}
        self.routers: dict[str, Router] = {}
        self._captures: list[Capture] = []

    def __enter__(self) -> Lab:
        return self.open()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def open(self) -> Lab:
        """
        Build everything.

        @raise LabError: when it cannot be done; nothing is left behind then.
        """
        try:
            self._build(self._plan)
        except BaseException:
            self.close()
            raise
        return self

    def _build(self, plan: Plan) -> None:
        keeper = self._keeper = Keeper()
        numbers = keeper.make(len(plan.spaces), self._sysctls)
        for name, number in zip(plan.spaces, numbers):
            kind = Router if name in plan.routers else Namespace
            space = kind(keeper, number, name, plan.addresses[name], plan.public[name])
            self.spaces[name] = space
            if isinstance(space, Router):
                self.routers[name] = space
        self.public = self.spaces["public"]
        self.hostA, self.hostB = self.spaces["hostA"], self.spaces["hostB"]
        self.rendezvous = self.spaces["rendezvous"]
        self.routerA = self.routers["routerA"]
        self.routerB = self.routers.get("routerB", self.routerA)
        if self.routerA is self.routerB:
            self.routerA.sysctl(_SWITCH)
        for router in self.routers.values():
            near = self.hostA if router.name.endswith("A") else self.hostB
            far = self.hostB if near is self.hostA else self.hostA
            router.peers = far.public
            router.bridged = self.routerA is self.routerB
            if self._udpTimeout is not None:
                life, prefix = str(self._udpTimeout), "net.netfilter.nf_conntrack_udp"
                values = {prefix + "_timeout": life, prefix + "_timeout_stream": life}
                router.sysctl(values)
        self._wire(plan)
        if self._foreign:
            for number, router in enumerate(self.outermost):
                router.foreign(self._foreign, self._seed + number)

    @property
    def outermost(self) -> list[Router]:
        """
        The routers that have public addresses, that of A first.
        """
        found = [
            self.routers.get(f"carrier{letter}", self.routers.get(f"router{letter}"))
            for letter in "AB"
        ]
        return [router for router in found if router is not None]

    def _wire(self, plan: Plan) -> None:
        """
        Lay the cables, then configure all namespaces side by side.
        """
        ip, nft = program("ip"), program("nft")
        if any(self._conditions.values()):
            self.line = DelayLine(self.public, self._seed)
            self.line.set(**self._conditions)
        cables = _Batches()
        cables.start(
            self.public,
            [ip, "-batch", "-"],
            "\n".join(
                f"link add name {i} netns {self.spaces[a].path} type veth"
                f" peer name {j} netns {self.spaces[b].path}"
                for a, i, b, j in plan.links
            ),
        )
        for name, rules in plan.rules.items():
            full = controlled(rules) if name in self.routers else rules
            cables.start(self.spaces[name], [nft, "-f", "-"], full)
        cables.finish()
        rest = _Batches()
        for name, lines in plan.commands.items():
            rest.start(self.spaces[name], [ip, "-batch", "-"], "\n".join(lines))
        for name, lines in plan.commands6.items():
            if lines:
                rest.start(
                    self.spaces[name], [ip, "-6", "-batch", "-"], "\n".join(lines)
                )
        rest.finish()

    def capture(
        self,
        namespace: Namespace,
        host: str | None = None,
        interface: str | None = None,
        protocol: str | None = None,
    ) -> Capture:
        """
        Watch packets in a namespace from now on, until the lab or it is closed.
        """
        capture = Capture(namespace, host, interface, protocol)
        self._captures.append(capture)
        return capture

    def variables(self) -> dict[str, str]:
        """
        @return: environment variables that tell a program how to enter each
            namespace (C{PUNCHD_HOST_A}) and which addresses it has
            (C{PUNCHD_HOST_A_ADDRESS}, C{PUNCHD_HOST_A_PUBLIC}).
        """
        found = {}
        for name, space in self.spaces.items():
            words = "".join("_" + c if c.isupper() else c for c in name).upper()
            found["PUNCHD_" + words] = str(space)
            found[f"PUNCHD_{words}_ADDRESS"] = " ".join(space.addresses)
            found[f"PUNCHD_{words}_PUBLIC"] = " ".join(space.public)
        return found

    def close(self) -> None:
        """
        End every program in the lab and remove it.  May be called twice.
        """
        for capture in self._captures:
            capture.close()
        self._captures.clear()
        keeper, self._keeper = self._keeper, None
        if keeper is None:
            return
        try:
            for space in self.spaces.values():
                for opened in space.sockets:
                    opened.close()
            _end([p for space in self.spaces.values() for p in space.processes])
            if self.line is not None:
                self.line.close()
        finally:
            # What those have started ends with the keeper.
            keeper.close()


def _end(processes: list[subprocess.Popen[Any]]) -> None:
    """
    End programs: politely, then for good.
    """
    for process in processes:
        if process.poll() is None:
            process.terminate()
    until = time.monotonic() + 3
    for process in processes:
        try:
            process.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                try:
                    pipe.close()
                except BrokenPipeError:
                    # What it was to read, it reads no more.
                    pass


class _Batches:
    """
    Commands that run at the same time.
    """

    def __init__(self) -> None:
        self._running: list[tuple[str, str, subprocess.Popen[str]]] = []

    def start(self, space: Namespace, command: list[str], text: str) -> None:
        process = subprocess.Popen(
            [*space.enter, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._running.append((space.name, text, process))
        assert process.stdin is not None
        try:
            with process.stdin as pipe:
                pipe.write(text + "\n")
        except BrokenPipeError:
            # It says why in finish().
            pass
        process.stdin = None

    def finish(self) -> None:
        problems = []
        for name, text, process in self._running:
            said = process.communicate()[0]
            if process.returncode:
                problems.append(f"{name}: {said.strip()}\n{text}")
        if problems:
            raise LabError("\n".join(problems))


@lru_cache
def whyNot(delayed: bool = True) -> str | None:
    """
    Say in one sentence why there can be no lab here, or L{None} when there can.

    @param delayed: whether it shall have a delay line.
    """
    if not sys.platform.startswith("linux"):
        return "the kernel lab needs Linux"
    try:
        for name in ("ip", "nft", "nsenter"):
            program(name)
        with Lab("restricted", "symmetric", delay=0.001 if delayed else 0.0):
            pass
    except LabError as e:
        who = "" if os.geteuid() == 0 else " without root"
        first = str(e).strip().splitlines()[0] if str(e).strip() else repr(e)
        return f"the kernel lab cannot be built here{who}: {first}"
    return None


def describeKinds() -> str:
    """
    @return: the kinds, one a line.
    """
    width = max(map(len, KINDS))
    return "\n".join(f"{name:<{width}}  {kind.summary}" for name, kind in KINDS.items())

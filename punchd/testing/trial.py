"""
One trial of a pair: the whole product in the simulator, or in the kernel lab.
"""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from punchd.errors import PunchError
from punchd.session.report import describe

from .clock import SimulationTimeout
from .grid import Cell, Trouble
from .lab import Lab
from .lab.namespaces import Namespace
from .lab.product import Product
from .lab.proxy import startProxy
from .link import Link
from .pair import Pair
from .scenario import Scenario

#: Where A's users connect in the lab, and where B's program listens.
_FORWARD, _PROGRAM = 7000, 7


@dataclass(frozen=True)
class Outcome:
    """
    @ivar connected: a byte came back.
    @ivar path: C{"direct"}, C{"tcp"}, C{"relayed"}, or L{None} without any: of the
        side that has the worse one.
    @ivar by: the strategies of both sides' paths.
    @ivar firstByte: seconds from the dial to the byte that came back.
    @ivar seconds: from the dial until both sides had a direct path.
    @ivar packets: checks sent by both sides.
    @ivar probes: those of strategies beyond plain checks, of the busier side.
    @ivar bindings: what they took of the NATs, of the busier side.
    @ivar causes: what C{punchd why} tells the user of A and that of B, where the
        path is not direct.
    @ivar error: a sentence, if it came to no trial.
    """

    connected: bool = False
    path: str | None = None
    by: frozenset[str] = frozenset()
    firstByte: float | None = None
    seconds: float | None = None
    packets: int = 0
    probes: int = 0
    bindings: int = 0
    causes: tuple[str, ...] = ()
    error: str = ""

    @property
    def direct(self) -> bool:
        """
        Whether the relay is out of it.
        """
        return self.path in ("direct", "tcp")

    def toDict(self) -> dict[str, Any]:
        """
        @return: what JSON can carry.
        """
        return {**asdict(self), "by": sorted(self.by), "causes": list(self.causes)}

    @classmethod
    def fromDict(cls, data: Mapping[str, Any]) -> Outcome:
        """
        @return: what L{toDict} has written.
        """
        kept = {**data, "by": frozenset(data["by"]), "causes": tuple(data["causes"])}
        return cls(**kept)


def _pathOf(sessions: Sequence[Mapping[str, Any]]) -> str | None:
    """
    @return: the worse path of both sides.
    """
    order = (None, "relayed", "tcp", "direct")
    found = []
    for session in sessions:
        path = session["path"]
        tcp = path["kind"] == "direct" and path["transport"] == "tcp"
        found.append("tcp" if tcp else path["kind"])
    return min(found, key=order.index) if len(found) == 2 else None


def _outcome(
    sessions: Sequence[Mapping[str, Any]],
    firstByte: float | None,
    seconds: float | None,
    probes: int,
) -> Outcome:
    return Outcome(
        connected=firstByte is not None,
        path=_pathOf(sessions),
        by=frozenset(s["path"]["strategy"] for s in sessions) - {""},
        firstByte=firstByte,
        seconds=seconds,
        packets=sum(session["probesSent"] for session in sessions),
        probes=probes,
        bindings=max((session["bindingsUsed"] for session in sessions), default=0),
    )


# --- the simulator


def simulated(
    cell: Cell,
    seed: int = 0,
    *,
    delay: float = 0.025,
    foreign: float = 0.0,
    trouble: Trouble | None = None,
    patience: float = 45.0,
    settle: float = 6.0,
    **options: Any,
) -> Outcome:
    """
    @param foreign: other people's flows a second, through NATs that they matter to.
    @param trouble: what makes it harder.
    @param patience: seconds to wait for a direct path, and where a relayed one is
        expected, for the cause to be told.
    @param settle: the least seconds to wait for a direct path where a relayed one
        is expected.
    @param options: of both clients; see L{Pair}.
    """
    trouble = trouble or Trouble("none")
    nats: list[dict[str, Any]] = []
    for kind in cell.kinds:
        nat: dict[str, Any] = {} if kind == "open" else dict(trouble.nat)
        if foreign and "sequential" in kind:
            nat["foreign"] = foreign
        nats.append(nat)
    link = Link(delay, **trouble.link)
    made = Scenario(
        *cell.kinds,
        seed,
        link=link,
        optionsA=nats[0],
        optionsB=nats[1],
        sameNat=cell.sameNat,
        isolated=cell.isolated,
    )
    pair = Pair(made, **options)
    try:
        return _simulate(pair, cell, patience, settle)
    finally:
        pair.stop()


def _ready(pair: Pair) -> None:
    """
    Run until both are registered, and seen unless their UDP is blocked.
    """
    run = pair.network.runUntil
    for client in (pair.a, pair.b):
        run(client.whenRegistered(), 60.0)
    try:
        run(lambda: pair.a.gathering.mapped and pair.b.gathering.mapped, 5.0)
    except SimulationTimeout:
        pass
    # Let the nonces return too.
    pair.network.advance(1.0)


def _simulate(pair: Pair, cell: Cell, patience: float, settle: float) -> Outcome:
    clock, run = pair.clock, pair.network.runUntil
    firstByte = seconds = None
    try:
        _ready(pair)
        began = clock.seconds()
        stream, collector = pair.open(timeout=90.0)
        stream.write(b"x")
        run(collector.whenReceived(1), 90.0)
        firstByte = clock.seconds() - began
        settled = began + settle

        def done() -> bool:
            if pair.kinds() == ("direct", "direct"):
                return True
            if cell.path != "relayed" or clock.seconds() < settled:
                return False
            return _told(pair) == cell.causes

        run(done, patience)
        if pair.kinds() == ("direct", "direct"):
            seconds = clock.seconds() - began
    except (SimulationTimeout, PunchError):
        # With much loss the peer may have lost its rendezvous for a moment.
        pass
    sessions = [
        describe(session)
        for client in (pair.a, pair.b)
        for session in client.peers.sessions.values()
    ]
    spent = [client.context.budget.probes for client in (pair.a, pair.b)]
    outcome = _outcome(sessions, firstByte, seconds, max(spent))
    return outcome if outcome.direct else replace(outcome, causes=_told(pair))


def _told(pair: Pair) -> tuple[str, ...]:
    found = []
    for client, other in ((pair.a, pair.identityB), (pair.b, pair.identityA)):
        try:
            found.append(str(client.why(other.peerId)["cause"]))
        except PunchError:
            # It has no session yet.
            found.append("")
    return tuple(found)


# --- the kernel lab


@contextmanager
def running(lab: Lab, folder: Path, *options: str) -> Generator[Product, None, None]:
    """
    The product in a lab; B publishes an echo, A forwards a port to it.

    @param folder: for states and logs; its path must be short, as the control
        socket is in it.
    @param options: of both clients.
    """
    product = Product(lab, folder)
    try:
        _startProxies(lab, folder)
        product.startRendezvous()
        program = f"--publish=echo=tcp:127.0.0.1:{_PROGRAM}"
        product.startClient("b", program, *options)
        product.startClient("a", f"--forward=tcp:{_FORWARD}=b/echo", *options)
        product.whenRegistered()
        yield product
    finally:
        product.close()


def _startProxies(lab: Lab, folder: Path) -> None:
    """
    Give hosts behind nothing but a proxy one, and tell them by the environment.
    """
    hosts: list[tuple[Namespace, Namespace, str]] = [
        (lab.hostA, lab.routerA, lab.kinds[0]),
        (lab.hostB, lab.routerB, lab.kinds[1]),
    ]
    for host, router, kind in hosts:
        if kind == "proxyonly":
            host.environment["https_proxy"] = startProxy(router, folder)


_ECHO = (
    "import socket\n"
    f"listening = socket.create_server(('127.0.0.1', {_PROGRAM}))\n"
    "print('ready', flush=True)\n"
    "connection = listening.accept()[0]\n"
    "while data := connection.recv(65536): connection.sendall(data)\n"
)


def inLab(
    lab: Lab,
    folder: Path,
    cell: Cell,
    *,
    patience: float = 45.0,
    settle: float = 6.0,
    options: Sequence[str] = (),
) -> Outcome:
    """
    @param lab: one that is open; our programs run in it until this returns.
    @param folder: see L{running}.
    @param cell: what should come of it.
    @param patience: seconds to wait for a direct path, and where a relayed one is
        expected, for the cause to be told.
    @param settle: the least seconds to wait for a direct path where a relayed one
        is expected.
    @param options: of both clients.
    """
    with running(lab, folder, *options) as product:
        quiet = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        echo = lab.hostB.python("-I", "-c", _ECHO, text=True, **quiet)
        assert echo.stdout is not None
        echo.stdout.readline()
        firstByte = None
        with lab.hostA.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
            sock.settimeout(30.0)
            began = time.monotonic()
            try:
                sock.connect(("127.0.0.1", _FORWARD))
                sock.sendall(b"x")
                if sock.recv(1) == b"x":
                    firstByte = time.monotonic() - began
            except OSError:
                pass
            outcome = _watch(product, firstByte, cell, began + patience, began + settle)
            echo.kill()
            return outcome


def _watch(
    product: Product,
    firstByte: float | None,
    cell: Cell,
    until: float,
    settled: float,
) -> Outcome:
    while True:
        sessions = [s for s in (product.session(letter) for letter in "ab") if s]
        found = _pathOf(sessions)
        now = time.monotonic()
        if found in ("direct", "tcp") or now > until:
            break
        if cell.path == "relayed" and now > settled and found == "relayed":
            if _causes(product) == cell.causes:
                break
        time.sleep(0.05)
    direct = [s["secondsToDirect"] for s in sessions]
    known = [each for each in direct if each is not None]
    probes = [
        verdict["evidence"].get("probes", 0)
        for session in sessions
        for verdict in session["verdicts"]
    ]
    seconds = max(known) if found in ("direct", "tcp") and known else None
    outcome = _outcome(sessions, firstByte, seconds, max(probes, default=0))
    return outcome if outcome.direct else replace(outcome, causes=_causes(product))


def _causes(product: Product) -> tuple[str, ...]:
    found = []
    for letter, other in ("ab", "ba"):
        try:
            told = product.ask(letter, "why", peer=product.ids[other])
        except RuntimeError:
            # It has no session yet.
            told = {"cause": ""}
        found.append(str(told["cause"]))
    return tuple(found)

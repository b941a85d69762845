"""
What thousands of clients cost the rendezvous that they are registered with.

    python -m bench.presences [COUNT] [--idle S] [--dials N]

Starts C{twistd punch-rendezvous} on loopback and registers COUNT clients, each with a
key and a connection of its own and from networks of their own, as
L{punchd.services.link.RendezvousLink} does it in the client.  Prints the memory and the
CPU time that a registration takes; the CPU time of a dial, from the offer to the
answer; that of all being there for S seconds and saying nothing but that they are; and
how long it takes until all are there again after the rendezvous was killed and started
anew.

The clients share one process: the rates tell of it as much as of the rendezvous, the
CPU time and the memory of the rendezvous alone.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from twisted.internet import reactor as anyReactor
from twisted.internet.defer import (
    Deferred,
    DeferredSemaphore,
    gatherResults,
    inlineCallbacks,
)
from twisted.internet.task import deferLater, react

from punchd.identity import Identity
from punchd.net.clock import makeMonotonic
from punchd.net.kernel import KernelNetwork
from punchd.services.link import RendezvousLink
from punchd.signaling.url import RendezvousURL

from .relay import cpuTime

COUNT, IDLE, DIALS = 5000, 60.0, 2000
#: Registrations and dials at one time.
TOGETHER = 32
#: Seconds after which all should be there again.
RETURN = 300.0
#: Clients of one network; a rendezvous lets so many in at once.
NEIGHBOURS = 200
#: Bytes of an offer, and of the datagrams that ride along: QUIC's first flight.
OFFER, FLIGHT = 900, (1200, 1200)
HOST = "127.0.0.1"


class _Elsewhere:
    """
    I am a reactor whose connections come from another address.
    """

    def __init__(self, reactor: Any, host: str) -> None:
        self._reactor = reactor
        self._host = host

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def connectTCP(self, *words: Any, **options: Any) -> Any:
        """
        @see: L{twisted.internet.interfaces.IReactorTCP.connectTCP}.
        """
        options["bindAddress"] = (self._host, 0)
        return self._reactor.connectTCP(*words, **options)


class Server:
    """
    I am a rendezvous that can be killed and started again.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = 0
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        url = self._folder / "url"
        url.unlink(missing_ok=True)
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "twisted", "punch-rendezvous"),
                *(f"--state={self._folder}", f"--listen={HOST}:{self._port}"),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while not url.exists():
            if process.poll() is not None:
                raise SystemExit("the rendezvous has ended")
            time.sleep(0.05)
        self.url = RendezvousURL.parse(url.read_text().strip())
        self._port = self.url.ports[0]
        return process

    def again(self) -> None:
        """
        Kill it, and start another one in its place.
        """
        self.close()
        self.process = self._start()

    def close(self) -> None:
        """
        End it.
        """
        self.process.kill()
        self.process.wait()

    @property
    def cpu(self) -> float:
        """
        CPU seconds that it has used.
        """
        return cpuTime(self.process.pid)

    @property
    def memory(self) -> int:
        """
        Bytes that belong to it alone.
        """
        lines = Path(f"/proc/{self.process.pid}/smaps_rollup").read_text().splitlines()
        return sum(1024 * int(each.split()[1]) for each in lines if "Private_" in each)


def makeLink(
    network: KernelNetwork, url: RendezvousURL, identity: Identity, number: int
) -> RendezvousLink:
    """
    @return: the link of one more client, which answers all dials.
    """
    place = number // NEIGHBOURS
    here = SimpleNamespace(
        reactor=_Elsewhere(network.reactor, f"127.1.{place}.{1 + number % NEIGHBOURS}"),
        entropy=network.entropy,
        wallClock=network.wallClock,
        localHosts=network.localHosts,
    )

    def answer(*offer: object) -> Any:
        return bytes(OFFER), [bytes(size) for size in FLIGHT]

    return RendezvousLink(here, url, identity, onIncoming=answer)


def each(found: Iterable[Any], ask: Any) -> Deferred[list[float]]:
    """
    Ask all, some at a time.

    @return: fires with the seconds that each took.
    """
    turns = DeferredSemaphore(TOGETHER)

    def timed(one: Any) -> Deferred[float]:
        began = time.monotonic()
        asked: Deferred[Any] = ask(one)
        return asked.addCallback(lambda _: time.monotonic() - began)

    return gatherResults([turns.run(timed, one) for one in found], consumeErrors=True)


@inlineCallbacks
def measure(
    reactor: Any, arguments: argparse.Namespace, folder: Path
) -> Generator[Deferred[Any], Any, None]:
    """
    Print all figures.
    """
    network = KernelNetwork(makeMonotonic(reactor))
    server = Server(folder)
    reactor.addSystemEventTrigger("after", "shutdown", server.close)
    identities = [Identity.create() for _ in range(arguments.count)]
    links = [
        makeLink(network, server.url, identity, number)
        for number, identity in enumerate(identities)
    ]

    def register(link: RendezvousLink) -> Deferred[Any]:
        link.startService()
        return link.whenRegistered()

    # What is made once is not counted.
    first, rest = links[:50], links[50:]
    yield each(first, register)
    memory, cpu, began = server.memory, server.cpu, time.monotonic()
    yield each(rest, register)
    cost, took = (server.cpu - cpu) / len(rest), time.monotonic() - began
    yield deferLater(reactor, 3.0)
    grown = (server.memory - memory) / len(rest)
    print(
        f"{len(links)} clients: {grown / 1000:.1f} kB each,"
        f" {server.memory / 1e6:.0f} MB in all;"
        f" {1000 * cost:.2f} ms of CPU time a registration,"
        f" {len(rest) / took:.0f} a second",
        flush=True,
    )

    def dial(number: int) -> Deferred[Any]:
        peer = identities[(number + NEIGHBOURS) % len(links)]
        flight = [bytes(size) for size in FLIGHT]
        return links[number % len(links)].dial(
            peer.peerId, os.urandom(16).hex(), bytes(OFFER), flight
        )

    # One after the other from all networks, for each may dial so often.
    places = len(links) // NEIGHBOURS or 1
    numbers = [
        number % places * NEIGHBOURS + number // places % NEIGHBOURS
        for number in range(arguments.dials)
    ]
    cpu, began = server.cpu, time.monotonic()
    times = yield each(numbers, dial)
    cost, took = (server.cpu - cpu) / len(times), time.monotonic() - began
    print(
        f"{len(times)} dials: {1000 * cost:.2f} ms of CPU time each,"
        f" {len(times) / took:.0f} a second, {1000 * statistics.median(times):.0f} ms"
        f" in the median with {TOGETHER} at a time",
        flush=True,
    )

    cpu, began = server.cpu, time.monotonic()
    yield deferLater(reactor, arguments.idle)
    share = (server.cpu - cpu) / (time.monotonic() - began)
    print(f"all idle: {share:.2%} of a core", flush=True)

    old = [link.connection for link in links]
    began = time.monotonic()
    server.again()
    started = time.monotonic() - began

    def missing() -> int:
        return sum(
            not link.registered or link.connection is before
            for link, before in zip(links, old, strict=True)
        )

    while missing():
        yield deferLater(reactor, 0.1)
        if time.monotonic() - began > RETURN:
            raise SystemExit(f"{missing()} have not come back in {RETURN:.0f} s")
    print(
        f"killed, and started again within {started:.1f} s: all are there again"
        f" after {time.monotonic() - began:.1f} s,"
        f" {server.cpu:.1f} s of CPU time"
    )
    yield gatherResults([link.stopService() for link in links])


def main() -> None:
    """
    Measure.
    """
    parser = argparse.ArgumentParser(prog="python -m bench.presences")
    parser.add_argument("count", type=int, nargs="?", default=COUNT)
    parser.add_argument("--idle", type=float, default=IDLE, metavar="S")
    parser.add_argument("--dials", type=int, default=DIALS, metavar="N")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="punchd-") as folder:
        react(measure, (arguments, Path(folder)), _reactor=anyReactor)


if __name__ == "__main__":
    main()

"""
One client with many peers: what a session and a stream take in memory, and what idle
sessions take in CPU time.

    python -m bench.many [--peers N] [--streams N] [--idle S] [--path auto|direct|relay]
    python -m bench.many --simulator [--peers N] [--streams N]

In the kernel lab: the client is one process, all its peers are another one on another
host.  Each stream goes to an echo, and says a little before it is counted.  With
C{--simulator}, whether all bytes come back in virtual time, and how much of real
time that takes.
"""

from __future__ import annotations

import argparse
import gc
import json
import subprocess
import sys
import time
from collections.abc import Generator, Iterable
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, DeferredSemaphore, ensureDeferred
from twisted.internet.defer import gatherResults as together
from twisted.internet.task import deferLater

from punchd.forward.rules import Allowances
from punchd.identity import Identity
from punchd.net.clock import makeMonotonic
from punchd.net.kernel import KernelNetwork
from punchd.services.client import PunchClient
from punchd.session.stream import Stream
from punchd.signaling.url import RendezvousURL
from punchd.testing.crowd import Crowd
from punchd.testing.lab import Namespace
from punchd.testing.pair import Collector, Echo
from punchd.testing.scenario import Scenario

from .products import products

PEERS, STREAMS, IDLE = 200, 10, 60.0
WORD = b"hello" * 20
#: Dials at one time.
DIALS = 10
#: Seconds for a phase.
PATIENCE = 300.0

_reactor: Any = reactor


# --- the processes


def _echo(peerId: str, service: str, stream: Stream) -> None:
    stream.accept(Echo())


def start(url: str, mode: str) -> PunchClient:
    """
    Start a client that lets everybody in.
    """
    client = PunchClient(
        KernelNetwork(makeMonotonic(_reactor)),
        Identity.create(),
        [RendezvousURL.parse(url)],
        Allowances(anyone=True),
        _echo,
        mode=mode,
        linger=1e6,
    )
    client.privilegedStartService()
    client.startService()
    return client


def memory() -> int:
    """
    @return: bytes that belong to this process alone.
    """
    gc.collect()
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(1024 * int(line.split()[1]) for line in lines if "Private_" in line)


async def peers(url: str, mode: str, count: str) -> None:
    """
    Be so many clients, and say their ids.
    """
    clients = []
    for _ in range(int(count)):
        clients.append(start(url, mode))
        # Not all of them at one time, lest the rendezvous thinks it an attack.
        await clients[-1].whenRegistered()
    print(json.dumps([c.context.identity.peerId for c in clients]), flush=True)
    await Deferred()


async def client(url: str, mode: str, streams: str, idle: str) -> None:
    """
    Be the client, and say after each phase what there is of us.
    """
    ids = json.loads(sys.stdin.readline())
    own = start(url, mode)
    await own.whenRegistered()
    # What only the first session and the first stream need.
    await talk(own, ids.pop())
    say(0.0)
    for each in ([1], range(int(streams) - 1)):
        before = time.process_time()
        semaphore = DeferredSemaphore(DIALS)
        work = [semaphore.run(_talks, own, id, each) for id in ids]
        opened = [s for some in await together(work) for s in some]
        # Until the paths are what they will be, and what is put off is done.
        await deferLater(_reactor, 15.0)
        paths = [s.paths.current for s in own.peers.sessions.values()]
        say(before, direct=sum(p is not None and p.kind != "relayed" for p in paths))
        del opened
    before = time.process_time()
    await deferLater(_reactor, float(idle))
    say(before)
    own.stopService().addBoth(lambda _: _reactor.stop())


def _talks(own: PunchClient, id: str, times: Iterable[int]) -> Deferred[Any]:
    return together([ensureDeferred(talk(own, id)) for _ in times])


async def talk(own: PunchClient, id: str) -> Stream:
    """
    Open a stream, and have a word come back.
    """
    stream = await own.open(id, "echo")
    collector = Collector()
    stream.attach(collector)
    stream.write(WORD)
    await collector.whenReceived(len(WORD))
    return stream


def say(before: float, **more: object) -> None:
    """
    One line.

    @param before: CPU seconds at the beginning.
    """
    found = {"memory": memory(), "cpu": time.process_time() - before, **more}
    print(json.dumps(found), flush=True)


# --- the two ways to measure


def _run(space: Namespace, *words: object) -> subprocess.Popen[str]:
    return space.python(
        *("-m", "bench.many", *map(str, words)),
        cwd=Path(__file__).parents[1],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def kernel(options: argparse.Namespace) -> None:
    """
    Measure in the lab.
    """
    count, streams = options.peers, options.streams
    with products("open", "open", start=False, delay=0.0) as product:
        url, mode = product.url, options.path
        there = _run(product.hosts["b"], "peers", url, mode, count + 1)
        assert there.stdout is not None
        ids = there.stdout.readline()
        here = _run(product.hosts["a"], "client", url, mode, streams, options.idle)
        assert here.stdin is not None
        assert here.stdout is not None
        here.stdin.write(ids)
        here.stdin.flush()
        try:
            one, first, all_, idle = (
                json.loads(here.stdout.readline()) for _ in range(4)
            )
        finally:
            for process in (here, there):
                process.kill()
                process.wait()
    session = (first["memory"] - one["memory"]) / count
    stream = (all_["memory"] - first["memory"]) / (count * max(1, streams - 1))
    print(
        f"{count} sessions, {first['direct']} direct, with {streams} streams each: "
        f"{all_['memory'] / 1e6:.1f} MB in all, {one['memory'] / 1e6:.1f} MB with one"
    )
    print(f"memory: {session / 1e3:.1f} kB a session with its first stream")
    print(f"memory: {stream / 1e3:.2f} kB a further stream")
    print(f"CPU: {1000 * first['cpu'] / count:.1f} ms a dial, 15 s of checks included")
    share = idle["cpu"] / options.idle
    print(f"CPU: {100 * share:.2f} % of a core for {count} idle sessions")


def simulator(options: argparse.Namespace) -> None:
    """
    See that all bytes come back.
    """
    began = time.process_time()
    crowd = Crowd(Scenario("portrestricted", "portrestricted", 1))
    crowd.ready()
    others = [crowd.join("portrestricted") for _ in range(options.peers)]
    for other in others:
        crowd.network.runUntil(other.whenRegistered(), 60.0)
    crowd.network.advance(2.0)

    def opens() -> Generator[tuple[Collector, bytes], None, None]:
        for number in range(options.streams):
            for other in others:
                stream, collector = crowd.connect(crowd.b, other)
                word = b"%d " % number + other.context.identity.peerId.encode()
                stream.write(word)
                yield collector, word

    for collector, word in list(opens()):
        crowd.network.runUntil(collector.whenReceived(len(word)), 60.0)
        if collector.received != word:
            raise SystemExit("Not all bytes came back.")
    kinds = [crowd.session(crowd.b, other).paths.current for other in others]
    direct = sum(path is not None and path.kind == "direct" for path in kinds)
    print(
        f"{options.peers} peers, {direct} direct, {options.streams} streams each: all "
        f"bytes came back, in {time.process_time() - began:.0f} s of CPU time for all"
    )
    crowd.stop()


def main() -> None:
    """
    Measure, or be one of the processes.
    """
    parts = {"peers": peers, "client": client}
    if len(sys.argv) > 1 and sys.argv[1] in parts:
        part: Any = parts[sys.argv[1]]
        running = ensureDeferred(part(*sys.argv[2:]))
        running.addErrback(lambda failure: (failure.printTraceback(), _reactor.stop()))
        _reactor.run()
        return
    parser = argparse.ArgumentParser(prog="bench.many")
    parser.add_argument("--peers", type=int, default=PEERS)
    parser.add_argument("--streams", type=int, default=STREAMS)
    parser.add_argument("--idle", type=float, default=IDLE)
    parser.add_argument("--path", choices=("auto", "direct", "relay"), default="auto")
    parser.add_argument("--simulator", action="store_true")
    options = parser.parse_args()
    (simulator if options.simulator else kernel)(options)


if __name__ == "__main__":
    main()

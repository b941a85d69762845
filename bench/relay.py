"""
Packets relayed a CPU-second by our rendezvous, beside coturn under the same load.

    python -m bench.relay [--loopback] [--workers N] [--clients N] [--short SIZE]
                          [ROUNDS] [LOAD ...]

Server, load and peer are three hosts in the kernel (L{bench.relayhosts}), or with
C{--loopback} one.  The load is C{turnutils_uclient}.  C{peer}: clients send messages
over channels to C{turnutils_peer}, which sends them back, so that each is relayed
twice; C{pairs}: clients send to each other's relayed addresses, so that each is
relayed once by its sender's allocation and once by its receiver's; C{batches}: our
own client sends runs (GSO) to a peer that sends them back (L{bench.relayload}), as
C{--clients} of them, thirty unless told.  Each is run with small and with large
messages.  The servers take turns; the first round warms up.  Beside coturn and ours
there are ours without GSO and GRO, and a bare loop (L{bench.bare}), which is what
Python allows.

CPU time is that of the whole server process from before the load to after it,
allocations and all.  The kernel brings a packet all the way to the socket of its
receiver in the time of who sends it, between namespaces as on loopback: so every
server pays for its packets' way to their receivers, and not for their way to itself.
(A kernel that accounts for interrupts by themselves, CONFIG_IRQ_TIME_ACCOUNTING, lets
nobody pay.)  All checks are on: deny list of peers, permissions, lifetimes, limits;
only on loopback, which is on the deny lists, peers have to be let off.

C{--short} measures messages of one size only, and fewer of them: half a minute for two
rounds of one load.  On a machine that others use, trust ratios and not rates, and the
best of a few runs; CPU time is dearer, and not equally for all, when caches are cold.

Ours runs the parts of the rendezvous that relay, with a static user, and nothing
else.  With C{--workers} the whole rendezvous runs as well, in one process and in N,
and the CPU time is that of all its processes, whose shares are printed; they, the load
and the peers share the machine, so more processes than cores are left over only show
what they cost.
"""

from __future__ import annotations

import operator
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from punchd.core import Address
from punchd.net.kernel import NO_OFFLOAD, KernelNetwork
from punchd.stun.address import isForbiddenPeer
from punchd.turn.guards import StaticUsers
from punchd.turn.limits import Limits, Quota
from punchd.turn.runs import RunServer

from .products import family
from .relayhosts import Hosts
from .relayhosts import hosts as makeHosts
from .relayload import CLIENTS as SENDERS

PEER_PORT = 3480
SIZES = (200, 1000)
CLIENTS = 10
MESSAGES = 4000
#: Of each of our own clients, which are more.
RUNS = 400
#: So many of those send.
BATCHING = SENDERS
#: Milliseconds between two messages of one client.
INTERVAL = 1
ROUNDS = 4
LOADS = ("peer", "pairs", "batches")
USER, PASSWORD, REALM = "user", "password", "bench"
SERVERS = ("ours", "no GSO", "bare", "coturn")

_COUNTS = re.compile(r"(?:tot_send_msgs=|^)(\d+),? (?:tot_recv_msgs=)?(\d+)", re.M)
_TIME = re.compile(r"Total transmit time is (\d+)")


#: Of the CPU time that was used last, by process.
SHARES: list[float] = []


def cpuTime(pid: int) -> float:
    """
    @return: CPU seconds that the threads of a process have used, to the nanosecond.
    """
    threads = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((e / "schedstat").read_text().split()[0]) for e in threads) / 1e9


def serve(host: str, port: int) -> None:
    """
    Relay until the process is ended.
    """
    from twisted.internet import reactor as anyReactor

    from punchd.net.clock import makeMonotonic
    from punchd.net.driver import Driver
    from punchd.services.datagrams import Datagrams
    from punchd.services.relayports import RelayPorts, RelayReceiver
    from punchd.signaling.observation import Observer

    reactor: Any = makeMonotonic(anyReactor)
    network = KernelNetwork(reactor)
    observer = Observer(lambda handle: None, bytes(32), lambda *seen: None)
    datagrams = Datagrams(reactor, observer)
    forwarder = RelayReceiver()
    ports = RelayPorts(network, forwarder, {4: host}, 49152, 65535)
    relay = RunServer(
        realm=REALM,
        guards=[StaticUsers("users", {USER: PASSWORD})],
        ports=ports,
        entropy=network.entropy,
        limits=Limits(user=Quota(256)),
        forbidden=denied(host),
        whole=network.sendsWhole,
    )
    forwarder.driver = Driver(relay, datagrams.send, lambda event: None, reactor)
    forwarder.carrierOf = datagrams.carrierOf
    datagrams.setRelay(relay, forwarder.driver, ports.ports)
    datagrams.add(network.listenDatagram(datagrams, 4, host, port))
    reactor.run()


def denied(host: str) -> Callable[[str], bool]:
    """
    @param host: the server's.

    @return: the deny list, which has to be empty on loopback.
    """
    # A worker has to know it by name.
    return operator.not_ if host.startswith("127.") else isForbiddenPeer


def serveWhole(host: str, port: int, processes: int, users: str) -> None:
    """
    Run a rendezvous until the process is ended.
    """
    from twisted.internet import reactor as anyReactor

    from punchd.identity import Identity
    from punchd.net.clock import makeMonotonic
    from punchd.net.tls import ServerCredentials
    from punchd.services.places import Place
    from punchd.services.rendezvous import Rendezvous, Settings
    from punchd.services.workerorders import guardsOf

    reactor: Any = makeMonotonic(anyReactor)
    network = KernelNetwork(reactor)
    admissions = [("users", users)]
    settings = Settings(
        places=[Place(host, port)],
        publics=[(host, host)],
        realm=REALM,
        guards=guardsOf(admissions, network),
        admissions=admissions,
        relayLimits=Limits(user=Quota(256)),
        peers=denied(host),
        processes=processes,
    )
    rendezvous = Rendezvous(network, ServerCredentials(Identity.create()), settings)
    rendezvous.startService()
    reactor.addSystemEventTrigger("before", "shutdown", rendezvous.stopService)
    reactor.run()


@contextmanager
def server(hosts: Hosts, kind: str, port: int) -> Iterator[int]:
    """
    @return: the pid of a running server.
    """
    processes = kind.removesuffix(" proc.")
    folder = tempfile.mkdtemp(prefix="punchd-bench-")
    command = [sys.executable, "-m", "bench.relay", "serve", hosts.server, str(port)]
    if processes != kind:
        users = os.path.join(folder, "users")
        with open(os.open(users, os.O_CREAT | os.O_WRONLY, 0o600), "w") as file:
            file.write(f"{USER}:{PASSWORD}\n")
        command += [processes, users]
    elif kind == "coturn":
        command = [
            *("turnserver", "-n", "--no-cli", "--no-tls", "--no-dtls"),
            *("--lt-cred-mech", "-u", f"{USER}:{PASSWORD}", "-r", REALM),
            *("--listening-ip", hosts.server, "--relay-ip", hosts.server),
            *("-p", str(port), "--log-file", "stdout"),
            *(["--allow-loopback-peers"] if hosts.loopback else []),
        ]
    elif kind == "bare":
        command[2:4] = ["bench.bare"]
    environment = hosts.environment("server")
    environment |= {NO_OFFLOAD: "1" if kind == "no GSO" else ""}
    process = hosts.start(
        "server",
        command,
        cwd=folder if kind == "coturn" else os.getcwd(),
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        answering(hosts, "load", (hosts.server, port))
        yield process.pid
    finally:
        process.terminate()
        process.wait(20)
        shutil.rmtree(folder)


def answering(hosts: Hosts, asker: str, address: Address) -> None:
    """
    Wait until a Binding request is answered, or sent back.

    @param asker: the host that sends it.
    """
    request = bytes.fromhex("000100002112a442") + os.urandom(12)
    with hosts.socket(asker) as sock:
        sock.settimeout(0.2)
        until = time.monotonic() + 20
        while time.monotonic() < until:
            sock.sendto(request, address)
            with suppress(OSError):
                sock.recv(2000)
                return
    raise SystemExit(f"{address[0]}:{address[1]} does not answer")


def load(
    hosts: Hosts, kind: str, pid: int, port: int, size: int
) -> tuple[float, float, float]:
    """
    @return: packets relayed a CPU-second, the share of messages lost, and packets
        relayed a second.
    """
    words = ["turnutils_uclient", "-c", "-u", USER, "-w", PASSWORD, "-p", str(port)]
    words += ["-l", str(size), "-m", str(CLIENTS), "-n", str(MESSAGES)]
    words += ["-z", str(INTERVAL)]
    words += ["-y"] if kind == "pairs" else ["-e", hosts.peer, "-r", str(PEER_PORT)]
    words.append(hosts.server)
    if kind == "batches":
        words = [sys.executable, "-m", "bench.relayload", "send", hosts.server]
        words += [str(port), hosts.peer, str(PEER_PORT), str(size), str(RUNS)]
        words.append(str(BATCHING))
    pids = family(pid)
    before, began = list(map(cpuTime, pids)), time.monotonic()
    process = hosts.start("load", words, stdout=subprocess.PIPE, text=True)
    said = process.communicate(timeout=120)[0]
    each = [now - then for now, then in zip(map(cpuTime, pids), before, strict=True)]
    used = sum(each)
    SHARES[:] = [share / used for share in each]
    # The program waits for some seconds at its end; it says how long it sent.
    took = _TIME.findall(said)
    elapsed = float(took[-1]) if took else time.monotonic() - began
    counts = _COUNTS.findall(said)
    if not counts:
        raise SystemExit(said[-2000:])
    sent, received = map(int, counts[-1])
    return 2 * received / used, 1 - received / sent, 2 * received / elapsed


def peer(hosts: Hosts, kind: str) -> subprocess.Popen[Any]:
    """
    @return: who sends back what comes.
    """
    command = ["turnutils_peer", "-L", hosts.peer, "-p", str(PEER_PORT)]
    if kind == "batches":
        command = [sys.executable, "-m", "bench.relayload", "echo"]
        command += [hosts.peer, str(PEER_PORT)]
    silent = subprocess.DEVNULL
    process = hosts.start("peer", command, stdout=silent, stderr=silent)
    answering(hosts, "server", (hosts.peer, PEER_PORT))
    return process


def measure(
    hosts: Hosts, kind: str, size: int, rounds: int, servers: Sequence[str]
) -> None:
    """
    Print a line for each server.
    """
    rates: dict[str, list[float]] = {each: [] for each in servers}
    lost: dict[str, list[float]] = {each: [] for each in servers}
    paces: dict[str, list[float]] = {each: [] for each in servers}
    shares: dict[str, list[float]] = {}
    with ExitStack() as stack:
        if kind != "pairs":
            echo = peer(hosts, kind)
            stack.callback(echo.wait, 10)
            stack.callback(echo.terminate)
        started = {
            each: (stack.enter_context(server(hosts, each, port)), port)
            for port, each in enumerate(servers, 3578)
        }
        for _ in range(rounds):
            for each, (pid, port) in started.items():
                rate, share, pace = load(hosts, kind, pid, port, size)
                paces[each].append(pace)
                rates[each].append(rate)
                lost[each].append(share)
                shares[each] = [*SHARES]
    medians = {e: statistics.median(r[1:] or r) for e, r in rates.items()}
    for each, rate in medians.items():
        ratio = rate / medians["coturn"]
        best = max(rates[each]) / max(rates["coturn"])
        print(
            f"{kind:7} {size:4} {each:7} {rate:>9,.0f} packets/CPU-s"
            f" {ratio:6.2f} x coturn, {best:.2f} at best"
            f"   {100 * statistics.median(lost[each]):.1f} % of messages lost"
            f"   {statistics.median(paces[each]):>9,.0f} packets/s"
            + "".join(
                f" {share:.0%}" for share in shares[each] if len(shares[each]) > 1
            ),
            flush=True,
        )


def main() -> None:
    """
    Measure each load.
    """
    words = sys.argv[1:]
    if words[:1] == ["serve"]:
        host, port = words[1], int(words[2])
        if words[3:]:
            serveWhole(host, port, int(words[3]), words[4])
        else:
            serve(host, port)
        return
    loopback = words[:1] == ["--loopback"]
    words = words[loopback:]
    servers = list(SERVERS)
    if words[:1] == ["--workers"]:
        servers[1:1] = [f"{each} proc." for each in ("1", words[1])]
        words = words[2:]
    global MESSAGES, RUNS, BATCHING
    if words[:1] == ["--clients"]:
        BATCHING = int(words[1])
        words = words[2:]
    sizes: tuple[int, ...] = SIZES
    if words[:1] == ["--short"]:
        sizes, MESSAGES, RUNS = (int(words[1]),), 1500, 150
        words = words[2:]
    rounds = int(words.pop(0)) if words else ROUNDS
    with makeHosts(loopback) as hosts:
        for kind in words or LOADS:
            for size in sizes:
                measure(hosts, kind, size, rounds, servers)


if __name__ == "__main__":
    main()

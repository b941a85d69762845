"""
TCP and TLS connections that are spread over the processes of a rendezvous.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import ssl
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from punchd.services.workerprocess import QUIET
from punchd.services.workerwatch import HUNG, LOOK
from punchd.testing.lab import waitFor
from tests.interop.coturn import needs
from tests.services.test_approach import issue

from .honest import PASSWORD, Honest
from .starting import Started, startedRendezvous
from .tools import connect, echoed, tool

pytestmark = pytest.mark.timeout(120)


def _options(folder: Path) -> list[str]:
    users = folder / "users"
    users.write_text("".join(f"user{n}:{PASSWORD}\n" for n in range(9)))
    users.chmod(0o600)
    return [f"--admit=users:{users}", "--workers=2", "--drain=0"]


def _connections(pid: int, ports: tuple[int, ...]) -> int:
    """
    @return: how many TCP connections to those ports a process has.
    """
    inodes = set()
    for name in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{name}").read_text().splitlines()[1:]:
            fields = line.split()
            if int(fields[1].rpartition(":")[2], 16) in ports and fields[3] == "01":
                inodes.add(f"socket:[{fields[9]}]")
    found = 0
    for each in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found += os.readlink(each) in inodes
        except OSError:
            # It was closed just now.
            continue
    return found


def _spread(started: Started) -> list[int]:
    """
    @return: how many connections each process has.
    """
    ports = (started.address[1],)
    return [_connections(each, ports) for each in started.processes()]


def _tls(port: int, *protocols: str) -> ssl.SSLSocket:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if protocols:
        context.set_alpn_protocols(list(protocols))
    return context.wrap_socket(socket.create_connection(("127.0.0.1", port), 20))


def test_killed(tmp_path: Path) -> None:
    """
    Each process has half of the connections, and all of them talk.  When the worker
    is killed, its own end, and the others go on; the next one is given some again.
    """
    with (
        startedRendezvous(tmp_path / "state", *_options(tmp_path)) as started,
        ExitStack() as stack,
    ):

        def join(number: int) -> Honest:
            joined = Honest(started.address, f"user{number}", stream=True)
            stack.callback(joined.close)
            return joined

        def talk(one: Honest, two: Honest) -> None:
            one.meet(two)
            for said, heard in ((one, two), (two, one)):
                said.send(b"hello", heard.relayed)
                heard.until(lambda: heard.received[-1:] == [b"hello"])  # noqa: B023

        four = [join(number) for number in range(4)]
        assert _spread(started) == [2, 2]
        # The first one is passed on, then one stays, and so on.
        for pair in (four[:2], four[2:], four[::2], four[1::2]):
            talk(*pair)
        _, worker = started.processes()
        os.kill(worker, signal.SIGKILL)
        for each in four[::2]:
            with pytest.raises(ConnectionError):
                each.until(lambda: False)
        talk(*four[1::2])
        log = Path(f"{tmp_path}/state.log")
        waitFor(lambda: log.read_text().count("is at work") == 2, 20, "another worker")
        four[::2] = [join(4), join(5)]
        assert _spread(started) == [2, 2]
        talk(*four[:2])
        assert "and with it 2 allocations" in log.read_text()


def test_hangs(tmp_path: Path) -> None:
    """
    A worker that is stopped gets no connections after some seconds, and is started
    again after half a minute.
    """
    log = Path(f"{tmp_path}/state.log")
    with (
        startedRendezvous(tmp_path / "state", *_options(tmp_path)) as started,
        ExitStack() as stack,
    ):

        def join(number: int) -> Honest:
            joined = Honest(started.address, f"user{number}", stream=True)
            stack.callback(joined.close)
            return joined

        stopped, _ = join(0), join(1)
        assert _spread(started) == [1, 1]
        os.kill(started.processes()[1], signal.SIGSTOP)
        time.sleep(LOOK * (QUIET + 2))
        for number in (2, 3, 4):
            join(number)
        assert _spread(started) == [4, 1]
        said = "worker 1 has said nothing for 30 seconds"
        waitFor(lambda: said in log.read_text(), 2 * HUNG * LOOK, said)
        with pytest.raises(ConnectionError):
            stopped.until(lambda: False)
        waitFor(lambda: log.read_text().count("is at work") == 2, 20, "another worker")
        join(5)
        assert _spread(started) == [4, 1]


@pytest.mark.parametrize("protocols", [[], ["stun.turn"], ["punchd-turn/1"]])
def test_certificate(tmp_path: Path, protocols: list[str]) -> None:
    """
    All processes show the certificate, and on SIGHUP the one that was renewed.
    """
    file = tmp_path / "certificate.pem"

    def renew() -> str:
        pem, _ = issue("meet.example", tmp_path)
        file.write_bytes(pem)
        file.chmod(0o600)
        shown = ssl.PEM_cert_to_DER_cert(
            re.findall(r"-----BEGIN C.*?END C\S+-----", pem.decode(), re.S)[0]
        )
        return shown.hex()

    first = renew()
    options = [*_options(tmp_path), f"--certificate={file}"]
    with (
        startedRendezvous(tmp_path / "state", *options) as started,
        ExitStack() as stack,
    ):

        def shown() -> set[str]:
            found = set()
            for _ in range(4):
                sock = stack.enter_context(_tls(started.address[1], *protocols))
                assert sock.selected_alpn_protocol() in (None, *protocols)
                found.add((sock.getpeercert(binary_form=True) or b"").hex())
            return found

        assert shown() == {first}
        second = renew()
        os.kill(started.pid, signal.SIGHUP)
        log = Path(f"{tmp_path}/state.log")
        waitFor(lambda: "holds now" in log.read_text(), 20, "the reload")
        assert shown() == {second}
        assert all(_spread(started))


def test_coturnsClients(tmp_path: Path) -> None:
    """
    Clients of C{turnutils_uclient}, over TCP and over TLS, exchange all their messages
    through both processes.
    """
    words = [needs("turnutils_uclient"), "-y", "-c", "-u", "user1", "-w", PASSWORD]
    options = [*_options(tmp_path), "--relay-limit=user.allocations=100"]
    with startedRendezvous(tmp_path / "state", *options) as started:
        host, port = started.address
        ends = ["-p", str(port), "-m", "4", "-n", "10", "-l", "200", "-z", "5", host]
        running = [
            subprocess.Popen(
                [*words, *how, *ends],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for how in (["-t"], ["-t", "-S"])
        ]
        most = [0, 0]

        def ended() -> bool:
            most[:] = map(max, most, _spread(started))
            return all(each.poll() is not None for each in running)

        waitFor(ended, 60, "the clients")
        for each in running:
            said = each.communicate()[0]
            counts = re.findall(r"tot_send_msgs=(\d+), tot_recv_msgs=(\d+)", said)
            assert counts, said
            assert counts[-1] == ("40", "40"), said
            assert "Total lost packets 0 " in said, said
        # Both were at work; how evenly depends on who comes when.
        assert all(each >= 2 for each in most), most


def test_ourClients(product) -> None:
    """
    Two clients without UDP, one of which gets through by TLS only, talk over the relay
    of several processes; when all workers are killed, the same connection goes on.
    """
    running = product(
        "udpblocked",
        "tcp443",
        a=["--forward=tcp:7000=b/echo"],
        b=["--publish=echo=tcp:127.0.0.1:7"],
        rendezvous=["--workers=3", "--drain=0"],
    )
    tool(running.lab.hostB, "echo", 7)
    sock = connect(running.lab.hostA, 7000)
    sock.settimeout(60)
    assert echoed(sock, b"hello") == b"hello"
    for letter in "ab":
        running.whenPath("relayed", letter)
    first = running.processes["rendezvous"].pid
    started = Started(running.url, first)
    log = running.log("rendezvous")
    waitFor(lambda: "relaying at" in log.read_text(), 20, "an allocation")
    processes = started.processes()
    spread = [_connections(each, (3478, 443)) for each in processes]
    print(f"connections by process: {spread}")
    # Signaling is with the first one.
    assert spread[0] >= 2
    assert sum(spread) >= 4
    for each in processes[1:]:
        os.kill(each, signal.SIGKILL)
    assert echoed(sock, b"again") == b"again"
    waitFor(lambda: log.read_text().count("is at work") == 4, 20, "other workers")

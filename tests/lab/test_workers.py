"""
A rendezvous of several processes, with real programs.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time

import pytest

from punchd.testing.lab.namespaces import waitFor
from tests.interop.coturn import needs

from .spread import portAt
from .tools import connect, echoed, tool

pytestmark = pytest.mark.timeout(120)

_SERVER = "203.0.113.10"
_PROCESSES = 2
#: Where open clients are.
_HOSTS = {"a": "198.51.100.130", "b": "192.0.2.130"}


#: Asks for an allocation, and says what came of it.
_ALLOCATE = """
import os, socket, sys
from punchd.stun.attributes import UDP, Attribute
from punchd.stun.message import Method, parse, request
from punchd.turn.credentials import longTermKey
host, port, server, password = sys.argv[1:]
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.bind((host, int(port)))
sock.connect((server, 3478))
sock.settimeout(5)
def ask(message, **how):
    sock.send(message.serialize(**how))
    return parse(sock.recv(2048))
def allocate():
    wanted = (Attribute.REQUESTED_TRANSPORT, UDP)
    return request(Method.ALLOCATE, os.urandom(12), wanted)
nonce = ask(allocate()).get(Attribute.NONCE)
message = allocate().add(Attribute.USERNAME, "alice")
message.add(Attribute.REALM, "punchd").add(Attribute.NONCE, nonce)
answer = ask(message, key=longTermKey("alice", "punchd", password))
error = answer.get(Attribute.ERROR_CODE)
print("allocated" if error is None else error[0])
"""


def _workers(running) -> list[int]:
    """
    @return: the processes that the rendezvous has started.
    """
    pid = running.processes["rendezvous"].pid
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return [int(each) for each in file.read().split()]


def test_coturnsClients(product, tmp_path):
    """
    Many clients of C{turnutils_uclient}, which meet either process, exchange all
    their messages through relayed addresses of both.
    """
    (tmp_path / "users").write_text("alice:password\n")
    (tmp_path / "users").chmod(0o600)
    running = product(
        "portrestricted",
        "open",
        rendezvous=[
            f"--workers={_PROCESSES}",
            f"--admit=users:{tmp_path}/users",
            "--relay-limit=user.allocations=100",
        ],
    )
    assert len(_workers(running)) == _PROCESSES - 1
    words = [needs("turnutils_uclient"), "-y", "-c", "-u", "alice", "-w", "password"]
    commands = [[*words, "-m", "20"], [*words, "-m", "10", "-s"]]
    started = [
        running.hosts[letter].popen(
            [*each, "-n", "10", "-l", "200", "-z", "5", _SERVER],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        for letter, each in zip("ab", commands, strict=True)
    ]
    for each in started:
        said = each.communicate(timeout=60)[0].decode()
        counts = re.findall(r"tot_send_msgs=(\d+), tot_recv_msgs=(\d+)", said)
        assert counts, said
        assert counts[-1][0] == counts[-1][1] != "0", said
        assert "Total lost packets 0 " in said, said


def test_changes(product, tmp_path):
    """
    On SIGHUP every process has the users that are listed now: clients who meet either
    one get through with the new password, and none does with the old one.
    """
    file = tmp_path / "users"
    file.write_text("alice:password\n")
    file.chmod(0o600)
    running = product(
        "open",
        "open",
        rendezvous=[
            f"--workers={_PROCESSES}",
            f"--admit=users:{file}",
            "--relay-limit=user.allocations=100",
        ],
    )
    file.write_text("alice:another\n")
    running.processes["rendezvous"].send_signal(signal.SIGHUP)
    log = running.log("rendezvous")
    waitFor(lambda: "holds now" in log.read_text(), 20, "the reload")

    def answer(process: int, password: str) -> str:
        found = running.hosts["a"].run(
            [sys.executable, "-c", _ALLOCATE, _HOSTS["a"]]
            + [str(portAt(_HOSTS["a"], process, _PROCESSES)), _SERVER, password],
            capture_output=True,
        )
        return str(found.stdout.strip())

    for each in range(_PROCESSES):
        # The first process has told the others, who read the file themselves.
        waitFor(lambda: answer(each, "another") == "allocated", 30, "who is listed")  # noqa: B023
        assert answer(each, "password") == "401"


def test_relayedByBoth(product, record_property):
    """
    Two clients who meet different processes talk through the relayed addresses of
    both.  When the worker is killed, the same connection goes on through the next.
    """
    ports = {
        letter: portAt(_HOSTS[letter], at, _PROCESSES) for at, letter in enumerate("ab")
    }
    running = product(
        "open",
        "open",
        a=["--path=relay", f"--port={ports['a']}", "--forward=tcp:7000=b/echo"],
        b=["--path=relay", f"--port={ports['b']}", "--publish=echo=tcp:127.0.0.1:7"],
        # So that none of the two is reached but where it is relayed.
        rendezvous=[
            f"--workers={_PROCESSES}",
            "--metrics=tcp:9100",
            *(f"--relay-deny={host}" for host in _HOSTS.values()),
        ],
    )
    for letter in "ab":
        seen = f"{_HOSTS[letter]}:{ports[letter]}"
        assert running.status(letter)["nat"]["publicAddresses"] == [seen]
    tool(running.lab.hostB, "echo", 7)
    sock = connect(running.lab.hostA, 7000)
    assert echoed(sock, b"hello") == b"hello"
    for letter in "ab":
        running.whenPath("relayed", letter)
        path = running.session(letter)["path"]
        for each in (path["local"], path["remote"]):
            assert each.startswith(f"{_SERVER}:"), path
    (worker,) = _workers(running)
    os.kill(worker, signal.SIGKILL)
    began = time.monotonic()
    sock.settimeout(60)
    assert echoed(sock, b"again") == b"again"
    took = time.monotonic() - began
    print(f"again after {took:.1f} s")
    record_property("seconds", took)
    log = running.log("rendezvous")
    waitFor(lambda: log.read_text().count("is at work") == 2, 20, "another worker")
    assert _workers(running) != [worker]
    assert "worker 1 has ended" in log.read_text()
    numbers = running.lab.rendezvous.run(
        ["curl", "-sS", "-m", "5", "http://127.0.0.1:9100/metrics"], capture_output=True
    )
    assert "punchd_worker_restarts_total 1.0" in numbers.stdout

"""
Coturn's clients against our Binding server and our relay.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop.coturn import ServerShell, echoes, freePort, needs, running, udp

HOSTS = ("127.0.0.1", "127.0.0.2")


@pytest.fixture(name="shell")
def _shell() -> Iterator[ServerShell]:
    """
    @return: a server with two addresses and two ports.
    """
    shell = ServerShell(HOSTS, (freePort(), freePort()))
    yield shell
    shell.stop()


def portOf(shell: ServerShell) -> str:
    """
    @return: the first port, as an argument.
    """
    return str(next(iter(shell.sockets))[1])


def assertAllBack(output: str, sent: int) -> None:
    """
    Fail unless C{turnutils_uclient} says that all its messages came back.
    """
    counts = re.findall(r"tot_send_msgs=(\d+), tot_recv_msgs=(\d+)", output)
    assert counts, output
    assert counts[-1] == (str(sent), str(sent)), output
    assert "Total lost packets 0 " in output, output


@pytest.mark.parametrize("sending", [(), ("-s",)], ids=["channels", "indications"])
@pytest.mark.parametrize("user", [("-u", "user", "-w", "password"), ("-W", "north")])
def test_clientToClient(
    shell: ServerShell, sending: tuple[str, ...], user: tuple[str, ...]
) -> None:
    """
    C{turnutils_uclient -y}: pairs of clients exchange data, relay to relay,
    over channels or by indications, with a password or the shared secret.
    """
    if user[0] == "-W":
        user = ("-u", "alice", *user)
    command = [needs("turnutils_uclient"), "-y", "-c", *sending, *user]
    command += ["-n", "20", "-m", "4", "-l", "200", "-z", "5"]
    output = shell.run([*command, "-p", portOf(shell), HOSTS[0]])
    assertAllBack(output, 4 * 20)
    shell.server.timeReached(1e12)
    assert shell.server.allocations() == []


def test_peer(shell: ServerShell, tmp_path: Path) -> None:
    """
    C{turnutils_uclient} with C{turnutils_peer} on another host echoes all.
    """
    port = str(freePort("127.0.0.3"))
    peer = [needs("turnutils_peer"), "-L", "127.0.0.3", "-p", port]
    place = "127.0.0.3", int(port)
    with running(peer, tmp_path, lambda: echoes(place, udp(place[0]))):
        command = [needs("turnutils_uclient"), "-c", "-u", "user", "-w", "password"]
        command += ["-e", "127.0.0.3", "-r", port, "-n", "20", "-m", "2", "-z", "5"]
        output = shell.run([*command, "-p", portOf(shell), HOSTS[0]])
    assertAllBack(output, 2 * 20)


def test_wrongPassword(shell: ServerShell) -> None:
    """
    C{turnutils_uclient} with a wrong password gets no allocation.
    """
    command = [needs("turnutils_uclient"), "-y", "-c", "-u", "user", "-w", "guess"]
    output = shell.run([*command, "-n", "1", "-p", portOf(shell), HOSTS[0]])
    assert "tot_recv_msgs" not in output
    assert shell.server.allocations() == []
    assert shell.server.counters["401"] >= 2


def test_stunclient(shell: ServerShell) -> None:
    """
    C{turnutils_stunclient} reads its own address, and RFC 5780 works.
    """
    command = [needs("turnutils_stunclient"), "-p", portOf(shell), HOSTS[0]]
    output = shell.run(command)
    assert re.search(r"UDP reflexive addr: 127\.0\.0\.1:\d+", output), output
    assert "RFC 5780" in output, output


def test_natdiscovery(shell: ServerShell) -> None:
    """
    C{turnutils_natdiscovery} finds no NAT and no filter on loopback: it needs
    answers from each of our addresses and ports, as asked.
    """
    command = [needs("turnutils_natdiscovery"), "-m", "-f", "-p", portOf(shell)]
    output = shell.run([*command, "-L", HOSTS[0], HOSTS[0]])
    assert "NAT with Endpoint Independent Filtering" in output, output
    assert "No NAT" in output or "Endpoint Independent Mapping" in output, output

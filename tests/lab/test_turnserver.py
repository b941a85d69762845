"""
C{twistd punch-rendezvous} as a plain TURN server, with real programs and routers.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
from typing import Any

import pytest

from punchd.core import Address
from punchd.stun.attributes import UDP, Attribute
from punchd.stun.message import Message, Method, indication, parse, request
from punchd.testing.lab.product import Product
from punchd.turn.credentials import longTermKey
from tests.interop.coturn import needs

pytestmark = pytest.mark.timeout(120)

_SERVER = ("203.0.113.10", 3478)
#: A host of the public network.
_PEER = "198.51.100.77"
_TRANSPORT = (Attribute.REQUESTED_TRANSPORT, UDP)


@pytest.fixture(name="running")
def _running(makeLab, tmp_path):
    """
    @return: a rendezvous with users and a secret, and nobody else.
    """
    for name, content in (("users", "alice:password\n"), ("secret", "north\n")):
        (tmp_path / name).write_text(content)
        (tmp_path / name).chmod(0o600)
    lab = makeLab("portrestricted", "open", delay=0)
    lab.public.run(["ip", "address", "add", f"{_PEER}/32", "dev", "lo"], check=True)
    product = Product(lab, tmp_path)
    try:
        product.startRendezvous(
            f"--admit=users:{tmp_path}/users",
            f"--relay-secret={tmp_path}/secret",
            "--realm=example.org",
            "--relay-deny=198.51.100.78",
        )
        yield product
        assert product.end("rendezvous") in (0, -15)
    finally:
        product.close()
    assert "Traceback" not in product.log("rendezvous").read_text()


class Client:
    """
    Somebody behind a NAT who says what he is told.
    """

    def __init__(self, product: Product) -> None:
        self.socket = product.hosts["a"].socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.settimeout(20)
        self.socket.connect(_SERVER)
        self.key = longTermKey("alice", "example.org", "password")
        self.nonce = b""
        self.nonce = self.ask(Method.ALLOCATE, _TRANSPORT).get(Attribute.NONCE)

    def read(self) -> Message:
        """
        @return: the next message.
        """
        return parse(self.socket.recv(4096))

    def ask(self, method: int, *attributes: tuple[int, Any]) -> Message:
        """
        @return: the answer.
        """
        message = request(method, os.urandom(12), *attributes)
        if self.nonce:
            message.add(Attribute.USERNAME, "alice")
            message.add(Attribute.REALM, "example.org")
            message.add(Attribute.NONCE, self.nonce)
        self.socket.send(message.serialize(key=self.key if self.nonce else None))
        return self.read()

    def code(self, method: int, *attributes: tuple[int, Any]) -> int:
        """
        @return: the error code of the answer, or 0.
        """
        answer = self.ask(method, *attributes)
        found: int = answer.get(Attribute.ERROR_CODE, (0, ""))[0]
        return found

    def say(self, data: bytes, peer: Address, *attributes: tuple[int, Any]) -> None:
        """
        Send through the relay.
        """
        where = (Attribute.XOR_PEER_ADDRESS, peer)
        words = (where, (Attribute.DATA, data), *attributes)
        self.socket.send(indication(Method.SEND, os.urandom(12), *words).serialize())


def test_coturnsClient(running):
    """
    C{turnutils_uclient} exchanges all its messages, relay to relay: with passwords
    of the shared secret, over pairs of ports and without, sent whole, by IPv6, and
    with addresses of both families, either or both of which it refreshes by chance.
    """
    commands = [
        [needs("turnutils_uclient"), "-y", *words, "-u", f"user{number}", "-W", "north"]
        for number, words in enumerate((["-c"], ["-g"], ["-x", "-s"], ["-Z"]))
    ]
    options = ["-n", "5", "-m", "2", "-l", "200", "-z", "5", _SERVER[0]]
    started = [
        running.hosts["b"].popen(
            [*each, *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        for each in commands
    ]
    for each in started:
        said = each.communicate(timeout=60)[0].decode()
        counts = re.findall(r"tot_send_msgs=(\d+), tot_recv_msgs=(\d+)", said)
        assert counts, said
        assert counts[-1][0] == counts[-1][1] != "0", said
        assert "Total lost packets 0 " in said, said


def test_peersOfThePublicNetwork(running):
    """
    A listed user reaches a stranger who is not denied, whole if he wants, and is
    told when nobody listens there.
    """
    client = Client(running)
    public = running.lab.public
    with (
        client.socket,
        public.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer,
        public.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP) as raw,
    ):
        for each in (peer, raw):
            each.bind((_PEER, 0))
            each.settimeout(20)
        where = peer.getsockname()
        answer = client.ask(Method.ALLOCATE, _TRANSPORT)
        relayed = answer.get(Attribute.XOR_RELAYED_ADDRESS)
        assert relayed[0] == _SERVER[0]
        permission = (Attribute.XOR_PEER_ADDRESS, where)
        assert client.code(Method.CREATE_PERMISSION, permission) == 0
        whole = (Attribute.DONT_FRAGMENT, True)
        for words, fragments in (((), False), ((whole,), True), ((), False)):
            client.say(b"hello", where, *words)
            assert peer.recvfrom(2048) == (b"hello", relayed)
            assert bool(raw.recv(2048)[6] & 0x40) is fragments
        peer.sendto(b"hello yourself", relayed)
        assert client.read().get(Attribute.DATA) == b"hello yourself"
        peer.close()
        client.say(b"still there?", where)
        told = client.read()
        assert told.attributes == [
            (Attribute.XOR_PEER_ADDRESS, where),
            (Attribute.ICMP, (3, 3, 0)),
        ]
        for host in ("198.51.100.78", "10.0.0.1", "127.0.0.1", "203.0.113.11"):
            denied = (Attribute.XOR_PEER_ADDRESS, (host, 0))
            assert client.code(Method.CREATE_PERMISSION, denied) == 403
        assert client.code(Method.REFRESH, (Attribute.LIFETIME, 0)) == 0

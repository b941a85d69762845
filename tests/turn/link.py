"""
A relay, its clients and their peers on a link that loses nothing unless told,
in a time that only the test moves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import Any

from punchd.core import Address, Core, Datagram
from punchd.stun.attributes import UDP, Attribute
from punchd.stun.limit import NoLimit
from punchd.stun.message import Message, Method, isMessage, parse, request
from punchd.turn.client import Client
from punchd.turn.credentials import longTermKey, makeCredentials
from punchd.turn.guards import SecretUsers, StaticUsers
from punchd.turn.server import Server

REALM = "punchd"
SECRET = b"a secret of many"
LISTEN = ("203.0.113.10", 3478)
RELAY = "203.0.113.10"
CLIENT = ("198.51.100.7", 40000)
OTHER = ("198.51.100.99", 40000)
PEER = ("192.0.2.77", 5000)
WALL = 1_800_000_000.0


def entropy() -> Callable[[int], bytes]:
    """
    @return: bytes that differ at each call and are the same in each run.
    """
    numbers = count(1)
    return lambda size: next(numbers).to_bytes(8, "big").rjust(size, b"e")[-size:]


class Ports:
    """
    Relayed addresses without sockets.
    """

    def __init__(self, hosts: Mapping[int, str] | None = None, limit: int = 9999):
        self.hosts = {4: RELAY, 6: "2001:db8::10"} if hosts is None else hosts
        self.limit = limit
        self.live: list[Address] = []
        self.taken: set[int] = set()
        self._next = count(50001)

    @property
    def families(self) -> set[int]:
        """
        @return: those that there are hosts of.
        """
        return set(self.hosts)

    def open(self, family: int, even: bool = False, number: int = 0) -> Address | None:
        """
        @return: the next port that has not been used yet, or the one asked for.
        """
        if family not in self.hosts or len(self.live) >= self.limit:
            return None
        port = number or next(self._next)
        while not number and ((even and port % 2) or self._isOpen(family, port)):
            port = next(self._next)
        address = (self.hosts[family], port)
        if self._isOpen(family, port) or port in self.taken:
            return None
        self.live.append(address)
        return address

    def _isOpen(self, family: int, port: int) -> bool:
        return (self.hosts[family], port) in self.live

    def close(self, address: Address) -> None:
        """
        Closing twice, or what was never opened, fails.
        """
        self.live.remove(address)


class Users(SecretUsers):
    """
    Those of the shared secret; they may allocate, and reach everybody, unless
    told otherwise.
    """

    def __init__(self, link: Link) -> None:
        super().__init__("secret", SECRET, lambda: WALL + link.now)
        self.refused: set[str] = set()
        self.hosts: set[str] | None = None

    def mayAllocate(self, username: str, remote: Address) -> bool:
        """
        @return: whether the name is not refused.
        """
        return username not in self.refused

    def mayRelay(self, username: str, peerHost: str) -> bool:
        """
        @return: whether the host is one of those allowed, if some are named.
        """
        return self.hosts is None or peerHost in self.hosts


class Link:
    """
    @ivar outside: what the relay sent to peers that are no clients.
    @ivar sizes: sizes of what clients sent to the relay, in order.
    @ivar drop: tells which datagrams between clients and relay get lost.
    """

    def __init__(self, **options: Any) -> None:
        self.now = 1000.0
        self.ports: Ports = options.pop("ports", None) or Ports()
        self.admission = Users(self)
        #: Has the same rights, and no expiry.
        users = options.pop("users", {"user": "password"})
        self.static = StaticUsers("static", users)
        vars(self.static).update(
            mayAllocate=self.admission.mayAllocate, mayRelay=self.admission.mayRelay
        )
        settings = {
            "realm": REALM,
            "guards": [self.admission, self.static],
            "entropy": entropy(),
            "limit": NoLimit(),
            "ports": self.ports,
        }
        make = options.pop("make", Server)
        self.server: Server = make(**{**settings, **options})
        self.clients: dict[Address, Client] = {}
        self.events: dict[Address, list[object]] = {}
        self.outside: list[Datagram] = []
        self.sizes: list[int] = []
        self.drop: Callable[[bytes], bool] = lambda data: False
        self.entropy = entropy()

    def client(self, address: Address = CLIENT, family: int = 4) -> Client:
        """
        @return: a client that sends from C{address}.
        """
        client = Client(LISTEN, entropy=self.entropy, family=family)
        client.rtt = 0.05
        self.clients[address] = client
        self.events[address] = []
        return client

    def credentials(self, handle: str = "handle") -> tuple[str, str, str, bytes]:
        """
        @return: name, password, realm and nonce as signaling hands them out.
        """
        expiry = WALL + self.now + 600
        username, password = makeCredentials(SECRET, handle, expiry)
        return username, password, REALM, self.server.nonceFor(username, self.now)

    def allocated(self, address: Address = CLIENT, handle: str = "handle") -> Client:
        """
        @return: a client that has an allocation, with no event left.
        """
        client = self.client(address)
        client.allocate(*self.credentials(handle), self.now)
        self.pump()
        assert client.relayed is not None
        self.take(address)
        return client

    def take(self, address: Address = CLIENT) -> list[object]:
        """
        @return: the events of that client so far.
        """
        taken, self.events[address] = self.events[address], []
        return taken

    def pump(self) -> None:
        """
        Carry datagrams until nobody has any.
        """
        moved = True
        while moved:
            moved = False
            for address, client in self.clients.items():
                for each in client.takeDatagrams():
                    moved = True
                    assert each.remote == LISTEN
                    self.sizes.append(len(each.data))
                    if not self.drop(each.data):
                        self.server.datagramReceived(
                            each.data, LISTEN, address, self.now
                        )
                self.events[address].extend(client.takeEvents())
            for each in self.server.takeDatagrams():
                moved = True
                if each.local != LISTEN:
                    self.outside.append(each)
                elif each.remote in self.clients and not self.drop(each.data):
                    client = self.clients[each.remote]
                    client.datagramReceived(each.data, each.remote, LISTEN, self.now)

    def advance(self, seconds: float) -> None:
        """
        Let time pass, stopping at every deadline.
        """
        until = self.now + seconds
        self.pump()
        while True:
            cores: list[Core] = [self.server, *self.clients.values()]
            times = [each.deadline() for each in cores]
            due = min((each for each in times if each is not None), default=until)
            if due > until:
                break
            self.now = max(self.now, due)
            for core in cores:
                core.timeReached(self.now)
            self.pump()
            if due == until:
                break
        self.now = until

    def fromPeer(self, data: bytes, relayed: Address, peer: Address = PEER) -> None:
        """
        A peer sends to a relayed address.
        """
        self.server.datagramReceived(data, relayed, peer, self.now)
        self.pump()


class Raw:
    """
    A client that says what it is told, byte by byte.
    """

    def __init__(
        self,
        link: Link,
        address: Address = CLIENT,
        username: str = "user",
        password: str = "password",
        local: Address = LISTEN,
    ) -> None:
        self.link = link
        self.address = address
        self.local = local
        self.username = username
        self.key = longTermKey(username, REALM, password)
        self.nonce = link.server.nonceFor(username, link.now)

    def send(self, data: bytes) -> list[Datagram]:
        """
        @return: what the relay sends upon these bytes, to wherever.
        """
        link = self.link
        link.server.datagramReceived(data, self.local, self.address, link.now)
        return list(link.server.takeDatagrams())

    def build(self, method: int, *attributes: tuple[int, Any]) -> bytes:
        """
        @return: a signed request.
        """
        message = request(method, self.link.entropy(12), *attributes)
        message.add(Attribute.USERNAME, self.username)
        message.add(Attribute.REALM, REALM)
        message.add(Attribute.NONCE, self.nonce)
        return message.serialize(key=self.key)

    def ask(self, method: int, *attributes: tuple[int, Any]) -> Message:
        """
        @return: the answer to a signed request.
        """
        (answer,) = self.send(self.build(method, *attributes))
        assert (answer.local, answer.remote) == (self.local, self.address)
        message = parse(answer.data)
        if not message.hasIntegrity:
            assert message.get(Attribute.ERROR_CODE)[0] in (400, 401, 438)
        else:
            assert message.checkIntegrity(self.key)
        return message

    def code(self, method: int, *attributes: tuple[int, Any]) -> int:
        """
        @return: the error code of the answer, 0 for success.
        """
        code: int = self.ask(method, *attributes).get(Attribute.ERROR_CODE, (0, ""))[0]
        return code

    def allocate(self, *attributes: tuple[int, Any]) -> Message:
        """
        @return: the answer to an Allocate for UDP.
        """
        return self.ask(
            Method.ALLOCATE, (Attribute.REQUESTED_TRANSPORT, UDP), *attributes
        )

    def permit(self, *hosts: str) -> int:
        """
        @return: the code of the answer to a CreatePermission.
        """
        peers = [(Attribute.XOR_PEER_ADDRESS, (host, 0)) for host in hosts]
        return self.code(Method.CREATE_PERMISSION, *peers)

    def bind(self, number: int, peer: Address) -> int:
        """
        @return: the code of the answer to a ChannelBind.
        """
        return self.code(
            Method.CHANNEL_BIND,
            (Attribute.CHANNEL_NUMBER, number),
            (Attribute.XOR_PEER_ADDRESS, peer),
        )


def kinds(datagrams: Sequence[Datagram]) -> list[str]:
    """
    @return: the names of methods, or C{"ChannelData"}.
    """
    return [
        Method(parse(each.data).method).name if isMessage(each.data) else "ChannelData"
        for each in datagrams
    ]

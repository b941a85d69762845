"""
Somebody who speaks the protocol and does not play by its rules: blocking sockets
in the test's process, one thing at a time.
"""

from __future__ import annotations

import os
import socket
import ssl
import tempfile
import time
from typing import Any

from twisted.protocols import amp

from punchd.core import Address
from punchd.errors import PeerUnavailable
from punchd.identity import Identity
from punchd.signaling.commands import VERSION, Dial, Register
from punchd.signaling.offer import Offer
from punchd.signaling.url import RendezvousURL
from punchd.stun.attributes import Attribute
from punchd.stun.message import TRANSACTION_ID, Method, parse, request

from .probing import PATIENCE, expect


def shakeHands(opened: socket.socket, url: str, identity: Identity) -> ssl.SSLSocket:
    """
    @param opened: a TCP socket that is not connected.

    @return: a connection to the rendezvous, for signaling.
    """
    where = RendezvousURL.parse(url)
    opened.settimeout(PATIENCE)
    opened.connect((where.host, where.ports[0]))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["punchd/1"])
    with tempfile.NamedTemporaryFile() as file:
        file.write(identity.keyPEM() + identity.certificatePEM())
        file.flush()
        context.load_cert_chain(file.name)
    return context.wrap_socket(opened)


class Attacker:
    """
    I have an identity and a connection to the rendezvous.

    @ivar registration: what the rendezvous has answered.
    @ivar server: where it listens for UDP.
    @ivar tls: the connection.
    """

    def __init__(self, opened: socket.socket, url: str, identity: Identity) -> None:
        """
        @param opened: a TCP socket of the host that I am on.
        """
        self.identity = identity
        self._asked = 0
        self.tls = shakeHands(opened, url, identity)
        self.registration = self.ask(Register, version=VERSION, agent="mallory")
        self.server: Address = next(
            (host, port) for host, port in self.registration["stun"] if ":" not in host
        )

    # --- signaling

    def ask(self, command: type[amp.Command], **arguments: Any) -> dict[str, Any]:
        """
        Send a command and wait for its answer.

        @raise PeerUnavailable: that was the answer, and how it was put.
        """
        self._asked += 1
        number = b"%x" % self._asked
        self.tell(command, number, **arguments)
        while True:
            got = self._readBox()
            if got.get(b"_answer") == number:
                answer: dict[str, Any] = command.parseResponse(got, None)
                return answer
            if got.get(b"_error") == number:
                assert got[b"_error_code"] == b"PEER_UNAVAILABLE", got
                raise PeerUnavailable(got[b"_error_description"].decode())

    def tell(
        self, command: type[amp.Command], number: bytes = b"", **arguments: Any
    ) -> None:
        """
        Send a command.

        @param number: asks for an answer.
        """
        made: dict[bytes, bytes] = command.makeArguments(arguments, None)
        box = amp.Box({**made, b"_command": command.commandName})
        if number:
            box[b"_ask"] = number
        self.tls.sendall(box.serialize())

    def _readBox(self) -> dict[bytes, bytes]:
        box: dict[bytes, bytes] = {}
        while key := self._readString():
            box[key] = self._readString()
        return box

    def _readString(self) -> bytes:
        return self._read(int.from_bytes(self._read(2), "big"))

    def _read(self, size: int) -> bytes:
        found = b""
        while len(found) < size:
            more = self.tls.recv(size - len(found))
            assert more, "the rendezvous closed the connection"
            found += more
        return found

    def offer(self, peer: str, **changes: Any) -> Offer:
        """
        @return: an offer that is good, but for the changes.
        """
        values: dict[str, Any] = {
            "sender": self.identity.peerId,
            "recipient": peer,
            "dialId": os.urandom(8).hex(),
            "time": time.time(),
            "incarnation": os.urandom(8).hex(),
            "ufrag": "mallory",
            "password": "apasswordofenoughletters",
            "done": True,
        }
        return Offer(**{**values, **changes})

    def dial(
        self, peer: str, offer: Offer, sealed: bytes | None = None
    ) -> dict[str, Any]:
        """
        Dial with an offer.

        @param sealed: what to send instead of the offer under my signature.
        """
        sealed = offer.seal(self.identity) if sealed is None else sealed
        return self.ask(Dial, peer=peer, dialId=offer.dialId, offer=sealed, flight=[])

    def refusal(self, peer: str, offer: Offer, sealed: bytes | None = None) -> str:
        """
        Dial in vain.

        @return: the words of the refusal.
        """
        try:
            self.dial(peer, offer, sealed)
        except PeerUnavailable as e:
            return str(e)
        raise AssertionError("that dial was answered")

    # --- observation

    def binding(self, nonce: bytes | None = None) -> bytes:
        """
        @return: a Binding request under my registration.
        """
        attributes: list[tuple[int, Any]] = [
            (Attribute.USERNAME, self.registration["handle"])
        ]
        if nonce is not None:
            attributes.append((Attribute.NONCE, nonce))
        made = request(Method.BINDING, os.urandom(TRANSACTION_ID), *attributes)
        return made.serialize(key=self.registration["key"])

    def prove(self, sock: socket.socket) -> bytes:
        """
        Have the address of a UDP socket observed, as honest clients do.

        @return: the nonce, which was good for it.
        """
        sock.sendto(self.binding(), self.server)
        nonce: bytes = parse(expect(sock)[0]).get(Attribute.NONCE)
        sock.sendto(self.binding(nonce), self.server)
        assert parse(expect(sock)[0]).get(Attribute.NONCE) == nonce
        return nonce

    def close(self) -> None:
        """
        Leave.
        """
        self.tls.close()

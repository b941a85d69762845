"""
Kernel namespaces as a stage: the programs are C{twistd}'s, as a user starts them,
and the NATs Linux's own.
"""

from __future__ import annotations

import hashlib
import os
import select
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..lab import Lab
from ..lab.product import Product
from .events import Event, EventFile
from .stage import (
    ECHO,
    HEAD,
    PERIOD,
    SUM,
    Chatter,
    DemoFailed,
    Place,
    Stage,
    Summing,
    Transfer,
)

_LOGGER = "punchd.testing.demo.events.EventWriter"
#: Ports of B's programs, and of A's forwards to them.
_PORTS = {ECHO: 7001, SUM: 7002}
_FORWARDS = {ECHO: 7011, SUM: 7012}
_CHUNK = 1 << 18
#: Seconds between two looks at the logs.
_STEP = 0.01
#: Seconds in which a connection has to say something.
_SILENCE = 20.0

_PROGRAMS = (("rendezvous", "rendezvous"), ("a", "A"), ("b", "B"))


class KernelStage(Stage):
    """
    I am a L{Product} in a L{Lab}.
    """

    title = "kernel network namespaces"
    size = 20_000_000

    def __init__(self, kindA: str, kindB: str, delay: float) -> None:
        """
        Build the lab.

        @raise ValueError: the kinds are unknown here, or do not go together.
        @raise LabError<punchd.testing.lab.LabError>: there can be no lab.
        """
        self.delay = delay
        same = "lan" in (kindA, kindB)
        self._lab = Lab(kindA, kindB, delay=delay, sameNat=same)
        self._folder: Path | None = None
        self._product: Product | None = None
        self._talk: socket.socket | None = None
        self._began = 0.0
        self._files: list[EventFile] = []
        self._letters: dict[str, str] = {}
        self._lab.open()
        try:
            self.rendezvous = self._lab.rendezvous.address
            self.places = {
                letter: Place(kind, host.address, host.public[0])
                for letter, kind, host in (
                    ("A", kindA, self._lab.hostA),
                    ("B", kindB, self._lab.hostB),
                )
            }
        except BaseException:
            self.close()
            raise

    @property
    def _running(self) -> Product:
        assert self._product is not None
        return self._product

    # --- events

    def now(self) -> float:
        # The clock of the logs.
        return time.time()

    def step(self) -> list[Event]:
        time.sleep(_STEP)
        if self._product is not None:
            for name, process in self._product.processes.items():
                if process.poll() is not None:
                    raise DemoFailed(self._lastWords(name))
        return self._take()

    def _take(self) -> list[Event]:
        found = [event for file in self._files for event in file.take()]
        return sorted(map(self._named, found), key=lambda event: event.time)

    def _named(self, event: Event) -> Event:
        if "peer" not in event.fields:
            return event
        known = self._letters.get(event.fields["peer"], "?")
        return replace(event, fields={**event.fields, "peer": known})

    def _lastWords(self, name: str) -> str:
        lines = self._running.log(name).read_text(errors="replace").splitlines()
        last = lines[-1] if lines else "it said nothing"
        return f"the program of {name} ended: {last}"

    # --- the play

    def start(self) -> None:
        lab = self._lab
        # A short path: the control socket's may have 108 bytes.
        self._folder = Path(tempfile.mkdtemp(prefix="punchd-demo-"))
        product = self._product = Product(lab, self._folder, _LOGGER)
        self._letters = {letter: letter.upper() for letter in "ab"}
        self._letters |= {peer: letter.upper() for letter, peer in product.ids.items()}
        self._files = [EventFile(product.log(name), who) for name, who in _PROGRAMS]
        self._serve(ECHO, _echo)
        self._serve(SUM, _sum)
        try:
            product.startRendezvous()
        except (RuntimeError, TimeoutError) as e:
            raise DemoFailed(f"The rendezvous does not start: {e}") from e
        publish = [f"--publish={n}=tcp:127.0.0.1:{p}" for n, p in _PORTS.items()]
        forward = [f"--forward=tcp:{p}=b/{n}" for n, p in _FORWARDS.items()]
        product.startClient("b", *publish)
        product.startClient("a", *forward)

    def _serve(self, name: str, program: Callable[[socket.socket], None]) -> None:
        """
        Run one of B's programs.
        """
        server = self._lab.hostB.socket(kind=socket.SOCK_STREAM)
        server.bind(("127.0.0.1", _PORTS[name]))
        server.listen(5)

        def accept() -> None:
            # The socket is closed with the lab.
            with suppress(OSError, ValueError):
                while True:
                    _run(program, server.accept()[0])

        _run(accept)

    def _connect(self, name: str) -> socket.socket:
        """
        Connect to one of A's forwards, which listens soon if not now.
        """
        for chance in range(200, -1, -1):
            client = self._lab.hostA.socket(kind=socket.SOCK_STREAM)
            try:
                client.settimeout(_SILENCE)
                self._began = self.now()
                client.connect(("127.0.0.1", _FORWARDS[name]))
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                return client
            except ConnectionRefusedError:
                client.close()
                if not chance:
                    raise
                time.sleep(_STEP)
        raise AssertionError("not reached")

    def greet(self) -> float:
        try:
            self._talk = self._connect(ECHO)
            self._talk.sendall(b"x")
        except OSError as e:
            raise DemoFailed(f"A's program cannot connect to its forward: {e}.") from e
        return self._began

    def greeted(self) -> bool:
        talk = self._talk
        assert talk is not None
        if not select.select([talk], [], [], 0)[0]:
            return False
        try:
            if talk.recv(1):
                return True
        except OSError as e:
            raise DemoFailed(f"A's program lost its connection: {e}.") from e
        raise DemoFailed("A's punchd has closed the connection: B was not reached.")

    def transfer(self) -> Transfer:
        data = os.urandom(self.size)
        found = Transfer(self.size, hashlib.sha256(data).hexdigest())

        def send() -> None:
            try:
                with self._connect(SUM) as client:
                    began = time.monotonic()
                    client.sendall(len(data).to_bytes(HEAD, "big") + data)
                    digest = b""
                    while len(digest) < 32 and (more := client.recv(32)):
                        digest += more
                    found.seconds = time.monotonic() - began
                    found.got = digest.hex()
            except OSError as e:
                found.error = str(e)

        _run(send)
        return found

    def chat(self) -> Chatter:
        chatter = Chatter()
        talk = self._talk
        assert talk is not None

        def converse() -> None:
            due = time.monotonic()
            # The socket is closed with the lab.
            with suppress(OSError, ValueError):
                while not chatter.complete:
                    left = max(0.0, due - time.monotonic())
                    if select.select([talk], [], [], left)[0]:
                        data = talk.recv(_CHUNK)
                        if not data:
                            return
                        chatter.came(data, time.monotonic())
                    if time.monotonic() >= due:
                        due += PERIOD
                        if not chatter.stopped:
                            talk.sendall(chatter.message())

        _run(converse)
        return chatter

    def cut(self) -> None:
        self._lab.routerA.dropDirect()

    def restore(self) -> None:
        self._lab.routerA.restore()

    # --- what they say

    def status(self, letter: str) -> dict[str, Any]:
        return self._running.status(letter.lower())

    def why(self) -> str:
        try:
            found = self._running.ask("a", "why", peer=self._running.ids["b"])
        except (RuntimeError, OSError):
            return "Nothing is known of a session with B."
        text: str = found["text"]
        return text.replace(self._running.ids["b"], "B")

    def traffic(self) -> dict[str, tuple[int, int]]:
        lab = self._lab
        found = {}
        for letter, router in (("A", lab.routerA), ("B", lab.routerB)):
            sent = [
                (host in lab.rendezvous.public, count)
                for protocol in ("udp", "tcp")
                for (host, _), count in router.sent(protocol, "bytes").items()
            ]
            found[letter] = (
                sum(count for rendezvous, count in sent if not rendezvous),
                sum(count for rendezvous, count in sent if rendezvous),
            )
        return found

    def stop(self) -> None:
        if self._talk is not None:
            self._talk.close()
        product, self._product = self._product, None
        if product is not None:
            product.close()

    def close(self) -> None:
        try:
            self.stop()
        finally:
            self._lab.close()
            if self._folder is not None:
                shutil.rmtree(self._folder, ignore_errors=True)


def _run(function: Callable[..., None], *arguments: Any) -> None:
    threading.Thread(target=function, args=arguments, daemon=True).start()


def _echo(client: socket.socket) -> None:
    with client, suppress(OSError):
        while data := client.recv(_CHUNK):
            client.sendall(data)


def _sum(client: socket.socket) -> None:
    summing = Summing()
    with client, suppress(OSError):
        while data := client.recv(_CHUNK):
            answer = summing.take(data)
            if answer:
                client.sendall(answer)

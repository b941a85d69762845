"""
C{twistd punch-rendezvous}.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Any, TypeVar

from twisted.application.service import IService, MultiService
from twisted.python import usage

from punchd.errors import InvalidOption, PunchError
from punchd.net.clock import makeMonotonic
from punchd.net.kernel import KernelNetwork
from punchd.net.tls import ServerCredentials
from punchd.services.places import DEFAULT_PLACES, Place, parsePlace, parsePublic
from punchd.services.rendezvous import Rendezvous, Settings
from punchd.services.state import StateFolder, defaultPath

from .exits import CommandOptions, oneSentence, stateOption

PROGRAM = "punch-rendezvous"

_T = TypeVar("_T")


class Options(CommandOptions):
    """
    What C{twistd punch-rendezvous} understands.
    """

    program = PROGRAM
    synopsis = "[options]"
    longdesc = (
        "Introduce punchd clients to each other, tell them where they are seen,"
        " and relay where no hole can be made. When it is ready it logs the URL"
        " to hand to clients, and writes it to the file url of its state folder."
    )
    optFlags = [
        ["no-relay", None, "Introduce only; clients must find direct paths."],
    ]

    def __init__(self) -> None:
        super().__init__()
        self["state"] = None
        self["certificate"] = None
        self.places: list[Place] = []
        self.publics: list[tuple[str, str | None]] = []
        self.alternatePort: int | None = None
        self.relayPorts = Settings().relayPorts

    def opt_listen(self, value: str) -> None:
        """
        ADDR:PORT[/tcp|/udp], repeatable (0.0.0.0:3478, [::]:3478, TCP 443).
        """
        self.places.append(_said(lambda: parsePlace(value)))

    def opt_public(self, value: str) -> None:
        """
        ADDR[=LOCAL]: the address that a 1:1 NAT maps to this machine's LOCAL.
        """
        self.publics.append(_said(lambda: parsePublic(value)))

    def opt_alternate_port(self, value: str) -> None:
        """
        A second UDP port, by which clients learn more about their NAT.
        """
        self.alternatePort = _port("alternate-port", value)

    def opt_relay_ports(self, value: str) -> None:
        """
        LOW-HIGH: the UDP ports to relay on (49152-65535).
        """
        found = re.fullmatch(r"(\d{1,5})-(\d{1,5})", value)
        if found is None or not 1024 <= int(found[1]) <= int(found[2]) <= 65535:
            raise usage.UsageError(
                f"--relay-ports={value}: expected LOW-HIGH, two ports from 1024 to "
                "65535."
            )
        self.relayPorts = int(found[1]), int(found[2])

    def opt_state(self, value: str) -> None:
        """
        The folder of the key and the URL.
        """
        self["state"] = stateOption(value)

    def opt_certificate(self, value: str) -> None:
        """
        A PEM file: a certificate of an authority, its chain, and its key.
        """
        self["certificate"] = value

    def settings(self) -> Settings:
        """
        @return: what all options say together.
        """
        return Settings(
            places=tuple(self.places) or DEFAULT_PLACES,
            publics=tuple(self.publics),
            alternatePort=self.alternatePort,
            relay=not self["no-relay"],
            relayPorts=self.relayPorts,
        )


def makeService(options: Options, reactor: Any = None) -> IService:
    """
    Build the rendezvous; nothing is opened but the state folder.

    @raise SystemExit: with one sentence, when something cannot be used.
    """
    if reactor is None:
        from twisted.internet import reactor
    with oneSentence(PROGRAM):
        network = KernelNetwork(makeMonotonic(reactor))
        settings = options.settings()
        settings.check([host for host, _ in network.localHosts()])
        certificate = _read(options["certificate"])
        folder = StateFolder(
            options["state"] or os.path.join(defaultPath(), "rendezvous")
        )
        folder.lock()
        credentials = ServerCredentials(
            folder.identity(), certificate, options["certificate"] or ""
        )
        return Server(Rendezvous(network, credentials, settings, folder))


class Server(MultiService):
    """
    The rendezvous as a program.
    """

    def __init__(self, rendezvous: Rendezvous) -> None:
        super().__init__()
        self.rendezvous = rendezvous
        rendezvous.setServiceParent(self)

    def privilegedStartService(self) -> None:
        """
        Open all ports, or end with one sentence.
        """
        with oneSentence(PROGRAM):
            super().privilegedStartService()

    def startService(self) -> None:
        """
        Start, or end with one sentence.
        """
        with oneSentence(PROGRAM):
            super().startService()


def _read(path: str | None) -> bytes | None:
    if path is None:
        return None
    try:
        with open(path, "rb") as file:
            return file.read(1 << 20)
    except OSError as e:
        raise InvalidOption(f"--certificate={path}: {e.strerror}.") from e


def _said(parse: Callable[[], _T]) -> _T:
    try:
        return parse()
    except PunchError as e:
        raise usage.UsageError(str(e)) from e


def _port(option: str, value: str) -> int:
    if not re.fullmatch(r"\d{1,5}", value) or not 0 < int(value) < 65536:
        raise usage.UsageError(f"--{option}={value}: expected a port, 1 to 65535.")
    return int(value)

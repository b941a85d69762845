"""
C{twistd punch-rendezvous}.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

from twisted.application.service import IService
from twisted.python import usage

from punchd._plugins import pluginNamed
from punchd.errors import InvalidOption, PunchError
from punchd.interfaces import IDirectory
from punchd.net.clock import makeMonotonic
from punchd.net.kernel import KernelNetwork
from punchd.net.sharing import MOST, possible
from punchd.net.tls import ServerCredentials
from punchd.services.places import DEFAULT_PLACES, Place, parsePlace, parsePublic
from punchd.services.reloading import Exchangeable, exchange
from punchd.services.rendezvous import Rendezvous, Settings
from punchd.services.state import StateFolder, defaultPath
from punchd.services.workerorders import guardsOf
from punchd.signaling.directory import Limits
from punchd.turn.authentication import MAX_REALM
from punchd.turn.limits import limitsOf, parseLimit
from punchd.turn.networks import Network, PeerNetworks, parseNetwork

from .eventing import tellEvents
from .exits import CommandOptions, oneSentence, stateOption
from .operating import Server

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
        self["metrics"] = None
        self.drain = Settings().drain
        self.places: list[Place] = []
        self.publics: list[tuple[str, str | None]] = []
        self.alternatePort: int | None = None
        self.relayPorts = Settings().relayPorts
        self.realm = Settings().realm
        self.limits: dict[str, float] = {}
        self.allowed: list[Network] = []
        self.denied: list[Network] = []
        self.admissions: list[tuple[str, str]] = []
        self.kept = "memory", ""
        self.processes = 1

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

    def opt_admit(self, value: str) -> None:
        """
        NAME[:ARGUMENTS], repeatable: users:FILE, secret:FILE, peers:FILE, or a
        plugin of yours.
        """
        name, _, arguments = value.partition(":")
        if not name:
            raise usage.UsageError(
                f"--admit={value}: expected NAME or NAME:ARGUMENTS, such as users:FILE."
            )
        self.admissions.append((name, arguments))

    def opt_directory(self, value: str) -> None:
        """
        NAME[:ARGUMENTS]: where it is kept who is here; in memory, or by a plugin
        of yours.
        """
        name, _, arguments = value.partition(":")
        if not name:
            raise usage.UsageError(
                f"--directory={value}: expected NAME or NAME:ARGUMENTS."
            )
        self.kept = name, arguments

    def opt_relay_secret(self, value: str) -> None:
        """
        A file with the secret of the TURN REST API, shared with those who make
        user names with it.
        """
        self.admissions.append(("secret", value))

    def opt_realm(self, value: str) -> None:
        """
        The realm of the relay's users (punchd).
        """
        if not 0 < len(value.encode("utf-8")) <= MAX_REALM or not value.isprintable():
            raise usage.UsageError(
                f"--realm={value}: expected 1 to {MAX_REALM} bytes of text."
            )
        self.realm = value

    def opt_relay_allow(self, value: str) -> None:
        """
        A network (CIDR) that the relay's users may reach although it is denied, as a
        private one; repeatable.
        """
        self.allowed.append(_said(lambda: parseNetwork("--relay-allow", value)))

    def opt_relay_deny(self, value: str) -> None:
        """
        A network (CIDR) that they may not reach; repeatable.
        """
        self.denied.append(_said(lambda: parseNetwork("--relay-deny", value)))

    def opt_relay_limit(self, value: str) -> None:
        """
        WHAT=NUMBER, repeatable: permissions, channels, or allocations, packets,
        bytes (a second) and total (bytes a day) of user, network and all, as
        user.bytes=2M; 0 is no limit.
        """
        name, number = _said(lambda: parseLimit(value))
        self.limits[name] = number

    def opt_workers(self, value: str) -> None:
        """
        How many processes share the UDP ports (1).
        """
        if not re.fullmatch(r"\d{1,3}", value) or not 0 < int(value) <= MOST:
            raise usage.UsageError(
                f"--workers={value}: expected a number of processes, 1 to {MOST}."
            )
        if int(value) > 1 and not possible():
            raise usage.UsageError(
                f"--workers={value}: only Linux can share a UDP port; expected 1."
            )
        self.processes = int(value)

    def opt_drain(self, value: str) -> None:
        """
        Seconds for which what is relayed goes on after SIGTERM, so that clients can
        move elsewhere (5).
        """
        if not re.fullmatch(r"\d{1,4}(\.\d{1,3})?", value) or float(value) > 3600:
            raise usage.UsageError(f"--drain={value}: expected seconds, 0 to 3600.")
        self.drain = float(value)

    def opt_metrics(self, value: str) -> None:
        """
        A server endpoint, as tcp:9100, at which Prometheus reads /metrics; on
        loopback unless it names an interface.
        """
        self["metrics"] = value

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

    def guards(self, network: Any) -> list[Any]:
        """
        @return: whom C{--admit} and C{--relay-secret} name.

        @raise PunchError: one of them cannot be used.
        """
        return guardsOf(self.admissions, network)

    def directory(self, network: Any) -> Any:
        """
        @return: what C{--directory} names, an L{IPresences}; L{None} where several
            processes have one of their own.

        @raise PunchError: it cannot be used.
        """
        name, arguments = self.kept
        if self.processes > 1:
            if name == "memory":
                return None
            raise InvalidOption(
                f"--directory={name}: several processes need the one in memory; "
                "expected --workers=1."
            )
        try:
            plugin = pluginNamed(IDirectory, name)
        except PunchError as e:
            raise InvalidOption(f"--directory={name}: {e}") from e
        return plugin.directory(arguments, network, Limits())

    def again(self) -> Options:
        """
        @return: what the command line says together with the file that it names, as
            that is now.

        @raise InvalidOption: it cannot be used.
        """
        fresh = Options()
        fresh.words = self.words
        try:
            fresh.parse()
        except usage.UsageError as e:
            raise InvalidOption(str(e)) from e
        return fresh

    def fixed(self) -> dict[str, Any]:
        """
        @return: what takes a restart to change, by option.
        """
        return {name: self[name] for name in self} | {
            "listen": self.places,
            "public": self.publics,
            "alternate-port": self.alternatePort,
            "relay-ports": self.relayPorts,
            "realm": self.realm,
            "drain": self.drain,
            "directory": self.kept,
            "workers": self.processes,
            "events": self.sinks,
        }

    def settings(self, network: Any = None) -> Settings:
        """
        @param network: what guards are made with.

        @return: what all options say together.
        """
        return Settings(
            places=tuple(self.places) or DEFAULT_PLACES,
            publics=tuple(self.publics),
            alternatePort=self.alternatePort,
            relay=not self["no-relay"],
            relayPorts=self.relayPorts,
            realm=self.realm,
            drain=self.drain,
            guards=self.guards(network),
            directory=None if network is None else self.directory(network),
            relayLimits=limitsOf(self.limits),
            peers=PeerNetworks(self.allowed, self.denied),
            processes=self.processes,
            admissions=tuple(self.admissions),
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
        settings = options.settings(network)
        settings.check([host for host, _ in network.localHosts()])
        certificate = _read(options["certificate"])
        folder = StateFolder(
            options["state"] or os.path.join(defaultPath(), "rendezvous")
        )
        folder.lock()
        identity = folder.identity()
        credentials = ServerCredentials(
            identity, certificate, options["certificate"] or ""
        )
        guards = [Exchangeable(each) for each in settings.guards]
        peers = Exchangeable(settings.peers)
        settings = replace(settings, guards=guards, peers=peers)
        rendezvous = Rendezvous(network, credentials, settings, folder)

        def reload() -> list[str]:
            fresh = options.again()
            if fresh.admissions != options.admissions:
                raise InvalidOption("--admit takes a restart to change.")
            successors = fresh.guards(network)
            path = options["certificate"]
            if path is not None:
                credentials.become(ServerCredentials(None, _read(path), path))
            denied, limits = (
                PeerNetworks(fresh.allowed, fresh.denied),
                limitsOf(fresh.limits),
            )
            if rendezvous.workers is not None:
                rendezvous.workers.passing.show(credentials.pem)
                limits = rendezvous.workers.change(limits, denied)
            exchange(
                rendezvous,
                list(zip(guards, successors, strict=True)),
                (peers, denied),
                limits,
            )
            before, now = options.fixed(), fresh.fixed()
            return [name for name in before if before[name] != now[name]]

        server = Server(PROGRAM, network.reactor, rendezvous, reload)
        if options["metrics"] is not None:
            server.serveMetrics(options["metrics"])
        tellEvents(options.sinks, network, server)
        return server


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

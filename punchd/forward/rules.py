"""
What the user wants published, forwarded and allowed, as values.

    --publish=NAME=CLIENT_ENDPOINT        ssh=tcp:127.0.0.1:22, dns=udp:127.0.0.1:53
    --forward=SERVER_ENDPOINT=PEER/NAME   tcp:2222=bob/ssh, udp:5353=bob/dns
    --allow=PEER[/NAME]                   bob, bob/ssh

Endpoint strings may hold C{=} themselves (C{interface=127.0.0.1}), names may
not; so a published name ends at the first C{=}, and a forward's endpoint ends
at the last one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.endpoints import serverFromString

from punchd.errors import DuplicatePlugin, InvalidOption
from punchd.interfaces import IHome

from .home import forwarderOf
from .trying import checkEndpoint

#: Where forwards listen unless their endpoint names an interface.
LOOPBACK = "127.0.0.1"

#: The longest name of a service.
MAX_NAME = 64

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\Z")
_PEER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\Z")
_KEYWORD = re.compile(r"[A-Za-z_]\w*=")

_NO_NAME = f"cannot name a service (up to {MAX_NAME} letters, digits, '.', '_' and '-')"
_PUBLISH = "NAME=CLIENT_ENDPOINT, such as ssh=tcp:127.0.0.1:22"
_FORWARD = "SERVER_ENDPOINT=PEER/NAME, such as tcp:2222=bob/ssh"
_ALLOW = "PEER or PEER/NAME, such as bob/ssh"


@dataclass(frozen=True, slots=True)
class Publication:
    """
    A program that peers may reach.

    @ivar name: what peers call the service.
    @ivar endpoint: the client endpoint string that leads to the program.
    @ivar forwarder: the L{IForwarder} that serves such endpoints, if it is known.
    """

    name: str
    endpoint: str
    forwarder: Any = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        return f"--publish={self.name}={self.endpoint}"


@dataclass(frozen=True, slots=True)
class Forward:
    """
    A service of a peer that shall be reachable here.

    @ivar endpoint: the server endpoint string to listen on.
    @ivar peer: a petname or a peer id; empty where who connects says whom he wants.
    @ivar service: the name under which the peer publishes it, or empty.
    @ivar forwarder: the L{IForwarder} that serves such endpoints, if it is known.
    """

    endpoint: str
    peer: str
    service: str
    forwarder: Any = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        target = f"={self.peer}/{self.service}" if self.peer else ""
        return f"--forward={self.endpoint}{target}"


@dataclass(frozen=True, slots=True)
class Allowance:
    """
    A permission.

    @ivar peer: a petname or a peer id.
    @ivar service: the one service that the peer may use; L{None} for all.
    """

    peer: str
    service: str | None

    def __str__(self) -> str:
        return f"--allow={self.peer}" + (f"/{self.service}" if self.service else "")


def parsePublish(value: str, home: IHome) -> Publication:
    """
    @param value: what was given to C{--publish}.
    @param home: the endpoint is tried with it; nothing is connected.

    @raise InvalidOption: it cannot be used, and why.
    """
    fault = _Fault("publish", value, _PUBLISH)
    name, equals, endpoint = value.partition("=")
    if not equals:
        raise fault("there is no '=' in it")
    _checkName(name, fault)
    forwarder = _forwarder(endpoint, fault)
    rule = Publication(name, endpoint, forwarder)
    _try(lambda: forwarder.publish(rule, home), fault)
    return rule


def parseForward(value: str, home: IHome) -> Forward:
    """
    @param value: what was given to C{--forward}.
    @param home: the endpoint is tried with it; nothing is bound.

    @return: the rule; a TCP endpoint that names no interface has got loopback.

    @raise InvalidOption: it cannot be used, and why.
    """
    fault = _Fault("forward", value, _FORWARD)
    forwarder = _forwarder(value, fault)
    if not forwarder.targeted:
        rule = Forward(value, "", "", forwarder)
        _try(lambda: forwarder.forward(rule, home), fault)
        return rule
    endpoint, equals, target = value.rpartition("=")
    if not equals:
        raise fault("there is no '=' in it")
    peer, slash, service = target.partition("/")
    if not slash:
        raise fault(f"{target!r} is not PEER/NAME")
    _checkPeer(peer, fault)
    _checkName(service, fault)
    rule = Forward(_onLoopback(endpoint), peer, service, forwarder)
    _try(lambda: forwarder.forward(rule, home), fault)
    return rule


def parseServer(option: str, value: str, reactor: Any) -> str:
    """
    @param option: the name of an option whose value is a server endpoint string.
    @param reactor: the endpoint is tried on it; nothing is bound.

    @return: the endpoint; a TCP one that names no interface has got loopback.

    @raise InvalidOption: it cannot be used, and why.
    """
    fault = _Fault(option, value, "a server endpoint, such as tcp:9100")
    endpoint = _onLoopback(value)
    _try(lambda: checkEndpoint(serverFromString, reactor, endpoint), fault)
    return endpoint


def parseAllow(value: str) -> Allowance:
    """
    @param value: what was given to C{--allow}.

    @raise InvalidOption: it cannot be used, and why.
    """
    fault = _Fault("allow", value, _ALLOW)
    peer, slash, service = value.partition("/")
    _checkPeer(peer, fault)
    if slash:
        _checkName(service, fault)
    return Allowance(peer, service if slash else None)


def parseTarget(value: str) -> tuple[str, str]:
    """
    @param value: C{PEER/NAME}, which stands without an option.

    @return: the peer, a petname or a peer id, and the name of the service.

    @raise InvalidOption: it cannot be used, and why.
    """
    peer, slash, service = value.partition("/")
    if not slash:
        raise InvalidOption(f"{value!r}: expected PEER/NAME, such as bob/ssh.")
    if not _PEER.match(peer):
        raise InvalidOption(
            f"{value!r}: {peer!r} is neither a petname nor a peer id; "
            "expected PEER/NAME, such as bob/ssh."
        )
    checkName(service)
    return peer, service


def checkName(name: str) -> None:
    """
    @raise InvalidOption: no service can have that name.
    """
    if not _isName(name):
        raise InvalidOption(f"{name!r} {_NO_NAME}.")


def checkPublications(publications: Iterable[Publication]) -> dict[str, Publication]:
    """
    @return: the publications by name.

    @raise InvalidOption: two have one name.
    """
    found: dict[str, Publication] = {}
    for publication in publications:
        if publication.name in found:
            raise InvalidOption(
                f"{publication}: the name {publication.name!r} is published twice; "
                "expected one --publish for each name."
            )
        found[publication.name] = publication
    return found


class Allowances:
    """
    I know who may do what.
    """

    def __init__(
        self,
        rules: Iterable[Allowance] = (),
        resolve: Callable[[str], str] = lambda peer: peer,
        *,
        anyone: bool = False,
    ) -> None:
        """
        @param resolve: gives the peer id for a petname or a peer id.
        @param anyone: whether every peer may use every service.

        @raise punchd.errors.UnknownPeer: C{resolve} does not know a name.
        """
        self._resolve = resolve
        self.anyone = anyone
        self._services: dict[str, set[str | None]] = {}
        self.replace(rules)

    def replace(self, rules: Iterable[Allowance]) -> None:
        """
        From now on these rules hold, and no others.

        @raise punchd.errors.UnknownPeer: a name is not known; the rules stay
            as they were.
        """
        services: dict[str, set[str | None]] = {}
        for rule in rules:
            services.setdefault(self._resolve(rule.peer), set()).add(rule.service)
        self._services = services

    def allowsPeer(self, peerId: str) -> bool:
        """
        Whether the peer may have a session.
        """
        return self.anyone or peerId in self._services

    def allows(self, peerId: str, service: str) -> bool:
        """
        Whether the peer may open the service.
        """
        allowed = self._services.get(peerId, ())
        return self.anyone or None in allowed or service in allowed


# --- the parts of a value ----------------------------------------------------


class _Fault:
    """
    I make the one sentence for a value that cannot be used.
    """

    def __init__(self, option: str, value: str, expected: str) -> None:
        self._option = option
        self._value = value
        self._expected = expected

    def __call__(self, why: str) -> InvalidOption:
        return InvalidOption(
            f"--{self._option}={self._value}: {why}; expected {self._expected}."
        )


def _checkName(name: str, fault: _Fault) -> None:
    if not _isName(name):
        raise fault(f"{name!r} {_NO_NAME}")


def _isName(name: str) -> bool:
    return _NAME.match(name) is not None and len(name) <= MAX_NAME


def _checkPeer(peer: str, fault: _Fault) -> None:
    if not _PEER.match(peer):
        raise fault(f"{peer!r} is neither a petname nor a peer id")


def _forwarder(endpoint: str, fault: _Fault) -> Any:
    try:
        return forwarderOf(endpoint)
    except DuplicatePlugin as e:
        raise fault(str(e).rstrip(".")) from e


def _try(make: Callable[[], object], fault: _Fault) -> None:
    """
    @raise InvalidOption: the endpoint cannot be used, and why.
    """
    try:
        make()
    except ValueError as e:
        raise fault(str(e)) from e


def _fields(endpoint: str) -> list[str]:
    """
    @return: the parts of an endpoint string, escapes kept.
    """
    return re.sub(r"((?:[^\\:]|\\.)*):", "\\1\n", endpoint, flags=re.S).split("\n")


def _onLoopback(endpoint: str) -> str:
    """
    @return: the endpoint, bound to loopback if it is TCP and names no interface.
    """
    kind, *arguments = _fields(endpoint)
    if kind not in ("tcp", "ssl"):
        return endpoint
    keywords = {
        argument.partition("=")[0] for argument in arguments if _KEYWORD.match(argument)
    }
    # "tcp:PORT:INTERFACE" names it by position.
    positional = len(arguments) - len(keywords)
    if "interface" in keywords or (kind == "tcp" and positional > 1):
        return endpoint
    return f"{endpoint}:interface={LOOPBACK}"

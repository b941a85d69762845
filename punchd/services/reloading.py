"""
What of a rendezvous can be changed while it runs.
"""

from __future__ import annotations

from typing import Any, Protocol

from twisted.logger import Logger

from punchd.turn.limits import Limits as RelayLimits
from punchd.turn.runs import RunServer

_log = Logger()


class Exchangeable:
    """
    I stand for a guard, or a list of networks, that may be exchanged.

    @ivar current: what I am now.
    """

    def __init__(self, current: Any) -> None:
        self.current = current

    def __call__(self, host: str) -> bool:
        """
        @return: whether the relay may not send there.
        """
        return bool(self.current(host))

    def __getattr__(self, name: str) -> Any:
        # Whoever makes a copy asks before there is anything.
        if name == "current" or name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.current, name)


class Relaying(Protocol):
    """
    A rendezvous, or one of its workers.
    """

    datagrams: Any

    @property
    def relay(self) -> RunServer | None:
        """
        The TURN server of the process.
        """


def exchange(
    rendezvous: Relaying,
    guards: list[tuple[Exchangeable, Any]],
    peers: tuple[Exchangeable, Any],
    limits: RelayLimits,
) -> None:
    """
    From now on other users, networks and limits hold.  What was permitted before and
    is not any more ends.

    @param guards: each with its successor.
    @param peers: the networks that are denied, and their successors.
    @param limits: of this process.
    """
    ended = _exchangeGuards(rendezvous, guards)
    peers[0].current = peers[1]
    relay = rendezvous.relay
    denied = 0
    if relay is not None:
        own = relay.relayHosts()
        for each in relay.allocations():
            for host, permission in each.permissions.items():
                if permission.expires and host not in own and peers[0](host):
                    permission.expires = 0.0
                    denied += 1
            each.endWays()
        relay.use(limits)
    _log.info(
        "What has changed in files holds now",
        event="reloaded",
        allocationsEnded=ended,
        permissionsEnded=denied,
    )


def _exchangeGuards(
    rendezvous: Relaying, guards: list[tuple[Exchangeable, Any]]
) -> int:
    """
    @return: how many users have lost their addresses.
    """
    relay, driver = rendezvous.relay, rendezvous.datagrams.driver
    gone: list[str] = []
    for shell, after in guards:
        before, shell.current = shell.current, after
        for each in relay.allocations() if relay is not None else ():
            holder: object = each.guard
            if holder is shell:
                known = before.passwordOf(each.username)
                # Who has another password is to show that he knows it.
                if known is not None and known != after.passwordOf(each.username):
                    gone.append(each.username)
    for username in dict.fromkeys(gone):
        if relay is not None and driver is not None:
            driver.call(relay.revoke, username)
    return len(set(gone))

"""
Samples: where a server saw one of our sockets, and what follows from several.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from punchd.core import Address


@dataclass(frozen=True, slots=True)
class Sample:
    """
    One server saw one socket.

    @ivar time: when the packet left that made the mapping, in seconds.
    @ivar localPort: the socket's own port.
    @ivar server: who saw it.
    @ivar mappedHost: the outside host that it was seen at.
    @ivar mappedPort: the outside port.
    """

    time: float
    localPort: int
    server: Address
    mappedHost: str
    mappedPort: int

    @property
    def mapped(self) -> Address:
        """
        The outside address.
        """
        return (self.mappedHost, self.mappedPort)


@dataclass(frozen=True, slots=True)
class Reuse:
    """
    How often a socket kept its outside address towards a second server.

    @ivar same: how often.
    @ivar different: how often not.
    """

    same: int
    different: int

    @property
    def independent(self) -> bool | None:
        """
        Whether mappings are endpoint-independent (RFC 4787, 4.1); L{None}
        when no socket was seen by two servers.  One in eight may differ: an
        outside port may be taken towards one server.
        """
        if not self.same and not self.different:
            return None
        return self.same > 7 * self.different


def reuse(samples: Sequence[Sample]) -> Reuse:
    """
    Compare each socket's samples with its first one.  Servers on other hosts
    tell more than other ports of one host, which count only where no socket
    was seen by two hosts.
    """
    byHost, byPort = [0, 0], [0, 0]
    for group in _bySocket(samples):
        first = group[0]
        seen = {first.server}
        for sample in group[1:]:
            if sample.server in seen:
                continue
            seen.add(sample.server)
            counts = byHost if sample.server[0] != first.server[0] else byPort
            counts[sample.mapped != first.mapped] += 1
    return Reuse(*(byHost if any(byHost) else byPort))


def allocations(samples: Sequence[Sample]) -> list[Sample]:
    """
    @return: the samples that made a new mapping, oldest first: those that show
        a socket at an outside address at which it was not seen before.
    """
    known: set[tuple[int, Address]] = set()
    found = []
    for sample in sorted(samples, key=lambda each: each.time):
        key = (sample.localPort, sample.mapped)
        if key not in known:
            known.add(key)
            found.append(sample)
    return found


def byHost(samples: Iterable[Sample]) -> dict[str, list[Sample]]:
    """
    @return: the samples of each outside host, in their order.
    """
    found: dict[str, list[Sample]] = {}
    for sample in samples:
        found.setdefault(sample.mappedHost, []).append(sample)
    return found


def _bySocket(samples: Sequence[Sample]) -> list[list[Sample]]:
    found: dict[int, list[Sample]] = {}
    for sample in sorted(samples, key=lambda each: each.time):
        found.setdefault(sample.localPort, []).append(sample)
    return list(found.values())

"""
What one attempt of a strategy has to work with: the ground of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from punchd.core import Address
from punchd.ice.candidate import isPairable
from punchd.nat.model import PortModel
from punchd.stun.address import isForbiddenPeer

from .events import Connect, Locate, Shot, Terrain
from .field import Attempt
from .verdict import Reason

if TYPE_CHECKING:
    from .coordinator import Coordinator

#: Lower ports belong to services of others, not to NATs.
LEAST_PORT = 1024
#: TCP connections may go to so many hosts at which nobody has observed the peer: who
#: gets no UDP through is observed nowhere.
MAX_CLAIMED = 4


class Ground:
    """
    I provide L{punchd.traversal.field.Field} for one attempt.

    @ivar name: of the strategy.
    @ivar attempt: its attempt.
    """

    attempt: Attempt

    def __init__(
        self,
        coordinator: Coordinator,
        terrain: Terrain,
        ours: PortModel,
        theirs: PortModel,
        now: float,
    ) -> None:
        self.ours = ours
        self.theirs = theirs
        self.leader = coordinator.leader
        self.rtt = terrain.rtt
        self.hosts = frozenset(terrain.hosts)
        self.openerTtl = terrain.openerTtl
        self.main = terrain.main
        self.mapped = terrain.mapped
        self.publicHost = terrain.publicHost
        self.doors = terrain.doors
        self.name = ""
        self._coordinator = coordinator
        self.entropy = coordinator.entropy
        self._allowance = coordinator.allowance
        self._began = now
        self._before = (
            self._allowance.probes,
            self._allowance.sockets,
            self._allowance.flows,
        )
        self._flows: set[tuple[Address, Address]] = set()
        self._opened: set[Address] = set()
        self._claimed: set[str] = set()
        self._streamServers = terrain.streamServers
        self._ended = False

    def begin(self, strategy: Any, now: float) -> None:
        """
        Start the attempt.
        """
        self.name = strategy.name
        self.attempt = strategy.attempt(self)
        self.attempt.start(now)

    def evidence(self, now: float) -> dict[str, object]:
        """
        @return: what it has cost, and the models.
        """
        probes, sockets, flows = self._before
        more = getattr(self.attempt, "evidence", dict)
        return {
            **more(),
            "seconds": round(now - self._began, 3),
            "probes": self._allowance.probes - probes,
            "sockets": self._allowance.sockets - sockets,
            "flows": self._allowance.flows - flows,
            "ours": self.ours.kind.value,
            "theirs": self.theirs.kind.value,
        }

    def finish(self) -> None:
        """
        Give back what is open still.
        """
        self._ended = True
        for base in list(self._opened):
            self.close(base)

    # --- Field

    def open(self) -> Address | None:
        """
        @return: one more socket.
        """
        base = None
        if not self._ended and self._allowance.openSocket():
            base = self._coordinator.sockets.openSpare()
        if base is not None:
            self._opened.add(base)
        return base

    def close(self, base: Address) -> None:
        """
        Give one back.
        """
        if base in self._opened:
            self._opened.discard(base)
            self._coordinator.sockets.closeSpare(base)

    def sample(self, base: Address, now: float) -> None:
        """
        Ask a server where it sees C{base}.
        """
        if not self._ended:
            self._coordinator.sample(base, now)

    def reserve(self, count: int, now: float) -> int:
        """
        @return: how many new flows are set aside.
        """
        return self._allowance.reserve(count, now)

    def waitFor(self, count: int, now: float) -> float:
        """
        @return: seconds until so many more could be.
        """
        return self._allowance.budget.waitFor(count, now)

    def claim(self, remote: Address) -> bool:
        """
        @return: whether a few shots may go there.
        """
        host, port = remote
        if port < LEAST_PORT or isForbiddenPeer(host):
            return False
        return host in self.hosts or self._mayClaim(host)

    def _mayClaim(self, host: str) -> bool:
        """
        @return: whether the peer may say that it is there.
        """
        if host not in self._claimed and len(self._claimed) >= MAX_CLAIMED:
            return False
        self._claimed.add(host)
        return True

    def shoot(
        self, base: Address, remote: Address, ttl: int | None, now: float
    ) -> bool:
        """
        @return: whether a check leaves.
        """
        observed = remote[0] in self.hosts
        if not observed and remote[0] not in self._claimed:
            return False
        if self._ended or remote[1] < LEAST_PORT:
            return False
        flow = (base, remote)
        if not self._allowance.send(flow not in self._flows, now, observed=observed):
            return False
        self._flows.add(flow)
        self._coordinator.events.append(Shot(base, remote, ttl, self.name))
        return True

    def openStream(self, family: int) -> Address | None:
        """
        @return: a TCP port.
        """
        base = None
        if not self._ended and self._allowance.openStream():
            base = self._coordinator.sockets.openStream(family)
        if base is not None:
            self._opened.add(base)
        return base

    def locate(self, base: Address, now: float) -> int:
        """
        Ask servers of its family where they see a TCP port.
        """
        six = ":" in base[0]
        servers = [each for each in self._streamServers if (":" in each[0]) is six]
        servers = [each for each in servers if self._allowance.connect(now)]
        if servers and not self._ended:
            self._coordinator.events.append(Locate(base, servers))
        return len(servers)

    def connect(self, base: Address, remote: Address, now: float) -> bool:
        """
        @return: whether a connection is tried.
        """
        host, port = remote
        if self._ended or port < LEAST_PORT or not isPairable(remote):
            return False
        if host not in self.hosts and not self._mayClaim(host):
            return False
        if not self._allowance.connect(now):
            return False
        self._coordinator.events.append(Connect(base, remote))
        return True

    def tell(self, body: dict[str, Any]) -> None:
        """
        Tell the attempt at the peer.
        """
        self._coordinator.say(self.name, body)

    def end(self, reason: Reason, now: float, **evidence: object) -> None:
        """
        It was in vain.
        """
        if not self._ended:
            self._coordinator.attemptEnded(reason, evidence, now)

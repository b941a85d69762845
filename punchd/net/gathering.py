"""
The candidates that a client can offer: where it is reached in its own network,
where the rendezvous sees it, and where its relay listens.
"""

from __future__ import annotations

from collections.abc import Callable

from punchd.core import Address
from punchd.ice.candidate import (
    Candidate,
    hostCandidate,
    isPairable,
    reflexiveCandidate,
    relayedCandidate,
)

from .punching import PunchingSocket

#: How many host candidates are offered: containers and virtual machines bring
#: dozens, and the peer takes 20 candidates in all.
MAX_HOSTS = 8


class Gathering:
    """
    I keep the candidates up to date, and tell the sessions of new ones.

    @ivar mapped: where the rendezvous sees us, by family.
    @ivar relayed: our address on the relay.
    @ivar opened: addresses at which routers have opened a port for us, each with
        the address of ours that it leads to.
    @ivar deserted: the host of a relay that everybody leaves, while our own address
        there is withdrawn.
    """

    def __init__(self, socket: PunchingSocket) -> None:
        self.socket = socket
        self.mapped: dict[int, Address] = {}
        self.relayed: Address | None = None
        self.opened: dict[Address, Address] = {}
        self.deserted: str | None = None
        self._server = ""
        self._subscribers: list[Callable[[Candidate], None]] = []
        self._mourners: list[Callable[[Candidate], None]] = []
        self._known: list[Address] | None = None

    def candidates(self) -> list[Candidate]:
        """
        @return: what is known now, host candidates first.
        """
        found = [
            hostCandidate(base, rank=rank) for rank, base in enumerate(self.hosts())
        ]
        for address, base in self.opened.items():
            if base in self.hosts():
                found.append(_opened(address, base))
        for family in sorted(self.mapped):
            candidate = self._reflexive(family)
            if candidate is not None and candidate.address not in self.opened:
                found.append(candidate)
        if self.relayed is not None:
            found.append(self._relayed(self.relayed))
        return found

    def hosts(self) -> list[Address]:
        """
        @return: the addresses of this machine that may be paired, as of the last
            L{hostsChanged}: to ask the system takes longer than all the rest of an
            offer.
        """
        if self._known is None:
            self._known = self._look()
        return self._known

    def _look(self) -> list[Address]:
        return [base for base in self.socket.bases() if isPairable(base)][:MAX_HOSTS]

    def _reflexive(self, family: int) -> Candidate | None:
        mapped = self.mapped[family]
        bases = [b for b in self.hosts() if (6 if ":" in b[0] else 4) == family]
        if not bases or mapped in bases:
            return None
        return reflexiveCandidate(mapped, bases[0], server=self._server)

    def _relayed(self, relayed: Address) -> Candidate:
        return relayedCandidate(relayed, server=self._server, mapped=self.mapped.get(4))

    def subscribe(
        self,
        learned: Callable[[Candidate], None],
        lost: Callable[[Candidate], None],
    ) -> None:
        """
        From now on call C{learned} with each candidate that comes up, and
        C{lost} with each that is of no use any more.
        """
        self._subscribers.append(learned)
        self._mourners.append(lost)

    def unsubscribe(
        self,
        learned: Callable[[Candidate], None],
        lost: Callable[[Candidate], None],
    ) -> None:
        """
        Do not call them any more.
        """
        self._subscribers.remove(learned)
        self._mourners.remove(lost)

    def hostsChanged(self) -> None:
        """
        The machine has other addresses than before: withdraw what is gone, and
        offer what is new.  Where the rendezvous sees us, it tells later; the old
        address is a good guess until then.
        """
        before, self._known = self._known or [], self._look()
        for base in before:
            if base not in self._known:
                for mourner in list(self._mourners):
                    mourner(hostCandidate(base))
        for rank, base in enumerate(self._known):
            if base not in before:
                self._tell(hostCandidate(base, rank=rank))
        for family in self.mapped:
            candidate = self._reflexive(family)
            if candidate is not None and candidate.base not in before:
                self._tell(candidate)

    def mappedLearned(self, mapped: Address) -> None:
        """
        The rendezvous sees the punching socket at this address.
        """
        family = 6 if ":" in mapped[0] else 4
        if self.mapped.get(family) == mapped:
            return
        self.mapped[family] = mapped
        candidate = self._reflexive(family)
        if candidate is not None:
            self._tell(candidate)

    def mappedPortLearned(self, address: Address, base: Address) -> None:
        """
        A router leads C{address} to C{base}.  A pinhole, which leads an address to
        itself, makes no candidate.
        """
        if address == base or self.opened.get(address) == base:
            return
        self.opened[address] = base
        if base in self.hosts():
            self._tell(_opened(address, base))

    def mappedPortWithdrawn(self, address: Address) -> None:
        """
        The port at C{address} is closed.  Its base lives on with all its paths, so
        that nobody has to be told: checks find out.
        """
        self.opened.pop(address, None)

    def relayChanged(self, relayed: Address | None, *, atOnce: bool = True) -> None:
        """
        The relay gave us an address, or took it back.

        @param atOnce: whether the one before is gone; if not, L{relayGone} says when.
        """
        if relayed == self.relayed:
            return
        before, self.relayed = self.relayed, relayed
        if before is not None and atOnce:
            self.relayGone(before)
        if relayed is not None:
            self._tell(self._relayed(relayed))

    def relayGone(self, relayed: Address, *, deserted: bool = False) -> None:
        """
        An address that we had on a relay is gone.

        @param deserted: whether everybody leaves that relay.
        """
        self.deserted = relayed[0] if deserted else None
        for mourner in list(self._mourners):
            mourner(self._relayed(relayed))
        self.deserted = None

    def _tell(self, candidate: Candidate) -> None:
        for subscriber in list(self._subscribers):
            subscriber(candidate)


def _opened(address: Address, base: Address) -> Candidate:
    return reflexiveCandidate(address, base, server="mapped", source="mapped")

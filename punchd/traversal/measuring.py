"""
Asking servers where our sockets are seen: once for the model of our NAT, and
for single sockets right before they are used.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from punchd.core import Address, Datagram, Entropy
from punchd.nat.allocation import fit as ownFit
from punchd.nat.model import PortModel
from punchd.nat.sample import Sample
from punchd.nat.sampling import Sampled, Sampler

from .budget import Budget
from .events import Sockets, Terrain

#: Makes a model of samples.
Fit = Callable[[Sequence[Sample]], PortModel]

#: Flows that a model is made of.
FLOWS: Final = 8
#: Seconds for which a model is good; fresh samples are taken besides.
GOOD: Final = 600.0


class Measuring:
    """
    @ivar model: of our NAT, once it was measured.
    @ivar busy: whether that is going on.
    """

    def __init__(
        self, sockets: Sockets, budget: Budget, entropy: Entropy, fit: Fit | None = None
    ) -> None:
        """
        @param fit: makes a model of samples, unless we do ourselves.
        """
        self._fit: Fit = fit or ownFit
        self.model: PortModel | None = None
        self._sockets = sockets
        self._budget = budget
        self._entropy = entropy
        self._measuredAt = float("-inf")
        self._opened: list[Address] = []
        self._samplers: dict[Address | None, Sampler] = {}
        self._done: dict[Address | None, Callable[[Sampled, float], None]] = {}
        self._datagrams: list[Datagram] = []

    @property
    def busy(self) -> bool:
        """
        Whether the model is being measured.
        """
        return None in self._samplers

    def recall(self, model: PortModel, now: float) -> None:
        """
        This was measured before.
        """
        # What was remembered knows nothing of plugins.
        if self.model is None and self._fit is ownFit:
            self.model, self._measuredAt = model, now

    def measure(
        self, terrain: Terrain, measured: Callable[[float], None], now: float
    ) -> None:
        """
        Make a model, unless there is a good one.

        @param measured: called with the time at the end.
        """
        surveyed = terrain.surveyed
        if surveyed is not None and surveyed[1] > self._measuredAt:
            self.model, self._measuredAt = surveyed
        fresh = self.model is not None and now - self._measuredAt < GOOD
        servers = terrain.servers[:2]
        for _ in range(0 if fresh or not servers else FLOWS // len(servers)):
            base = self._sockets.openSpare()
            if base is not None:
                self._opened.append(base)
        if not self._opened:
            measured(now)
            return
        self._budget.take(len(self._opened) * len(servers), now)

        def sampled(found: Sampled, now: float) -> None:
            self._close()
            if found.samples:
                self.model = self._fit(found.samples)
                self._measuredAt = now
            measured(now)

        self._start(None, self._opened, servers, terrain.rtt, sampled, now)

    def sample(
        self,
        base: Address,
        server: Sequence[Address],
        rtt: float,
        sampled: Callable[[Address | None, float], None],
        now: float,
    ) -> None:
        """
        Ask where one socket is seen.

        @param sampled: called with the address and the time.
        """

        def ended(found: Sampled, now: float) -> None:
            sampled(found.samples[0].mapped if found.samples else None, now)

        self._start(base, [base], server, rtt, ended, now)

    def _start(
        self,
        name: Address | None,
        bases: Sequence[Address],
        servers: Sequence[Address],
        rtt: float,
        done: Callable[[Sampled, float], None],
        now: float,
    ) -> None:
        sampler = Sampler(bases, servers, self._entropy, rtt=rtt)
        self._samplers[name] = sampler
        self._done[name] = done
        sampler.start(now)
        self.drain(now)

    def forget(self, base: Address) -> None:
        """
        Nobody wants to know where that one is.
        """
        self._samplers.pop(base, None)

    def stop(self) -> None:
        """
        Nobody wants anything.
        """
        self._samplers.clear()
        self._close()

    def _close(self) -> None:
        opened, self._opened = self._opened, []
        for base in opened:
            self._sockets.closeSpare(base)

    # --- like a core object

    def datagramReceived(
        self, data: bytes, local: Address, remote: Address, now: float
    ) -> None:
        """
        A server answered, perhaps somebody else.
        """
        for sampler in list(self._samplers.values()):
            sampler.datagramReceived(data, local, remote, now)
        self.drain(now)

    def timeReached(self, now: float) -> None:
        """
        Ask again what is due.
        """
        for sampler in list(self._samplers.values()):
            sampler.timeReached(now)
        self.drain(now)

    def drain(self, now: float) -> None:
        """
        Take what the samplers have to send and to tell.
        """
        for name, sampler in list(self._samplers.items()):
            self._datagrams += sampler.takeDatagrams()
            for event in sampler.takeEvents():
                if isinstance(event, Sampled) and self._samplers.get(name) is sampler:
                    del self._samplers[name]
                    self._done.pop(name)(event, now)

    def takeDatagrams(self) -> Sequence[Datagram]:
        """
        @return: the requests to send now.
        """
        found, self._datagrams = self._datagrams, []
        return found

    def deadline(self) -> float | None:
        """
        @return: when L{timeReached} wants to be called.
        """
        due = [sampler.deadline() for sampler in self._samplers.values()]
        return min((each for each in due if each is not None), default=None)

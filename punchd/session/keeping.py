"""
Keepalives: what a session sends when there is nothing to say, so that NATs keep
its bindings.
"""

from __future__ import annotations

from punchd.core import Entropy

from .backend import IDLE_TIMEOUT
from .carrier import Carrier

#: An idle connection is used after so many seconds, lest QUIC gives it up.
_PING = IDLE_TIMEOUT / 3
#: The least time between two looks at what is idle, in seconds.
_LEAST = 0.5


class Keeping:
    """
    I keep the bindings of one session; its machine keeps the time.
    """

    def __init__(self, carrier: Carrier, entropy: Entropy) -> None:
        self._carrier = carrier
        self._entropy = entropy

    def keepAlive(self, interval: float) -> float:
        """
        Refresh the bindings of the pairs whose time has come.

        @param interval: seconds for which no pair is to be silent.

        @return: when to call me again, in seconds from now.
        """
        carrier = self._carrier
        now = carrier.quic.now()
        if carrier.busy and now - carrier.lastSent >= interval:
            carrier.setBusy(False)
        if now - carrier.lastSent >= _PING:
            carrier.quic.call(self._ping)
        # Early by up to a fifth, so that two sides do not fall into step.
        early = interval * (0.8 + self._entropy(1)[0] / 1280)
        agent = carrier.agent
        if agent is None:
            return early
        carrier.ice(agent.keepalive, 0.8 * interval)
        # The pair that was silent longest says when to look again: by a clock of
        # my own, one checked just before I look would be silent for twice as long.
        last = [now if p.lastSent is None else p.lastSent for p in agent.validPairs]
        return max(min(last, default=now) + early - now, _LEAST)

    def _ping(self, now: float) -> None:
        quic = self._carrier.quicCore
        quic.note(now)
        quic.ping()

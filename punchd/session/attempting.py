"""
All attempts of one session to find a path, or a better one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred

from punchd.ice.pair import CandidatePair
from punchd.traversal.verdict import Verdict

from .attempts import Checks, Relaying, Restart
from .learning import Learning
from .traversal import Traversal

if TYPE_CHECKING:
    from .session import Session


class Attempts:
    """
    I begin what may help, and tell each what became of it.
    """

    def __init__(self, session: Session) -> None:
        context = session.context
        self.checks = Checks(context, session.carrier)
        self.relaying = Relaying(context)
        self.restart = Restart(context, session.exchange)
        self.traversal = Traversal(session)
        self.learning = Learning(session)
        self._session = session
        self._begun = False
        session.carrier.onDoubt = self._doubted

    def start(self) -> dict[str, Deferred[Verdict]]:
        """
        Check for direct paths, get a relayed one, and do more if that is not
        enough.

        @return: what was begun, by name.
        """
        session = self._session
        started: dict[str, Deferred[Verdict]] = {}
        current = session.paths.current
        kind = None if current is None else current.kind
        # One that was left because it is bad is not to be looked for.
        direct = kind == "direct" or (kind is not None and session.paths.hasDirect)
        mode = session.context.mode
        if mode != "relay" and not direct and not self.checks.running:
            started["checks"] = self.checks.start(again=self._begun)
            session.journal.checking(session.carrier.pairs)
        elif mode == "relay":
            session.carrier.speculate()
        if mode != "direct" and kind is None and not self.relaying.running:
            started["relay"] = self.relaying.start()
        if not direct:
            traversal = self.traversal.start()
            if traversal is not None:
                started["traversal"] = traversal
        self._begun = True
        return started

    def recover(self) -> dict[str, Deferred[Verdict]]:
        """
        Begin the same, and ask the peer for new paths.
        """
        started = self.start()
        if not self.restart.running:
            started["restart"] = self.restart.start()
        return started

    def _doubted(self) -> None:
        """
        What took the path may have taken all of UDP.
        """
        context = self._session.context
        if context.relay is not None and context.mode != "direct":
            context.relay.doubt()

    def proven(self, pair: CandidatePair) -> None:
        """
        A pair carries the session.
        """
        if pair.kind == "direct":
            self.checks.proven(pair)
            self.traversal.proven(pair)
        else:
            self.relaying.proven(pair)

    def finished(self) -> None:
        """
        The agent has nothing left to check.
        """
        self.checks.finished()
        self.relaying.finished(self._session.carrier.pairs)

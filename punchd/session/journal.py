"""
What a session writes into the log: the steps from the dial to the goodbye, each
as a sentence for people and, by its C{event} and fields, for programs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

from twisted.logger import Logger, LogLevel

from punchd.core import Address
from punchd.ice.pair import CandidatePair
from punchd.traversal.verdict import Verdict

from .context import Context


class Journal:
    """
    I log for one session.

    @ivar context: of the client.
    @ivar peer: what the user calls the other side.
    """

    log = Logger()

    def __init__(self, context: Context, peer: str) -> None:
        self.context = context
        self.peer = peer
        self._seen: set[tuple[str, str]] = set()
        self._heard = False
        self._lines: list[tuple[Any, str, dict[str, Any]]] = []

    def _say(self, level: Any, text: str, **words: Any) -> None:
        # A line takes as long as a datagram, and there are many just when the peer
        # waits for one.
        if not self._lines:
            self.context.afterReading(self._write)
        self._lines.append((level, text, words))

    def _write(self) -> None:
        lines, self._lines = self._lines, []
        for level, text, words in lines:
            self.log.emit(level, text, **words)

    def dialled(self) -> None:
        """
        We ask the rendezvous for the peer.
        """
        self._say(LogLevel.info, "Dialling {peer}", peer=self.peer, event="dialled")

    def answered(self) -> None:
        """
        The peer took our dial.
        """
        self._say(LogLevel.debug, "{peer} answers", peer=self.peer, event="answered")

    def accepted(self) -> None:
        """
        We took the peer's dial.
        """
        self._say(LogLevel.info, "{peer} dials", peer=self.peer, event="accepted")

    def checking(self, pairs: Sequence[CandidatePair]) -> None:
        """
        Checks are on their way.
        """
        remotes = list(dict.fromkeys(_text(pair.remote.address) for pair in pairs))
        self._say(
            LogLevel.info,
            "Checking {peer}'s addresses: {addresses}",
            peer=self.peer,
            addresses=", ".join(remotes) or "none yet",
            event="checking",
        )

    def check(self, what: Literal["arrived", "answered"], pair: CandidatePair) -> None:
        """
        A check came, or one of ours was answered; the first is worth a line.
        """
        if (what, pair.kind) in self._seen:
            return
        self._seen.add((what, pair.kind))
        self._say(
            LogLevel.debug,
            "First {kind} check of {peer} arrived from {address}"
            if what == "arrived"
            else "First {kind} check answered by {peer} from {address}",
            kind=pair.kind,
            peer=self.peer,
            address=_text(pair.remote.address),
            event=f"check-{what}",
        )

    def heard(self, cameBy: Callable[[], CandidatePair | None]) -> None:
        """
        Bytes of a service came; the first is worth a line.

        @param cameBy: gives the pair, L{None} for the rendezvous.
        """
        if self._heard:
            return
        self._heard = True
        pair = cameBy()
        self._say(
            LogLevel.debug,
            "First byte from {peer}: {kind}",
            peer=self.peer,
            kind="by the rendezvous" if pair is None else pair.kind,
            event="first-byte",
        )

    def carried(self, current: CandidatePair | None) -> None:
        """
        Another pair carries the session, or none does.
        """
        if current is None:
            self._say(
                LogLevel.info,
                "No path to {peer} works",
                peer=self.peer,
                event="path",
                kind=None,
            )
            return
        # Another round of checks begins when this path is lost.
        self._seen.clear()
        self._say(
            LogLevel.info,
            "{title} path to {peer}: {strategy}, {address}",
            title=current.kind.capitalize(),
            peer=self.peer,
            kind=current.kind,
            strategy=current.strategy,
            address=_text(current.remote.address),
            event="path",
        )

    def verdict(self, verdict: Verdict) -> None:
        """
        An attempt has ended.
        """
        self._say(
            LogLevel.debug,
            "{strategy} to {peer}: {outcome}, {reason}",
            strategy=verdict.strategy,
            peer=self.peer,
            outcome=verdict.outcome.value,
            reason=verdict.reason.value,
            evidence=dict(verdict.evidence),
            event="verdict",
        )

    def ended(self, reason: str) -> None:
        """
        The session is over.
        """
        self._say(
            LogLevel.info,
            "Session with {peer} ended: {reason}",
            peer=self.peer,
            reason=reason,
            event="ended",
        )
        # There may be no later.
        self._write()


def _text(address: Address) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

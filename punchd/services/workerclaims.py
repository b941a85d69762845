"""
Reserved ports that are asked for from another process: who asks whom.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from punchd.turn.claims import Claim, Reserved, ownerOf

from .workerpipe import pack
from .workerprocess import Child


def claimRecord(claim: Claim) -> list[str]:
    """
    @return: what others are told of it.
    """
    return [claim.token.hex(), claim.guard, claim.username]


def claimOf(record: Sequence[str]) -> Claim:
    """
    @param record: what L{claimRecord} made.
    """
    token, guard, username = record
    return Claim(bytes.fromhex(token), guard, username)


def reservedOf(record: Sequence[Any] | None) -> Reserved | None:
    """
    @param record: a L{Reserved}, or nothing, as it comes over the wire.
    """
    return None if record is None else Reserved(*record)


class ClaimRoutes:
    """
    I bring each question to the process that can answer it, and the answer back.  All
    of them pass the process with the directory, which has number 0.
    """

    def __init__(self, rendezvous: Any, children: Sequence[Child]) -> None:
        """
        @param rendezvous: the L{punchd.services.rendezvous.Rendezvous}.
        @param children: the other processes, from number 1 on.
        """
        self._rendezvous = rendezvous
        self._children = children
        # Who has asked each worker for what, and was not answered yet.
        self._asked: dict[int, set[tuple[int, Claim]]] = {}

    def ask(self, claim: Claim) -> None:
        """
        This process asks.
        """
        self.asked(0, claim)

    def asked(self, asker: int, claim: Claim) -> None:
        """
        @param asker: the number of the process that asks.
        """
        owner = ownerOf(claim.token, len(self._children) + 1)
        if owner == 0:
            relay, driver = self._relay
            found = relay and driver and driver.call(relay.cede, claim)
            self.answered(asker, claim, found or None)
        elif self._tell(owner, "cede", asker, claimRecord(claim)):
            self._asked.setdefault(owner, set()).add((asker, claim))
        else:
            # Whatever it had is gone.
            self.answered(asker, claim, None)

    def gone(self, owner: int) -> None:
        """
        A worker has died: what it was asked for is gone.
        """
        for asker, claim in self._asked.pop(owner, set()):
            self.answered(asker, claim, None)

    def answered(self, asker: int, claim: Claim, found: Reserved | None) -> None:
        """
        The owner has answered.
        """
        owner = ownerOf(claim.token, len(self._children) + 1)
        self._asked.get(owner, set()).discard((asker, claim))
        if asker:
            self._tell(asker, "ceded", claimRecord(claim), found)
            return
        relay, driver = self._relay
        if relay is not None and driver is not None:
            driver.call(relay.ceded, claim, found)

    @property
    def _relay(self) -> tuple[Any, Any]:
        return self._rendezvous.relay, self._rendezvous.datagrams.driver

    def _tell(self, number: int, *record: Any) -> bool:
        """
        @return: whether there is such a process.
        """
        pipe = self._children[number - 1].pipe
        if pipe is not None:
            pipe.send(next(pack([record])))
        return pipe is not None

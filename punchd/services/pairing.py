"""
Pairing, as a client does it: invitations that were given out, and accepting one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger

from punchd.core import Entropy
from punchd.errors import PairingFailed
from punchd.forward.rules import Allowance

from .links import Links
from .nameplates import TERM
from .petnames import MAX_NAME
from .state import StateFolder

if TYPE_CHECKING:
    from punchd.signaling.pairing import Card, Pairing

#: Seconds to wait for the other side's next message, once there is another side.
PATIENCE = 30.0

#: What C{punchd invite} and C{punchd accept} are told.
Told = dict[str, Any]


class PairingDesk:
    """
    I invite and accept for one state folder.
    """

    log = Logger()

    def __init__(
        self,
        folder: StateFolder,
        links: Links,
        peerId: str,
        entropy: Entropy,
        changed: Callable[[], object],
    ) -> None:
        """
        @param peerId: our own.
        @param changed: called when the folder has a new peer or permission.
        """
        self._folder = folder
        self._links = links
        self._peerId = peerId
        self._entropy = entropy
        self._changed = changed
        self._running: dict[str, Deferred[Told]] = {}

    def invite(
        self, services: Sequence[str], everything: bool, name: str, called: str
    ) -> Deferred[Told]:
        """
        Make a code that somebody may use once.

        @param services: what the other may use then.
        @param everything: whether that is all there is.
        @param name: what we call ourselves.
        @param called: the petname that the other gets here; empty for the one that
            it calls itself.

        @return: fires with the code, the seconds that it is good for, and the URL of
            the rendezvous where it is.
        """
        core = _core()

        def got(answer: dict[str, Any]) -> Told:
            nameplate = int(answer["nameplate"])
            code = core.makeCode(nameplate, self._entropy)
            pairing = core.Pairing(code, True, self._entropy)
            card = core.Card(self._peerId, name, None if everything else services)
            running = Deferred.fromCoroutine(
                self._welcome(nameplate, pairing, card, called)
            )
            self._running[code] = running
            running.addErrback(lambda failure: failure)
            return {
                "code": code,
                "seconds": float(answer["seconds"]),
                "url": str(self._links.current.url),
            }

        return self._links.invite().addCallback(got)

    def invited(self, code: str) -> Deferred[Told]:
        """
        Wait until a code is used; who does not wait any more takes it back.

        @return: fires with the petname and the peer id of the other side, and what
            we may use there.
        """
        running = self._running.pop(code, None)
        if running is None:
            raise PairingFailed("There is no such invitation.")
        return running

    def accept(
        self,
        code: str,
        services: Sequence[str],
        everything: bool,
        name: str,
        called: str,
    ) -> Deferred[Told]:
        """
        Use a code.

        @return: as L{invited}.
        """
        core = _core()
        nameplate, code = core.parseCode(code)
        pairing = core.Pairing(code, False, self._entropy)
        card = core.Card(self._peerId, name, None if everything else services)
        return Deferred.fromCoroutine(self._visit(nameplate, pairing, card, called))

    def stop(self) -> None:
        """
        Take back what was given out.
        """
        running, self._running = self._running, {}
        for each in running.values():
            each.addErrback(lambda failure: failure.trap(CancelledError, PairingFailed))
            each.cancel()

    # --- inside

    async def _welcome(
        self, nameplate: int, pairing: Pairing, card: Card, called: str
    ) -> Told:
        exchange = self._links.exchange
        try:
            pairing.finish(await exchange(nameplate, pairing.start(), TERM + PATIENCE))
            # The other side shows first that it knows the words.
            theirs = pairing.open(await exchange(nameplate, b"", PATIENCE))
            told = self._remember(theirs, card, called)
            # It has the last word, so there is nothing to wait for.
            last = exchange(nameplate, pairing.seal(card), PATIENCE)
            last.addErrback(lambda failure: failure.trap(PairingFailed))
            await last
            return told
        finally:
            self._links.withdraw(nameplate)

    async def _visit(
        self, nameplate: int, pairing: Pairing, card: Card, called: str
    ) -> Told:
        exchange = self._links.exchange
        try:
            pairing.finish(await exchange(nameplate, pairing.start(), PATIENCE))
            theirs = pairing.open(
                await exchange(nameplate, pairing.seal(card), PATIENCE)
            )
            return self._remember(theirs, card, called)
        finally:
            self._links.withdraw(nameplate)

    def _remember(self, theirs: Card, ours: Card, called: str) -> Told:
        if theirs.peerId == self._peerId:
            raise PairingFailed("That is this very machine.")
        name = self._name(theirs, called)
        rules = [Allowance(theirs.peerId, None)]
        if ours.services is not None:
            rules = [Allowance(theirs.peerId, service) for service in ours.services]
        self._folder.permissions.add(rules)
        self._changed()
        self.log.info(
            "Paired with {name}, {peer}", name=name, peer=theirs.peerId, event="paired"
        )
        services = None if theirs.services is None else list(theirs.services)
        return {"name": name, "peer": theirs.peerId, "services": services}

    def _name(self, theirs: Card, called: str) -> str:
        petnames = self._folder.petnames
        known = petnames.nameOf(theirs.peerId)
        if known is not None and not called:
            return known
        taken = petnames.all()
        wanted = called or plainName(theirs.name)
        name, number = wanted, 2
        while taken.get(name, theirs.peerId) != theirs.peerId and not called:
            name, number = f"{wanted[: MAX_NAME - 4]}-{number}", number + 1
        petnames.add(name, theirs.peerId)
        return name


def plainName(text: str) -> str:
    """
    @return: a petname that is like C{text}.
    """
    plain = re.sub("[^a-z0-9]+", "-", text.lower().partition(".")[0]).strip("-")
    return plain[:MAX_NAME] or "peer"


def _core() -> Any:
    """
    @raise PairingFailed: what pairing needs is not installed.
    """
    try:
        from punchd.signaling import pairing
    except ImportError as e:
        raise PairingFailed(
            "Pairing needs a few packages more: install punchd[pairing]."
        ) from e
    return pairing

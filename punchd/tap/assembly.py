"""
The client as a whole: what its options ask for, put together, and put right while it
runs.
"""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from twisted.application.service import MultiService
from twisted.internet.defer import maybeDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from punchd.errors import PunchError
from punchd.forward.home import Home, forwarderOf
from punchd.forward.publish import Publisher
from punchd.forward.rules import (
    Allowance,
    Allowances,
    Forward,
    Publication,
    checkPublications,
)
from punchd.forward.serving import Serving
from punchd.interfaces import (
    ICandidateSource,
    IPathPolicy,
    IPortPredictor,
    ITraversalStrategy,
)
from punchd.net.clock import SleepDetector
from punchd.net.proxy import Proxy, proxyChooser
from punchd.net.ways import Way
from punchd.services.client import PunchClient
from punchd.services.control import ControlService
from punchd.services.handover import Handover
from punchd.services.memory import Memory
from punchd.services.pairing import PairingDesk
from punchd.services.remembered import rememberURLs
from punchd.services.state import StateFolder
from punchd.signaling.url import RendezvousURL

from .exits import exitStatus, oneSentence, say
from .supervision import notify


@dataclass(frozen=True)
class Wishes:
    """
    What the options ask for.

    @ivar fixed: what takes a restart to change, by option.
    """

    publications: Sequence[Publication]
    forwards: Sequence[Forward]
    allow: Sequence[Allowance]
    fixed: dict[str, Any]


@dataclass(frozen=True)
class Parts:
    """
    What else a client is made of.

    @ivar sources: who asks routers for ports.
    @ivar relays: the user's own TURN servers.
    """

    urls: Sequence[RendezvousURL]
    sources: Sequence[ICandidateSource]
    strategies: Sequence[ITraversalStrategy]
    policy: IPathPolicy
    predictors: Sequence[IPortPredictor]
    relays: Sequence[Way]
    proxy: Proxy | None


class Client(MultiService):
    """
    The client, its forwards and its control socket.
    """

    log = Logger()

    def __init__(
        self,
        program: str,
        network: Any,
        folder: StateFolder,
        wishes: Wishes,
        parts: Parts,
        again: Any,
        home: Home,
    ) -> None:
        """
        @param program: the name of the command.
        @param again: called to get the wishes anew, when files have changed; raises
            L{PunchError} when they cannot be used.
        @param home: what forwarders work with.
        """
        super().__init__()
        self._program = program
        self._network = network
        self._folder = folder
        self._reactor = reactor = network.reactor
        self._wishes = wishes
        self._again = again
        self._home = home
        self._forwarders: dict[Forward, Any] = {}
        self._hangUp: Any = None
        options = wishes.fixed

        def nameOf(peerId: str) -> str:
            return folder.petnames.nameOf(peerId) or peerId

        self._publisher = Publisher(network, wishes.publications, nameOf, home)
        self._allowances = Allowances(
            [*wishes.allow, *folder.permissions.all()],
            folder.resolve,
            anyone=options["allow-anyone"],
        )
        # Programs on this machine may offer services, too.
        serving = Serving(
            self._allowances,
            self._publisher,
            lambda service: service in self._publisher.publications,
        )
        self.punch = PunchClient(
            network,
            folder.identity(),
            parts.urls,
            serving,
            serving,
            port=options["port"],
            mode=options["path"],
            patience=options["patience"],
            linger=options["linger"],
            keepalive=options["keepalive"],
            memory=_memory(folder, network),
            sources=parts.sources,
            strategies=parts.strategies,
            policy=parts.policy,
            predictors=parts.predictors,
            proxyFor=proxyChooser(parts.proxy, os.environ),
            relays=parts.relays,
            nameOf=nameOf,
            makeSleepDetector=SleepDetector,
            onGaveUp=self._gaveUp,
        )
        self.punch.onReload = self._reload
        home.opener = self.punch.open
        self.punch.setServiceParent(self)
        for rule in wishes.forwards:
            self._forward(rule)
        ownId = self.punch.context.identity.peerId
        handover = Handover(reactor, network.entropy, ownId, self.punch, serving)
        desk = PairingDesk(
            folder, self.punch.links, ownId, network.entropy, self.punch.reload
        )
        control = ControlService(reactor, folder, self.punch, handover, desk)
        control.setServiceParent(self)
        # For programs that run when this one does not.
        rememberURLs(folder, parts.urls)

    # --- Service

    def privilegedStartService(self) -> None:
        """
        Open all ports, or end with one sentence.
        """
        with oneSentence(self._program):
            super().privilegedStartService()

    def startService(self) -> None:
        """
        Start, or end with one sentence.
        """
        with oneSentence(self._program):
            super().startService()
        # Under nohup too: to read the files again survives a hang-up as well.
        if signal.getsignal(signal.SIGHUP) in (signal.SIG_DFL, signal.SIG_IGN):
            self._hangUp = signal.signal(signal.SIGHUP, self._hungUp)
        # What has been made by now stays: looking through it again and again costs
        # a dial milliseconds.
        gc.collect()
        gc.freeze()
        notify("READY=1")

    def stopService(self) -> Any:
        """
        Stop everything.

        @return: fires when that is done.
        """
        before, self._hangUp = self._hangUp, None
        if before is not None:
            signal.signal(signal.SIGHUP, before)
        return super().stopService()

    # --- while it runs

    def _hungUp(self, number: int, frame: object) -> None:
        self._reactor.callFromThread(self._reloadSaying)

    def _reloadSaying(self) -> None:
        try:
            self.punch.reload()
        except PunchError as e:
            self.log.warn("Nothing was changed: {error}", error=str(e))
        else:
            self.log.info("What has changed in files holds now", event="reloaded")

    def _reload(self) -> None:
        """
        @raise PunchError: the wishes cannot be used; everything stays as it was.
        """
        wishes: Wishes = self._again()
        published = checkPublications(wishes.publications)
        rules = [*wishes.allow, *self._folder.permissions.all()]
        self._allowances.replace(rules)
        self._allowances.anyone = wishes.fixed["allow-anyone"]
        self._publisher.publications = published
        for rule in set(self._forwarders) - set(wishes.forwards):
            gone = self._forwarders.pop(rule)
            maybeDeferred(gone.disownServiceParent).addErrback(
                lambda failure: self.log.failure("A forward was not closed", failure)
            )
            self.log.info("{rule} is gone", rule=str(rule))
        for rule in wishes.forwards:
            if rule not in self._forwarders:
                self._listen(rule)
        before, now = self._wishes.fixed, wishes.fixed
        for name in before:
            if name != "allow-anyone" and before[name] != now[name]:
                self.log.warn("--{name} takes a restart to change", name=name)
        self._wishes = wishes

    def _listen(self, rule: Forward) -> None:
        try:
            self._forward(rule)
        except PunchError as e:
            # The others have nothing to do with it.
            self._forwarders.pop(rule).disownServiceParent()
            self.log.warn("{error}", error=str(e))

    def _forward(self, rule: Forward) -> None:
        forwarder = rule.forwarder or forwarderOf(rule.endpoint)
        made = self._forwarders[rule] = forwarder.forward(rule, self._home)
        made.setServiceParent(self)

    def _gaveUp(self, failure: Failure) -> None:
        """
        The rendezvous is the wrong one, or somebody else took our place.
        """
        say(f"{self._program}: {failure.value}")
        exitStatus(1)
        self._reactor.stop()


def _memory(folder: StateFolder, network: Any) -> Memory:
    return Memory(
        network.wallClock,
        lambda: folder.read("networks.json"),
        lambda content: folder.write("networks.json", content),
    )

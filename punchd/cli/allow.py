"""
C{punchd allow} and C{punchd disallow}.
"""

from __future__ import annotations

from typing import Any

from twisted.python import usage

from punchd.errors import ControlError, InvalidOption
from punchd.forward.rules import Allowance, parseAllow
from punchd.services.asking import ask, runs

from .command import Command, Console


class _AllowOptions(Command):
    """
    What both have.
    """

    synopsis = "PEER[/SERVICE]"

    def rule(self) -> Allowance:
        """
        @return: what the user means.
        """
        rule = parseAllow(self["rule"])
        return Allowance(self.stateFolder().resolve(rule.peer), rule.service)

    def tell(self, console: Console) -> None:
        """
        Have the running client know at once.
        """
        if runs(self.stateFolder()):
            self.askClient(console, "reload")


class AllowOptions(_AllowOptions):
    """
    Let a peer use a service, or all of them; without arguments, list who may.
    """

    longdesc = "It holds at once and for good, beside what --allow says."

    def parseArgs(self, *arguments: str) -> None:
        """
        @raise usage.UsageError: there is more than one argument.
        """
        if len(arguments) > 1:
            raise usage.UsageError(
                f"expected one PEER or PEER/SERVICE, and got {len(arguments)}."
            )
        self["rule"] = arguments[0] if arguments else None

    def run(self, console: Console) -> int:
        """
        @return: 0.
        """
        folder = self.stateFolder()
        if self["rule"] is None:
            for rule in folder.permissions.all():
                name = folder.petnames.nameOf(rule.peer) or rule.peer
                console.line(f"{name}/{rule.service}" if rule.service else name)
            return 0
        folder.permissions.add([self.rule()])
        self.tell(console)
        return 0


class DisallowOptions(_AllowOptions):
    """
    Take back what `punchd allow` or pairing permitted, and end what is going on.
    """

    longdesc = "With PEER alone, everything. What --allow says stays."

    def parseArgs(self, *arguments: str) -> None:
        """
        @raise usage.UsageError: there is not exactly one argument.
        """
        if len(arguments) != 1:
            raise usage.UsageError(
                f"expected one PEER or PEER/SERVICE, and got {len(arguments)}."
            )
        self["rule"] = arguments[0]

    def run(self, console: Console) -> int:
        """
        @return: 0.
        """
        rule = self.rule()
        removed = self.stateFolder().permissions.remove(rule)
        if runs(self.stateFolder()) and console.wait(
            lambda reactor: self._stillAllows(reactor, rule)
        ):
            raise InvalidOption(
                f"{self['rule']} is allowed all the same, by --allow of the running"
                " client or by a broader rule; `punchd allow` lists the others."
            )
        if not removed:
            raise InvalidOption(
                f"{self['rule']} was not allowed; `punchd allow` lists what is."
            )
        return 0

    async def _stillAllows(self, reactor: Any, rule: Allowance) -> bool:
        """
        Have the running client know, and ask it whether that has helped.
        """
        folder = self.stateFolder()
        await ask(reactor, folder, "reload")
        service = rule.service or ""
        try:
            return bool(
                await ask(reactor, folder, "allows", peer=rule.peer, service=service)
            )
        except ControlError:
            # A client of an older version does not know the question.
            return False

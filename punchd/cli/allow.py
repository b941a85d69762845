"""
C{punchd allow} and C{punchd disallow}.
"""

from __future__ import annotations

from twisted.python import usage

from punchd.errors import InvalidOption
from punchd.forward.rules import Allowance, parseAllow
from punchd.services.asking import runs

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
        if not self.stateFolder().permissions.remove(self.rule()):
            raise InvalidOption(
                f"{self['rule']} was not allowed; `punchd allow` lists what is."
            )
        self.tell(console)
        return 0

"""
C{punchd peers}: the names of peers.
"""

from __future__ import annotations

from twisted.python import usage

from .command import Command, Console


class _PeersCommand(Command):
    """
    A command of C{punchd peers} that takes a fixed number of arguments.
    """

    expected: tuple[str, ...] = ()

    def parseArgs(self, *arguments: str) -> None:
        """
        @raise usage.UsageError: there are more or fewer than C{expected}.
        """
        if len(arguments) != len(self.expected):
            wanted = " ".join(self.expected) or "no arguments"
            got = " ".join(arguments) or "nothing"
            raise usage.UsageError(f"expected {wanted}, got {got}.")
        self.given = arguments


class ListOptions(_PeersCommand):
    """
    Print a line for each name.
    """

    def run(self, console: Console) -> int:
        """
        @return: 0.
        """
        names = self.stateFolder().petnames.all()
        width = max(map(len, names), default=0)
        for name, peerId in names.items():
            console.line(f"{name:{width}}  {peerId}")
        return 0


class AddOptions(_PeersCommand):
    """
    Name a peer.
    """

    synopsis = "NAME PEERID"
    expected = ("NAME", "PEERID")

    def run(self, console: Console) -> int:
        """
        @return: 0.
        """
        self.stateFolder().petnames.add(*self.given)
        return 0


class RemoveOptions(_PeersCommand):
    """
    Forget a name.
    """

    synopsis = "NAME"
    expected = ("NAME",)

    def run(self, console: Console) -> int:
        """
        @return: 0.
        """
        self.stateFolder().petnames.remove(*self.given)
        return 0


class RenameOptions(_PeersCommand):
    """
    Give a peer another name.
    """

    synopsis = "OLD NEW"
    expected = ("OLD", "NEW")

    def run(self, console: Console) -> int:
        """
        @return: 0.
        """
        self.stateFolder().petnames.rename(*self.given)
        return 0


class PeersOptions(Command):
    """
    C{punchd peers [list|add|remove|rename]}; C{list} unless given.
    """

    synopsis = ""
    subCommands = [
        ("list", None, ListOptions, "List the names."),
        ("add", None, AddOptions, "Name a peer: NAME PEERID."),
        ("remove", None, RemoveOptions, "Forget a name: NAME."),
        ("rename", None, RenameOptions, "Give a peer another name: OLD NEW."),
    ]
    defaultSubCommand = "list"

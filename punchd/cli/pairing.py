"""
C{punchd invite} and C{punchd accept}.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.python import usage

from punchd.errors import PairingFailed
from punchd.forward.rules import checkName
from punchd.services.asking import runs
from punchd.services.pairing import plainName
from punchd.services.petnames import checkName as checkPetname
from punchd.services.portal import Portal
from punchd.services.remembered import rememberedURLs
from punchd.services.state import StateFolder

from .command import RENDEZVOUS, Command, Console
from .signals import Signals


class _PairingOptions(Command):
    """
    What both have.
    """

    optFlags = [
        [
            "everything",
            None,
            "Let the other machine use all services, later ones too.",
        ],
    ]
    optParameters = [
        [
            "name",
            None,
            None,
            "What this machine calls itself: by default, its name.",
        ],
        [
            "peer",
            None,
            None,
            "What to call the other: by default, what it says.",
        ],
        RENDEZVOUS,
    ]

    def check(self, services: tuple[str, ...]) -> None:
        """
        @raise punchd.errors.InvalidOption: a name is none.
        """
        for service in services:
            checkName(service)
        if self["everything"] and services:
            raise usage.UsageError("expected either --everything or names of services.")
        if self["peer"] is not None:
            checkPetname(self["peer"])
        self["services"] = services

    def words(self) -> dict[str, Any]:
        """
        @return: the arguments of the request.
        """
        return {
            "services": list(self["services"]),
            "everything": bool(self["everything"]),
            "name": plainName(self["name"] or socket.gethostname()),
            "called": self["peer"] or "",
        }

    def pair(self, console: Console) -> int:
        """
        @return: the exit status.
        """
        urls = self.givenURLs()
        folder = self.stateFolder()

        async def work(reactor: Any) -> int:
            portal = Portal(reactor, folder, urls)
            running = Deferred.fromCoroutine(self.talk(console, portal))
            signals = Signals(reactor, running)
            try:
                await running
            except CancelledError:
                return 128 + signals.number
            finally:
                await portal.stop()
            return 0

        status = int(console.wait(work))
        missing = whatIsMissing(folder, self["services"], bool(self["everything"]))
        if status == 0 and missing:
            console.line(missing)
        return status

    async def talk(self, console: Console, portal: Portal) -> None:
        """
        Do it.
        """
        raise NotImplementedError(type(self))

    def paired(self, console: Console, told: dict[str, Any]) -> None:
        """
        Say how it ended.
        """
        name = told["name"]
        console.line(f"Paired with {name}, {told['peer']}.")
        ours = "everything" if self["everything"] else ", ".join(self["services"])
        console.line(f"{name} may use here: {ours or 'nothing'}")
        if told["services"] is None:
            theirs = "everything"
        else:
            theirs = ", ".join(f"{name}/{each}" for each in told["services"])
        console.line(f"You may use there: {theirs or 'nothing'}")


class InviteOptions(_PairingOptions):
    """
    Make a short code by which another machine becomes a peer of this one.
    """

    synopsis = "[SERVICE ...]"
    longdesc = (
        "Tell the code to whoever sits at the other machine. It is good for one try."
        " The services named may be used from there afterwards;"
        " `punchd disallow` takes that back."
    )
    optFlags = [["qr", None, "Show it as a QR code, too."]]

    def parseArgs(self, *services: str) -> None:
        """
        @raise punchd.errors.InvalidOption: one is no name of a service.
        """
        self.check(services)

    def run(self, console: Console) -> int:
        """
        @return: 0 when the other machine has become a peer.
        """
        return self.pair(console)

    async def talk(self, console: Console, portal: Portal) -> None:
        """
        Make a code, and wait until it is used.
        """
        door = await portal.door()
        told = await door.pair("invite", **self.words())
        code, minutes = told["code"], round(told["seconds"] / 60)
        command = f"punchd accept {code} --rendezvous='{told['url']}'"
        console.line(code)
        console.line()
        console.line(f"It is good for one try within {minutes} minutes. Over there:")
        console.line(f"    {command}")
        if self["qr"]:
            _show(console, command)
        console.out.flush()
        self.paired(console, await door.pair("invited", code=code))


class AcceptOptions(_PairingOptions):
    """
    Use the code that `punchd invite` printed on another machine.
    """

    synopsis = "CODE [SERVICE ...]"
    longdesc = "The services named may be used from there afterwards."

    def parseArgs(self, *arguments: str) -> None:
        """
        @raise usage.UsageError: there is no code.
        """
        if not arguments:
            raise usage.UsageError(
                "expected the CODE that `punchd invite` printed on the other machine."
            )
        self["code"] = arguments[0]
        self.check(arguments[1:])

    def run(self, console: Console) -> int:
        """
        @return: 0 when the other machine has become a peer.
        """
        return self.pair(console)

    async def talk(self, console: Console, portal: Portal) -> None:
        """
        Use it.
        """
        door = await portal.door()
        told = await door.pair("accept", code=self["code"], **self.words())
        self.paired(console, told)


def whatIsMissing(
    folder: StateFolder, services: Sequence[str], everything: bool
) -> str:
    """
    @param services: what was permitted.
    @param everything: whether that is all there is.

    @return: how to offer it, empty if a client runs here that may do so, or if nothing
        was permitted.
    """
    if not (services or everything) or runs(folder):
        return ""
    url = next(iter(rememberedURLs(folder)), "URL")
    publish = " ".join(
        f"--publish={each}=tcp:HOST:PORT" for each in services or ["NAME"]
    )
    return (
        "No client runs here that would offer it yet:\n"
        f"    twistd -n punch-client --rendezvous='{url}' {publish}"
    )


def _show(console: Console, text: str) -> None:
    try:
        import segno
    except ImportError as e:
        raise PairingFailed(
            "QR codes need a package more: install punchd[pairing]."
        ) from e
    segno.make(text, error="l").terminal(console.out, compact=True)

"""
C{punchd status}.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from punchd.services.status import RendezvousStatus, SessionStatus, Status

from .command import Command, Console

#: Seconds by which a clock may be wrong without a word.
_CLOCK = 60.0


class StatusOptions(Command):
    """
    Show the running client: its NAT, its sessions and their paths.
    """

    synopsis = "[--json] [--state=DIR]"
    optFlags = [["json", None, "Print JSON, for programs."]]

    def run(self, console: Console) -> int:
        """
        @return: 0.
        """
        folder = self.stateFolder()
        status = self.askClient(console, "status")
        if self["json"]:
            console.line(json.dumps(status, indent=2))
        else:
            names = {peerId: name for name, peerId in folder.petnames.all().items()}
            for line in report(status, names):
                console.line(line)
        return 0


def report(status: Status, names: dict[str, str]) -> Iterator[str]:
    """
    @param names: petnames by peer id.

    @return: lines for a person.
    """
    rendezvous, nat = status["rendezvous"], status["nat"]
    lifetime = nat["bindingLifetime"]
    yield from table(
        [
            ("peer id", status["peerId"]),
            ("rendezvous", f"{rendezvous['url']} ({_link(rendezvous)})"),
            *_clock(rendezvous),
            ("public addresses", ", ".join(nat["publicAddresses"]) or "none seen yet"),
            ("NAT mapping", nat["mapping"]),
            ("NAT filtering", nat["filtering"]),
            ("NAT allocation", nat["allocation"]),
            ("NAT hairpin", answer(nat["hairpin"])),
            ("binding lifetime", "unknown" if lifetime is None else seconds(lifetime)),
            ("keepalive", f"every {seconds(nat.get('keepaliveInterval'))}"),
        ]
    )
    yield ""
    if not status["sessions"]:
        yield "No session."
        return
    head = ("PEER", "STATE", "PATH", "RTT", "FIRST BYTE", "DIRECT", "SENT", "RECEIVED")
    rows = [_session(session, names) for session in status["sessions"]]
    yield from table([head, *rows])


def _link(rendezvous: RendezvousStatus) -> str:
    if not rendezvous["connected"]:
        reason = rendezvous.get("reason", "").rstrip(".")
        return f"not connected: {reason}" if reason else "not connected"
    port = rendezvous.get("port")
    text = "connected" if port is None else f"connected, TCP port {port}"
    if not rendezvous.get("proxied"):
        return text
    return f"{text} through the proxy at {rendezvous.get('proxy')}"


def _clock(rendezvous: RendezvousStatus) -> Iterator[tuple[str, str]]:
    ahead = rendezvous.get("clockAhead") or 0.0
    if abs(ahead) >= _CLOCK:
        way = "ahead of" if ahead > 0 else "behind"
        yield "clock", f"{seconds(abs(ahead))} {way} the rendezvous's: set it right"


def _session(session: SessionStatus, names: dict[str, str]) -> tuple[str, ...]:
    path = session["path"]
    way = "none"
    if path["kind"] is not None:
        way = f"{path['kind']} {path['transport']} ({path['strategy']})"
    peer = session["peer"]
    return (
        names.get(peer, peer),
        session["state"],
        way,
        seconds(path["rtt"]),
        seconds(session["secondsToFirstByte"]),
        seconds(session["secondsToDirect"]),
        size(session["bytesSent"]),
        size(session["bytesReceived"]),
    )


def answer(value: bool | None) -> str:
    """
    @return: what was found out, for people to read; L{None} is nothing.
    """
    return "unknown" if value is None else "yes" if value else "no"


def seconds(value: float | None) -> str:
    """
    @return: a time as a person writes it.
    """
    if value is None:
        return "-"
    if value < 1:
        return f"{value * 1000:.0f} ms"
    return f"{value:.1f} s" if value < 100 else f"{value:.0f} s"


def size(count: float) -> str:
    """
    @param count: bytes.

    @return: a size as a person writes it.
    """
    if count < 1000:
        return f"{count:.0f} B"
    for unit in ("kB", "MB", "GB"):
        count /= 1000
        if count < 999.95:
            return f"{count:.1f} {unit}"
    return f"{count / 1000:.1f} TB"


def table(rows: Sequence[Sequence[Any]]) -> Iterator[str]:
    """
    @return: the rows with their columns aligned.
    """
    widths = [max(len(cell) for cell in column) for column in zip(*rows)]
    for row in rows:
        yield "  ".join(f"{c:{w}}" for c, w in zip(row, widths)).rstrip()

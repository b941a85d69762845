"""
The rendezvous that a client on a state folder used the last time, for programs that
run when it does not.
"""

from __future__ import annotations

from collections.abc import Iterable

from punchd.signaling.url import RendezvousURL

from .state import StateFolder

#: The file in the state folder: a URL a line.
NAME = "rendezvous"


def rememberedURLs(folder: StateFolder) -> list[RendezvousURL]:
    """
    @return: where the last client registered; none if there has been none.

    @raise punchd.errors.InvalidURL: somebody has edited the file.
    """
    known = folder.read(NAME) or b""
    return [RendezvousURL.parse(line) for line in known.decode("latin-1").split()]


def rememberURLs(folder: StateFolder, urls: Iterable[RendezvousURL]) -> None:
    """
    Keep them for the next one.
    """
    text = "".join(f"{url}\n" for url in urls).encode()
    if folder.read(NAME) != text:
        folder.write(NAME, text)

"""
What the directory knows, in every process that has to decide by it.

The rendezvous tells each change in a record, a list of texts and numbers whose
first one names it; its workers keep a copy and ask nobody.  A record reaches them
sooner than a datagram of the client whom it is about.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from punchd.core import Address, Entropy
from punchd.signaling.directory import (
    SIGHTING_LIFETIME,
    Arrival,
    Dial,
    Directory,
    Limits,
    Presence,
    Sightings,
)

#: Seconds after which it is told again that a client is still seen somewhere.
RETELL: Final = SIGHTING_LIFETIME / 3

Tell = Callable[..., None]


class ToldSightings(Sightings):
    """
    I tell what is added.
    """

    __slots__ = ("_tell", "_toldAt")

    def __init__(self, tell: Callable[[Address], None]) -> None:
        super().__init__()
        self._tell = tell
        self._toldAt: dict[Address, float] = {}

    def add(self, address: Address, now: float) -> bool:
        """
        @see: L{Sightings.add}.
        """
        fresh = super().add(address, now)
        if fresh or now - self._toldAt.get(address, -RETELL) >= RETELL:
            self._toldAt = {
                each: at for each, at in self._toldAt.items() if now - at < RETELL
            }
            self._toldAt[address] = now
            self._tell(address)
        return fresh

    def copied(self, address: Address, now: float) -> None:
        """
        Another process has told that.
        """
        super().add(address, now)


class ToldDirectory(Directory):
    """
    I am the directory, and tell what changes.
    """

    def __init__(self, entropy: Entropy, limits: Limits, tell: Tell) -> None:
        """
        @param tell: called with each record.
        """
        super().__init__(entropy, limits)
        self._tell = tell

    def records(self, now: float) -> Iterator[tuple[Any, ...]]:
        """
        @return: all that a new copy has to be told.
        """
        for presence in self._byHandle.values():
            yield "here", presence.handle, presence.key.decode("ascii")
            for address in reversed(presence.sightings.addresses(now)):
                yield ("seen", presence.handle, *address)
        for presence in self._byHandle.values():
            for dial in presence.dials.values():
                if dial.dialler is presence:
                    yield "dial", dial.dialId, presence.handle, dial.listener.handle
                    if dial.accepted:
                        yield "accepted", dial.dialId, presence.handle

    def register(
        self, peer: str, host: str, connection: object, resume: str | None, now: float
    ) -> Arrival:
        """
        @see: L{Directory.register}.
        """
        arrival = super().register(peer, host, connection, resume, now)
        if not arrival.resumed:
            presence = arrival.presence
            handle = presence.handle
            presence.sightings = ToldSightings(
                lambda address: self._tell("seen", handle, *address)
            )
            self._tell("here", handle, presence.key.decode("ascii"))
        return arrival

    def dial(self, dialler: Presence, peer: str, dialId: str, now: float) -> Dial:
        """
        @see: L{Directory.dial}.
        """
        dial = super().dial(dialler, peer, dialId, now)
        self._tell("dial", dialId, dialler.handle, dial.listener.handle)
        return dial

    def accept(self, dial: Dial) -> bool:
        """
        @see: L{Directory.accept}.
        """
        accepted = super().accept(dial)
        if accepted:
            self._tell("accepted", dial.dialId, dial.dialler.handle)
        return accepted

    def close(self, dial: Dial) -> None:
        """
        @see: L{Directory.close}.
        """
        super().close(dial)
        self._tell("ended", dial.dialId, dial.dialler.handle)

    def _remove(self, presence: Presence) -> list[Dial]:
        ended = super()._remove(presence)
        self._tell("gone", presence.handle)
        return ended


class Copy(Directory):
    """
    I am a worker's copy: I know handles and keys, where clients are seen, and who
    has dialled whom, which is what L{presenceOf}, L{mayAllocate} and L{mayRelay}
    need.
    """

    def __init__(self, tell: Tell) -> None:
        """
        @param tell: called with what is seen here.
        """
        super().__init__(lambda count: b"")
        self._tell = tell

    def here(self, now: float, handle: str, key: str) -> None:
        """
        A client has registered.
        """
        self._byHandle[handle] = Presence(
            "",
            handle,
            key.encode("ascii"),
            "",
            None,
            ToldSightings(lambda address: self._tell("seen", handle, *address)),
        )

    def gone(self, now: float, handle: str) -> None:
        """
        It is forgotten.
        """
        presence = self._byHandle.pop(handle, None)
        for dial in list(presence.dials.values()) if presence is not None else ():
            self.close(dial)

    def seen(self, now: float, handle: str, host: str, port: int) -> None:
        """
        It was observed.
        """
        presence = self._byHandle.get(handle)
        if presence is not None and isinstance(presence.sightings, ToldSightings):
            presence.sightings.copied((host, port), now)

    def dialled(self, now: float, dialId: str, dialler: str, listener: str) -> None:
        """
        One client dials another.
        """
        sides = self._byHandle.get(dialler), self._byHandle.get(listener)
        if sides[0] is not None and sides[1] is not None:
            dial = Dial(dialId, sides[0], sides[1])
            sides[0].dials[dialId] = sides[1].dials[dialId] = dial

    def accepted(self, now: float, dialId: str, dialler: str) -> None:
        """
        The other one has answered.
        """
        presence = self._byHandle.get(dialler)
        if presence is not None and dialId in presence.dials:
            self.accept(presence.dials[dialId])

    def ended(self, now: float, dialId: str, dialler: str) -> None:
        """
        A dial is over.
        """
        presence = self._byHandle.get(dialler)
        if presence is not None and dialId in presence.dials:
            self.close(presence.dials[dialId])

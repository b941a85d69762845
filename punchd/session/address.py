"""
Where the two ends of a stream are, as Twisted's protocols see it.
"""

from __future__ import annotations

from dataclasses import dataclass

from twisted.internet.interfaces import IAddress
from zope.interface import implementer


@implementer(IAddress)
@dataclass(frozen=True, slots=True)
class PunchAddress:
    """
    One end of a stream.

    @ivar peerId: who is at that end.
    @ivar service: the name of the service that the stream was opened for.
    """

    peerId: str
    service: str

    def __str__(self) -> str:
        return f"{self.peerId}/{self.service}"

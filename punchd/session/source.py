"""
Who fills the streams of a L{punchd.session.quic.QuicCore}.
"""

from __future__ import annotations

from typing import Protocol


class Source(Protocol):
    """
    Who fills the streams just in time; L{punchd.session.mux.Streams}.
    """

    def fill(self) -> bool:
        """
        Hand over what QUIC should send next, little at a time.

        @return: whether there was anything.
        """

    def due(self, now: float) -> None:
        """
        Do what was put off, and what the time has come for.
        """

    def deadline(self) -> float | None:
        """
        @return: when L{due} wants to be called.
        """


class Nothing:
    """
    No streams at all.
    """

    def fill(self) -> bool:
        return False

    def due(self, now: float) -> None:
        pass

    def deadline(self) -> float | None:
        return None

"""
What of the session arrived on a 5-tuple: the value of SESSION_REPORT.

An ICE check proves that checks get through; a report proves it of the
session's own datagrams, and of their size.
"""

from __future__ import annotations

from dataclasses import dataclass

_MODULUS = 1 << 32
_LARGEST = 0xFFFF


@dataclass(slots=True)
class Report:
    """
    @ivar count: datagrams of the session received, modulo 2**32.
    @ivar largest: the size of the largest of them in bytes.
    """

    count: int = 0
    largest: int = 0

    def note(self, size: int, count: int = 1) -> None:
        """
        C{count} more datagrams have arrived, the largest of C{size} bytes.
        """
        self.count = (self.count + count) % _MODULUS
        if size > self.largest:
            self.largest = min(size, _LARGEST)

    @property
    def value(self) -> tuple[int, int]:
        """
        As the STUN attribute takes it.
        """
        return (self.count, self.largest)

    def newer(self, value: tuple[int, int]) -> bool:
        """
        @return: whether C{value} says more than this does; reports overtake
            each other on their way, and their count wraps.
        """
        count, largest = value
        ahead = (count - self.count) % _MODULUS
        if ahead == 0:
            return largest > self.largest
        return ahead < _MODULUS // 2

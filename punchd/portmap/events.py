"""
What the clients of NAT-PMP and PCP tell.
"""

from __future__ import annotations

from dataclasses import dataclass

from punchd.core import Address


@dataclass(frozen=True, slots=True)
class Available:
    """
    The gateway speaks the protocol.

    @ivar host: its address outside, where it says so before there is a mapping.
    """

    host: str | None = None


@dataclass(frozen=True, slots=True)
class Mapped:
    """
    The gateway leads an address outside to our port.  Told again with each
    renewal.

    @ivar address: where others reach us.
    @ivar lifetime: for so many seconds, if it is not renewed.
    """

    address: Address
    lifetime: float


@dataclass(frozen=True, slots=True)
class Failed:
    """
    There is no mapping, and will be none before somebody asks again.

    @ivar reason: in words that stand after the name of the protocol.
    @ivar code: the gateway's result code, if it has answered.
    """

    reason: str
    code: int | None = None


@dataclass(frozen=True, slots=True)
class Lost:
    """
    A mapping that was told is of no use any more.

    @ivar reason: in words.
    """

    reason: str


@dataclass(frozen=True, slots=True)
class Released:
    """
    The mapping was given back, or there is none.
    """

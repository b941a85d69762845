"""
The one contract between the rooms that decide and the loop that does I/O.

A core object never reads a clock, opens a socket or logs.  It is fed with
handlers and commands that carry the time, and drained afterwards:

  - handlers: C{datagramReceived(data, local, remote, now)}, C{timeReached(now)};
  - commands: whatever the object is for, with C{now} as the last argument;
  - drains: C{takeDatagrams()}, C{takeEvents()}, C{deadline()}.

L{punchd.net.driver.Driver} calls the drains after every entry and arms one
delayed call at the deadline.  What arrives from the network never makes a
handler raise: it is counted and dropped.  Times are monotonic seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, overload

#: A transport address: the textual host, without a scope and in the form of
#: RFC 5952 for IPv6, and the port.
Address = tuple[str, int]

#: A source of random bytes; C{os.urandom} outside tests.
Entropy = Callable[[int], bytes]


@dataclass(slots=True)
class Datagram:
    """
    A datagram to be sent.

    @ivar data: the payload.
    @ivar local: the address to send from, which also names the socket or the
        relay; L{None} leaves the source address to the kernel.
    @ivar remote: the destination.
    @ivar ttl: the hop limit, or L{None} for the system's default.
    """

    data: bytes
    local: Address | None
    remote: Address
    ttl: int | None = None


class Burst(Sequence[Datagram]):
    """
    Datagrams that differ in their payloads only: as good as so many
    L{Datagram}s, and cheaper for who passes them on as a whole.

    @ivar payloads: those, in order; shared, and not to be changed.
    """

    __slots__ = ("local", "payloads", "remote")

    def __init__(
        self, payloads: list[bytes], local: Address | None, remote: Address
    ) -> None:
        self.payloads = payloads
        self.local = local
        self.remote = remote

    def __len__(self) -> int:
        return len(self.payloads)

    @overload
    def __getitem__(self, index: int) -> Datagram: ...
    @overload
    def __getitem__(self, index: slice) -> Burst: ...
    def __getitem__(self, index: int | slice) -> Datagram | Burst:
        if isinstance(index, slice):
            return Burst(self.payloads[index], self.local, self.remote)
        return Datagram(self.payloads[index], self.local, self.remote)

    def __iter__(self) -> Iterator[Datagram]:
        for data in self.payloads:
            yield Datagram(data, self.local, self.remote)


class Core(Protocol):
    """
    What the driver needs of a core object.
    """

    def datagramReceived(
        self, data: bytes, local: Address, remote: Address, now: float
    ) -> None:
        """
        A datagram came from C{remote} to the address C{local} of ours.
        """

    def timeReached(self, now: float) -> None:
        """
        The deadline has passed; a call before it changes nothing.
        """

    def takeDatagrams(self) -> Sequence[Datagram]:
        """
        @return: the datagrams to send now, oldest first; they are forgotten.
        """

    def takeEvents(self) -> Sequence[object]:
        """
        @return: what happened since the last call, oldest first.
        """

    def deadline(self) -> float | None:
        """
        @return: when L{timeReached} wants to be called, or L{None}.
        """

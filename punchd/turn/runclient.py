"""
Sending and receiving many datagrams of one peer together, with one look at the
tables for all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from punchd.core import Address, Burst, Datagram

from .channeldata import channelHead
from .client import Client, State

#: (payloads, local, remote): what came from one source to one address.
Run = tuple[list[bytes], Address, Address]


@dataclass(slots=True)
class RelayedRun:
    """
    Several datagrams came through the relay, one after another.
    """

    payloads: list[bytes]
    peer: Address


class RunClient(Client):
    """
    I am the client, and take runs as well: their effect is that of the datagrams
    one by one, in that order, but for L{RelayedRun}, which stands for several
    L{RelayedDatagram<punchd.turn.events.RelayedDatagram>}s.
    """

    def __init__(self, server: Address, **options: Any) -> None:
        """
        @see: L{Client}.
        """
        super().__init__(server, **options)
        # What goes in runs, behind so many of the single datagrams.
        self._bursts: list[tuple[int, list[bytes]]] = []

    def sendRun(self, payloads: list[bytes], peer: Address, now: float) -> None:
        """
        Send several datagrams through the relay.

        @see: L{Client.send}.
        """
        number = None
        if self._state is State.ALLOCATED:
            number = self._peers.channelTo(peer, now)
        if number is None:
            for data in payloads:
                self.send(data, peer, now)
            return
        # All but the last are of one size, mostly.
        size, head = -1, b""
        framed = []
        for data in payloads:
            if len(data) != size:
                size = len(data)
                head = channelHead(number, size)
            framed.append(head + data)
        self._bursts.append((len(self._datagrams), framed))

    def runsReceived(self, runs: Iterable[Run], now: float) -> None:
        """
        Datagrams came; L{RelayedRun} follows for what was in channels.
        """
        for payloads, local, remote in runs:
            if remote != self.server:
                self.counters["not the server"] += len(payloads)
            else:
                self._runReceived(payloads, local, remote, now)

    def takeDatagrams(self) -> Sequence[Datagram]:
        """
        @return: what is to be sent to the server, as one L{Burst} if it can be.
        """
        bursts, self._bursts = self._bursts, []
        single = super().takeDatagrams()
        if not bursts:
            return single
        if not single:
            framed = bursts[0][1]
            for _, more in bursts[1:]:
                framed += more
            return Burst(framed, None, self.server)
        taken: list[Datagram] = []
        done = 0
        for before, framed in bursts:
            taken += single[done:before]
            taken += [Datagram(data, None, self.server) for data in framed]
            done = before
        return [*taken, *single[done:]]

    # --- inside -------------------------------------------------------------

    def _runReceived(
        self, payloads: list[bytes], local: Address, remote: Address, now: float
    ) -> None:
        head, size = b"", -1
        run: RelayedRun | None = None
        for data in payloads:
            if run is not None and len(data) == size and data[:4] == head:
                run.payloads.append(data[4:])
                continue
            head, size = data[:4], len(data)
            peer = None
            if size >= 4 and 0x40 <= head[0] < 0x80:
                peer = self._peers.peerOf(head[0] << 8 | head[1])
            if peer is None or head[2] << 8 | head[3] != size - 4:
                # What is wrong with it, or what else it is, is found out there.
                run = None
                self.datagramReceived(data, local, remote, now)
            elif run is not None and run.peer == peer:
                run.payloads.append(data[4:])
            else:
                run = RelayedRun([data[4:]], peer)
                self._events.append(run)

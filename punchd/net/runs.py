"""
For those who take what came the same way together.
"""

from __future__ import annotations

from collections.abc import Sequence

from punchd.core import Address

from .udp import Received, Run


class RunReceiver:
    """
    I turn what comes in other ways into runs: the rest of an
    L{IRunReceiver<punchd.interfaces.IRunReceiver>}.
    """

    def runsReceived(self, runs: Sequence[Run]) -> None:
        """
        @see: L{punchd.interfaces.IRunReceiver}.
        """
        raise NotImplementedError

    def datagramReceived(self, data: bytes, local: Address, remote: Address) -> None:
        """
        @see: L{punchd.interfaces.IDatagramReceiver}.
        """
        self.runsReceived([([data], local, remote)])

    def datagramsReceived(self, datagrams: Sequence[Received]) -> None:
        """
        @see: L{punchd.interfaces.IBatchReceiver}.
        """
        self.runsReceived([([data], here, there) for data, here, there in datagrams])

"""
IAdmission: who may register, and what the relay gives.
"""

from typing import Any

from zope.interface import implementer

from punchd.errors import InvalidOption
from punchd.interfaces import IAdmission
from punchd.turn.guards import Guard


class Network24(Guard):
    """
    I admit who comes from hosts that begin alike.
    """

    def __init__(self, name: str, prefix: str) -> None:
        super().__init__(name)
        self._prefix = prefix

    def mayRegister(self, peer: str, host: str) -> bool:
        """
        @see: L{IGuard.mayRegister}.
        """
        return host.startswith(self._prefix)


@implementer(IAdmission)
class From:
    """
    from:PREFIX admits only who comes from addresses that begin so, as from:192.0.2.
    """

    name = "from"

    def guard(self, name: str, arguments: str, network: Any) -> Guard:
        """
        @see: L{IAdmission.guard}.
        """
        if not arguments:
            raise InvalidOption("--admit=from: expected from:PREFIX, as from:192.0.2.")
        return Network24(name, arguments)


from_ = From()

"""
A rule about whom a rendezvous admits.
"""

from __future__ import annotations

import re
import time
from typing import Any

from zope.interface import implementer

from punchd.errors import InvalidOption
from punchd.interfaces import IAdmission


@implementer(IAdmission)
class Hours:
    """
    hours:FROM-TO lets clients register in these hours of the day (UTC) only.
    """

    name = "hours"

    def guard(self, name: str, arguments: str, network: Any) -> Any:
        """
        @see: L{IAdmission.guard}.
        """
        found = re.fullmatch(r"(\d{1,2})-(\d{1,2})", arguments)
        if found is None or max(int(found[1]), int(found[2])) > 24:
            raise InvalidOption(
                f"--admit=hours:{arguments}: expected FROM-TO, two hours from 0 to 24."
            )
        # Each twistd loads this module, but few need what guards are made of.
        from punchd.turn.guards import Guard

        class Opening(Guard):
            def mayRegister(self, peer: str, host: str) -> bool:
                hour = time.gmtime(network.wallClock()).tm_hour
                return int(found[1]) <= hour < int(found[2])

        return Opening(name)

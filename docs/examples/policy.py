"""
IPathPolicy: never over a relay longer than needed, whatever it is worth.
"""

from typing import Any

from zope.interface import implementer

from punchd.interfaces import IPathPolicy
from punchd.traversal.policy import Choice


@implementer(IPathPolicy)
class Frugal:
    """
    The relay carries what no direct path delivers, and nothing else.
    """

    name = "frugal"

    def choose(self, paths: Any, current: Any) -> Choice | None:
        """
        @see: L{IPathPolicy.choose}.
        """
        best = max(paths, key=lambda path: (path.delivers, path.merit))
        if current is not None and current.delivers >= best.delivers:
            if current.merit >= best.merit:
                return None
        return Choice(best, "the relay is expensive")


frugal = Frugal()

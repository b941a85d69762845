"""
Asking whether we may spray: not while somebody else behind our public address
does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from punchd.core import Entropy

from .budget import Budget
from .events import LeaseReleased, LeaseWanted

#: The octets of a name, and the most characters of one that the peer made up.
_NAME: Final = 8
_LONGEST: Final = 32
#: What the peer may say before we have an answer.
_MOST: Final = 8


class Lease:
    """
    I keep what is to begin until the rendezvous has answered.
    """

    def __init__(
        self, budget: Budget, entropy: Entropy, tell: Callable[[object], object]
    ) -> None:
        """
        @param tell: takes L{LeaseWanted} and L{LeaseReleased}.
        """
        self._budget = budget
        self._entropy = entropy
        self._tell = tell
        self._name: str | None = None
        self._strategy: Any = None
        self._said: list[dict[str, Any]] = []

    @property
    def name(self) -> str | None:
        """
        The name of the lease that is wanted or held, for the peer to ask for the
        same one.
        """
        return self._name

    def ask(self, strategy: Any, name: object = None) -> bool:
        """
        Ask, unless another session of ours sprays.

        @param strategy: what is to begin then.
        @param name: that of the peer's lease.

        @return: whether there will be an answer.
        """
        if not self._budget.beginSpray(self):
            return False
        known = isinstance(name, str) and 0 < len(name) <= _LONGEST
        self._name = str(name) if known else self._entropy(_NAME).hex()
        self._strategy = strategy
        self._said = []
        self._tell(LeaseWanted(self._name))
        return True

    def keep(self, body: dict[str, Any]) -> None:
        """
        The peer says something to what has not begun yet.
        """
        if self._strategy is not None and len(self._said) < _MOST:
            self._said.append(body)

    def answered(
        self, name: str, wait: float
    ) -> tuple[Any, list[dict[str, Any]]] | None:
        """
        There is an answer.

        @param wait: seconds until there is a chance, 0 if we have it now.

        @return: what was to begin, and what the peer has said to it; L{None} if
            nobody waits for that.
        """
        if self._strategy is None or name != self._name:
            return None
        found = self._strategy, self._said
        self._strategy, self._said = None, []
        self._budget.leased(not wait)
        if wait:
            self._name = None
            self._budget.endSpray(self)
        return found

    def release(self) -> None:
        """
        It is over.
        """
        name, self._name = self._name, None
        self._strategy, self._said = None, []
        self._budget.endSpray(self)
        if name is not None:
            self._tell(LeaseReleased(name))

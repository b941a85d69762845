"""
Who may have a session, and who may open which service.
"""

from __future__ import annotations

from collections.abc import Iterable


class Permissions:
    """
    I know what C{--allow} says.  Nobody may do anything unless it is said.

    @ivar anyone: whether every peer may open every service.
    """

    def __init__(
        self, rules: Iterable[tuple[str, str | None]] = (), anyone: bool = False
    ) -> None:
        """
        @param rules: peer ids, each with the service that it may open, or
            L{None} for all services.
        """
        self.anyone = anyone
        self._rules: dict[str, set[str | None]] = {}
        self.replace(rules)

    def replace(self, rules: Iterable[tuple[str, str | None]]) -> None:
        """
        Forget what was said and take these rules.
        """
        self._rules = {}
        for peerId, service in rules:
            self._rules.setdefault(peerId, set()).add(service)

    def allowsPeer(self, peerId: str) -> bool:
        """
        @return: whether the peer may have a session at all.
        """
        return self.anyone or peerId in self._rules

    def allows(self, peerId: str, service: str) -> bool:
        """
        @return: whether the peer may open the service.
        """
        allowed = self._rules.get(peerId, ())
        return self.anyone or None in allowed or service in allowed

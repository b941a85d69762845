"""
The built-in candidate sources, as Twisted's plugin system finds them.

Every C{twistd} loads this module, so the rest is imported when it is needed.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from zope.interface import implementer

from punchd.interfaces import ICandidateSearch, ICandidateSeeker, ICandidateSource


@implementer(ICandidateSource)
class PortMapping:
    """
    I am one of the protocols by which routers open ports.
    """

    def __init__(
        self, name: str, preference: int, families: tuple[int, ...], search: str
    ) -> None:
        """
        @param search: the module and the class that does the work, with a colon
            between them.
        """
        self.__doc__ = f"Asks the router to open a port, by {name.upper()}."
        self.name = name
        self.preference = preference
        self.families = families
        self._search = search

    def seek(
        self, network: Any, base: Any, gateway: Any, seeker: ICandidateSeeker
    ) -> ICandidateSearch:
        """
        Begin to ask.
        """
        module, _, name = self._search.partition(":")
        made: ICandidateSearch = getattr(import_module(module), name)(
            network, base, gateway, seeker
        )
        return made

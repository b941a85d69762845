"""
The built-in forwarders, as Twisted's plugin system finds them.

Every C{twistd} loads this module, so the rest is imported when it is needed.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from twisted.application.service import IService
from zope.interface import implementer

from punchd.interfaces import IForwarder, IHome


@implementer(IForwarder)
class EndpointKind:
    """
    I serve one kind of endpoints.
    """

    targeted = True

    def __init__(self, name: str, module: str, doc: str) -> None:
        """
        @param module: has the functions C{forward} and C{publish}.
        @param doc: a sentence for C{--help-plugins}.
        """
        self.__doc__ = doc
        self.name = name
        self._module = module

    def forward(self, rule: Any, home: IHome) -> IService:
        """
        @see: L{IForwarder.forward}.
        """
        made: IService = import_module(self._module).forward(rule, home)
        return made

    def publish(self, rule: Any, home: IHome) -> Callable[[str, Any], None]:
        """
        @see: L{IForwarder.publish}.
        """
        made: Callable[[str, Any], None]
        made = import_module(self._module).publish(rule, home)
        return made

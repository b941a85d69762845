"""
What is built in of L{IAdmission}, light enough for every C{twistd} to load.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from twisted.plugin import IPlugin
from zope.interface import implementer

from punchd.interfaces import IAdmission, IGuard


@implementer(IPlugin, IAdmission)
class Admission:
    """
    A function that makes a guard, which is loaded when it is needed.
    """

    def __init__(self, name: str, maker: str, doc: str) -> None:
        """
        @param maker: its module and name, as C{package.module:function}.
        @param doc: a sentence for C{--help-plugins}.
        """
        self.__doc__ = doc
        self.name = name
        self._maker = maker

    def guard(self, name: str, arguments: str, network: Any) -> IGuard:
        """
        @see: L{IAdmission.guard}.
        """
        module, _, function = self._maker.partition(":")
        made: IGuard = getattr(import_module(module), function)(
            name, arguments, network
        )
        return made

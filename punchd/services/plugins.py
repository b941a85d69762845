"""
What is built in of L{IAdmission}, L{IDirectory} and L{IEventSink}, light enough for
every C{twistd} to load.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from twisted.plugin import IPlugin
from zope.interface import implementer

from punchd.errors import InvalidOption
from punchd.interfaces import (
    IAdmission,
    IDirectory,
    IEventReceiver,
    IEventSink,
    IGuard,
    IPresences,
)


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


@implementer(IPlugin, IDirectory)
class Memory:
    """
    Clients that are connected to this process.
    """

    name = "memory"

    def directory(self, arguments: str, network: Any, limits: Any) -> IPresences:
        """
        @see: L{IDirectory.directory}.
        """
        if arguments:
            raise InvalidOption(
                f"--directory=memory:{arguments}: expected no arguments."
            )
        made: IPresences = import_module("punchd.signaling.directory").Directory(
            network.entropy, limits
        )
        return made


@implementer(IPlugin, IEventSink)
class LogSink:
    """
    Each event as a line of JSON, in the log or with log:FILE in a file.
    """

    name = "log"

    def open(self, arguments: str, network: Any) -> IEventReceiver:
        """
        @see: L{IEventSink.open}.
        """
        made: IEventReceiver = import_module("punchd.services.events").toLog(
            arguments, network
        )
        return made

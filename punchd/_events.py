"""
The interfaces of who is told what happens; they are a part of L{punchd.interfaces}.
"""

from __future__ import annotations

from twisted.plugin import IPlugin
from zope.interface import Attribute, Interface


class IEventSink(IPlugin):
    """
    A plugin that takes structured events: who came and left, what was relayed for
    whom, which path a session has.  C{--events} names it.
    """

    name = Attribute(
        "What C{--events} calls it: a lower-case letter, then lower-case letters, "
        "digits and hyphens.  No two plugins have the same."
    )

    def open(arguments, network):  # type: ignore[no-untyped-def]
        """
        @param arguments: what follows the plugin's name and a colon, C{""} when
            nothing does.
        @param network: an L{INetwork}, for its reactor.

        @return: an L{IEventReceiver}.

        @raise punchd.errors.InvalidOption: the arguments cannot be used; the
            sentence begins with the option and its value.
        """


class IEventReceiver(Interface):
    """
    Who is told.
    """

    def happened(event):  # type: ignore[no-untyped-def]
        """
        Something has happened.  Nothing that takes long belongs here: all else
        waits.

        @param event: a L{dict} of text, numbers, truth values, L{None}, and lists and
            dicts of such: C{time} in seconds since the epoch, C{event}, which is its
            name, C{text}, a sentence for people, and what the event is about.
        """

    def close():  # type: ignore[no-untyped-def]
        """
        That was all.
        """

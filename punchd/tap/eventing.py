"""
C{--events}: who is told what happens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.application.service import MultiService

from punchd._plugins import pluginNamed
from punchd.errors import InvalidOption, PunchError
from punchd.interfaces import IEventSink
from punchd.services.events import Events


def tellEvents(
    sinks: Sequence[tuple[str, str]], network: Any, program: MultiService
) -> None:
    """
    Have each sink told what happens while C{program} runs.

    @param sinks: names of plugins and their arguments.

    @raise InvalidOption: one of them cannot be used.
    """
    receivers = []
    for name, arguments in sinks:
        try:
            plugin = pluginNamed(IEventSink, name)
        except PunchError as e:
            raise InvalidOption(f"--events={name}: {e}") from e
        receivers.append(plugin.open(arguments, network))
    if receivers:
        Events(receivers).setServiceParent(program)

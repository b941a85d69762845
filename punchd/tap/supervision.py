"""
What systemd is told of a service of C{Type=notify} (sd_notify(3)).
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress


def notify(state: str) -> None:
    """
    Tell who started us, if it wants to know.

    @param state: such as C{READY=1}.
    """
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path.startswith(("/", "@")):
        return
    # A supervisor that is not there is no reason to stop.
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        # An abstract address is written with an at sign.
        sock.connect("\0" + path[1:] if path[0] == "@" else path)
        sock.sendall(state.encode())

"""
Ports that are closed after the test.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from punchd.net.udp import UDPPort
from tests.net.sockets import Opener


@pytest.fixture
def open_() -> Generator[Opener, None, None]:
    """
    Open ports on the reactor, and close them afterwards.
    """
    from twisted.internet import reactor

    ports: list[UDPPort] = []

    def open_(receiver: Any, family: int = 4, host: str = "", **more: Any) -> UDPPort:
        port = UDPPort(more.pop("reactor", reactor), receiver, family, host, **more)
        ports.append(port)
        return port

    yield open_
    for port in ports:
        port.close()

"""
Tests for L{punchd.net.linkstate}.
"""

from __future__ import annotations

import socket

from punchd.net.linkstate import isUp


def test_loopback() -> None:
    """
    Loopback is up wherever tests run.
    """
    names = [name for _, name in socket.if_nameindex() if name.startswith("lo")]
    assert names
    assert all(isUp(name) for name in names)


def test_unknown() -> None:
    """
    Of an interface that is not there nothing bad is assumed.
    """
    assert isUp("nosuchinterface0")

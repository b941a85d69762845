"""
Tests for L{punchd.services.permissions}.
"""

from __future__ import annotations

from punchd.services.permissions import Permissions


def test_nobodyByDefault() -> None:
    """
    Without rules no peer may do anything.
    """
    permissions = Permissions()
    assert not permissions.allowsPeer("a")
    assert not permissions.allows("a", "ssh")


def test_oneServiceOrAll() -> None:
    """
    A rule with a service permits that one, a rule without permits all.
    """
    permissions = Permissions([("a", "ssh"), ("b", None)])
    assert permissions.allowsPeer("a")
    assert permissions.allows("a", "ssh")
    assert not permissions.allows("a", "web")
    assert permissions.allows("b", "web")
    assert not permissions.allowsPeer("c")


def test_anyone() -> None:
    """
    With C{anyone} every peer may open everything.
    """
    assert Permissions(anyone=True).allows("c", "ssh")


def test_replace() -> None:
    """
    What was said before is forgotten.
    """
    permissions = Permissions([("a", None)])
    permissions.replace([("b", None)])
    assert not permissions.allowsPeer("a")
    assert permissions.allowsPeer("b")

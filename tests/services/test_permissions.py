"""
Permissions that outlive the program.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from punchd.errors import StateError
from punchd.forward.rules import Allowance
from punchd.services.permissions import PermissionFile
from punchd.services.state import StateFolder

BOB, CAROL = "b" * 52, "c" * 52


@pytest.fixture
def permissions(tmp_path: Path) -> PermissionFile:
    """
    The file of a new state folder.
    """
    return StateFolder(str(tmp_path / "state")).permissions


def test_addAndRemove(permissions: PermissionFile, tmp_path: Path) -> None:
    """
    What was added is there once; removing a peer removes all that it had.
    """
    rules = [Allowance(BOB, "ssh"), Allowance(BOB, None), Allowance(CAROL, "web")]
    assert permissions.all() == []
    permissions.add(rules)
    permissions.add(rules[:1])
    assert permissions.all() == rules
    assert (tmp_path / "state" / "allowed").stat().st_mode & 0o777 == 0o600
    assert permissions.remove(Allowance(BOB, "ssh"))
    assert not permissions.remove(Allowance(BOB, "ssh"))
    permissions.add(rules[:1])
    assert permissions.remove(Allowance(BOB, None))
    assert permissions.all() == [rules[2]]


def test_edited(permissions: PermissionFile, tmp_path: Path) -> None:
    """
    A person may edit it, with comments.
    """
    file = tmp_path / "state" / "allowed"
    file.write_text(f"# friends\n\n  {BOB}/ssh  # only this\n{CAROL}\n")
    assert permissions.all() == [Allowance(BOB, "ssh"), Allowance(CAROL, None)]


@pytest.mark.parametrize(
    "line", ["bob", f"{BOB}/", f"{BOB}/a b", f"{BOB}x", f"{BOB[:-1]}", "\xff"]
)
def test_damaged(permissions: PermissionFile, tmp_path: Path, line: str) -> None:
    """
    A line that says nothing is one sentence with its number, and permits nothing.
    """
    (tmp_path / "state" / "allowed").write_text(f"{CAROL}\n{line}\n", "latin-1")
    with pytest.raises(StateError, match="line 2|not a text file"):
        permissions.all()

"""
Names for peers.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from punchd.errors import InvalidOption, StateError, UnknownPeer
from punchd.services.petnames import Petnames, checkName
from punchd.services.state import StateFolder

BOB = "b" * 52
EVE = "e" * 52


@pytest.fixture
def folder(tmp_path: Path) -> StateFolder:
    """A new state folder."""
    return StateFolder(str(tmp_path / "state"))


@pytest.fixture
def names(folder: StateFolder) -> Petnames:
    """Its petnames."""
    return folder.petnames


def testAddAndResolve(folder: StateFolder, names: Petnames) -> None:
    """A name leads to its peer id, a peer id to itself; both survive."""
    names.add("bob", BOB)
    names.add("bob", BOB)
    assert StateFolder(folder.path).resolve("bob") == BOB
    assert names.resolve(EVE) == EVE
    assert names.nameOf(BOB) == "bob"
    assert names.nameOf(EVE) is None


def testNamesAreSorted(names: Petnames) -> None:
    """The names come sorted, whatever the order they were given in."""
    for name in ("eve", "al", "9lives", "bob"):
        names.add(name, BOB)
    assert list(names.all()) == ["9lives", "al", "bob", "eve"]


@pytest.mark.parametrize("asked", ["carol", "", "BOB", "b" * 51, "a/b"])
def testUnknownPeerIsNamed(names: Petnames, asked: str) -> None:
    """What was asked for is in the error."""
    with pytest.raises(UnknownPeer) as caught:
        names.resolve(asked)
    assert f"No peer is named {asked!r}" in str(caught.value)


@pytest.mark.parametrize(
    "name", ["", "-a", "Bob", "a b", "a/b", "a:b", "é", "a\n", "a" * 64, "b" * 52]
)
def testBadNameIsRefused(names: Petnames, name: str) -> None:
    """A name that would not fit an endpoint string, or be an id, is refused."""
    with pytest.raises(InvalidOption):
        names.add(name, BOB)
    assert names.all() == {}


@pytest.mark.parametrize("name", ["a", "9", "a-b-9", "a" * 63, "1" * 52])
def testGoodName(name: str) -> None:
    """Names of the allowed form pass, also one of 52 characters that is no id."""
    assert checkName(name) == name


@pytest.mark.parametrize("peerId", ["", "b" * 51, "B" * 52, "1" * 52, "b" * 53])
def testBadPeerIdIsRefused(names: Petnames, peerId: str) -> None:
    """What is no peer id is refused, and what to give instead is said."""
    with pytest.raises(InvalidOption, match="punchd id"):
        names.add("bob", peerId)


def testTakenNameIsKept(names: Petnames) -> None:
    """A name is not silently given to somebody else."""
    names.add("bob", BOB)
    with pytest.raises(InvalidOption, match=f"belongs to {BOB}"):
        names.add("bob", EVE)
    assert names.resolve("bob") == BOB


def testRemove(names: Petnames) -> None:
    """A removed name is unknown, and cannot be removed again."""
    names.add("bob", BOB)
    names.remove("bob")
    assert names.all() == {}
    with pytest.raises(UnknownPeer, match="'bob'"):
        names.remove("bob")


def testRename(names: Petnames) -> None:
    """A renamed peer has its new name only."""
    names.add("bob", BOB)
    names.rename("bob", "robert")
    assert names.all() == {"robert": BOB}
    names.rename("robert", "robert")
    assert names.all() == {"robert": BOB}


def testRenameRefusals(names: Petnames) -> None:
    """A rename of nobody, to a taken name or to a bad one changes nothing."""
    names.add("bob", BOB)
    names.add("eve", EVE)
    with pytest.raises(UnknownPeer, match="'carol'"):
        names.rename("carol", "dave")
    with pytest.raises(InvalidOption, match="belongs to"):
        names.rename("bob", "eve")
    with pytest.raises(InvalidOption):
        names.rename("bob", "Bob")
    assert names.all() == {"bob": BOB, "eve": EVE}


def testHandEdited(folder: StateFolder, names: Petnames) -> None:
    """Comments, empty lines and space are fine in the file."""
    folder.write("peers", f"# friends\n\n  bob\t{BOB}  # from work\n".encode())
    assert names.all() == {"bob": BOB}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (f"eve {EVE}\nbob\n", "line 2: expected a name and a peer id"),
        (f"bob {BOB} x\n", "line 1: expected a name and a peer id"),
        (f"Bob {BOB}\n", "line 1: The name 'Bob'"),
        ("bob x\n", "line 1: 'x' is not a peer id"),
        (f"bob {BOB}\nbob {EVE}\n", "line 2: 'bob' is there twice"),
        ("\udcff", "not a text file"),
    ],
)
def testDamagedFile(
    folder: StateFolder, names: Petnames, content: str, reason: str
) -> None:
    """A damaged file is an error with its place, and is not written over."""
    raw = content.encode("utf-8", "surrogateescape")
    folder.write("peers", raw)
    with pytest.raises(StateError, match=reason):
        names.add("dave", BOB)
    assert folder.read("peers") == raw


def testUnreadableFile(folder: StateFolder, names: Petnames) -> None:
    """A folder in the file's place is an error of the state."""
    os.mkdir(folder.file("peers"))
    with pytest.raises(StateError, match="peers: Is a directory"):
        names.all()

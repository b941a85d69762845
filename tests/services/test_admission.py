"""
Whom a rendezvous serves: files of users, secrets and peers, and guards of others.
"""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest
from twisted.logger import LogEvent, globalLogPublisher
from zope.interface.verify import verifyObject

from punchd._plugins import pluginsByName
from punchd.errors import InvalidOption, PeerUnavailable, RendezvousRefused
from punchd.interfaces import IAdmission, IGuard
from punchd.services import admission
from punchd.services.rendezvous import Settings
from punchd.turn.client import Client as TurnClient
from punchd.turn.credentials import makeCredentials
from punchd.turn.events import Allocated, AllocationFailed, PermissionFailed
from punchd.turn.guards import Guard, SecretUsers, StaticUsers, parseUsers
from tests.services.meeting import IDENTITIES, Client, Meeting, Socket

STRANGER = ("192.0.2.77", 5000)


class Network:
    """
    All that guards need of one.
    """

    def wallClock(self) -> float:
        """
        @return: an instant.
        """
        return 1_800_000_000.0


def filed(folder: Path, content: str | bytes, mode: int = 0o600) -> str:
    """
    @return: the path of a file with that content.
    """
    path = folder / "file"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    path.chmod(mode)
    return str(path)


# --- plugins


def test_plugins(tmp_path: Path) -> None:
    """
    What is built in enters by the door of plugins, and makes guards.
    """
    plugins = pluginsByName(IAdmission)
    assert {"users", "secret", "peers"} <= set(plugins)
    contents = {"users": "a:b\n", "secret": "north\n", "peers": IDENTITIES[0].peerId}
    for name, content in contents.items():
        assert verifyObject(IAdmission, plugins[name])
        guard = plugins[name].guard("its name", filed(tmp_path, content), Network())
        assert verifyObject(IGuard, guard)
        assert guard.name == "its name"
    assert verifyObject(IGuard, Guard("base"))


# --- files


def test_users(tmp_path: Path) -> None:
    """
    NAME:PASSWORD, where the password may have colons; comments and empty lines
    are nothing; other alphabets are taken in their composed form.
    """
    content = "# people\n\nalice:one\r\nbob:t:w:o\n  # more\nJose\u0301:e\u0301\n"
    guard = admission.users("users 1", filed(tmp_path, content), Network())
    expected = {"alice": "one", "bob": "t:w:o", "Jos\u00e9": "\u00e9", "carol": None}
    for name, password in expected.items():
        assert guard.passwordOf(name) == password


@pytest.mark.parametrize(
    ("content", "number", "expected"),
    [
        ("alice", 1, "NAME:PASSWORD"),
        ("a:b\nalice:\n", 2, "NAME:PASSWORD"),
        (":secret", 1, "NAME:PASSWORD"),
        ("a:b\n\n# c\na:d", 4, "a name that is not there yet"),
        (b"a:b\n\xff:c", 2, "UTF-8"),
        ("a\x00:b", 1, "no control characters"),
        ("a:b\x1b[m", 1, "no control characters"),
        ("x" * 509 + ":b", 1, "a name of at most 508 bytes"),
    ],
)
def test_wrongLine(content: str | bytes, number: int, expected: str) -> None:
    """
    The sentence names the line and what was expected, and not what is in it.
    """
    data = content.encode() if isinstance(content, str) else content
    with pytest.raises(InvalidOption) as caught:
        parseUsers(data, "--admit=users:FILE")
    assert str(caught.value) == (
        f"--admit=users:FILE: line {number}: expected {expected}."
    )


def test_secret(tmp_path: Path) -> None:
    """
    The secret is the one line of its file.
    """
    guard = admission.sharedSecret("secret 1", filed(tmp_path, "north\n"), Network())
    name, password = makeCredentials(b"north", "alice", 1_800_000_060)
    assert guard.passwordOf(name) == password
    assert guard.passwordOf("1799999999:alice") is None
    assert guard.identityOf(name) == "alice"


@pytest.mark.parametrize(
    ("maker", "content", "sentence"),
    [
        (admission.sharedSecret, "", "--relay-secret={}: expected one line, the secr"),
        (admission.sharedSecret, "a\nb\n", "--relay-secret={}: expected one line"),
        (admission.peers, "alice", "--admit=peers:{}: line 1: expected a peer id."),
        (admission.users, "alice", "--admit=users:{}: line 1: expected NAME:PASS"),
    ],
)
def test_wrongFile(tmp_path: Path, maker: Any, content: str, sentence: str) -> None:
    """
    What is wrong with a file is one sentence; a file that is not there as well.
    """
    path = filed(tmp_path, content)
    with pytest.raises(InvalidOption) as caught:
        maker("guard", path, Network())
    assert str(caught.value).startswith(sentence.format(path))
    with pytest.raises(InvalidOption, match="No such file or directory"):
        maker("guard", str(tmp_path / "nothing"), Network())
    with pytest.raises(InvalidOption, match="expected the name of a file"):
        maker("guard", "", Network())


@pytest.mark.parametrize(("mode", "warnings"), [(0o600, 0), (0o640, 1), (0o604, 1)])
def test_readableByOthers(tmp_path: Path, mode: int, warnings: int) -> None:
    """
    A file of passwords that others can read is used, and warned of.
    """
    events: list[LogEvent] = []
    observer: Any = events.append
    globalLogPublisher.addObserver(observer)
    try:
        path = filed(tmp_path, "alice:secret", mode)
        admission.users("users 1", path, Network())
        assert stat.S_IMODE(Path(path).stat().st_mode) == mode
    finally:
        globalLogPublisher.removeObserver(observer)
    assert len(events) == warnings
    assert not any("secret" in str(each) for each in events if "mode" not in each)


# --- who may register and dial


class Choosy(Guard):
    """
    Refuses some to register, and some dials.
    """

    def __init__(self, unwelcome: str = "", lonely: str = "") -> None:
        super().__init__("choosy")
        self.unwelcome = unwelcome
        self.lonely = lonely

    def mayRegister(self, peer: str, host: str) -> bool:
        """
        @return: whether it is not that one.
        """
        return peer != self.unwelcome

    def mayDial(self, peer: str, other: str) -> bool:
        """
        @return: whether it is not that one.
        """
        return peer != self.lonely


def test_register() -> None:
    """
    Whom one guard does not admit learns that; others come in.
    """
    alice, mallory = (IDENTITIES[each].peerId for each in (1, 2))
    listed = admission.ListedPeers("peers 1", frozenset({alice, mallory}))
    for guards in ([Choosy(mallory), listed], [listed, Choosy(mallory)]):
        meeting = Meeting(Settings(guards=guards))
        meeting.join(1)
        for number in (2, 3):
            client = meeting.addClient(number)
            asked = client.link.whenRegistered(failAfterFailures=1)
            with pytest.raises(RendezvousRefused, match="does not admit"):
                meeting.network.runUntil(asked)
        assert meeting.rendezvous.counters["signaling: not admitted"] >= 2
        meeting.stop()


def test_dial() -> None:
    """
    A dial that a guard does not want looks as if nobody were there, and takes as
    long.
    """
    meeting = Meeting(Settings(guards=[Choosy(lonely=IDENTITIES[1].peerId)]))
    alice, bob = meeting.join(1, 2)
    began = meeting.network.clock.seconds()
    for peer in (bob.peerId, IDENTITIES[4].peerId):
        with pytest.raises(PeerUnavailable):
            meeting.network.runUntil(alice.link.dial(peer, "dial", b"offer", []))
    assert meeting.network.clock.seconds() - began >= 1.0
    assert bob.named("onIncoming") == []
    meeting.network.runUntil(bob.link.dial(alice.peerId, "back", b"offer", []))
    meeting.stop()


# --- who may relay


class Relayed:
    """
    Somebody with an allocation, from a socket of its own.
    """

    def __init__(self, meeting: Meeting, client: Client, name: str, password: str):
        registration = client.link.registration
        assert registration is not None
        self.meeting = meeting
        self.core = TurnClient(registration.stun[0], entropy=client.host.entropy)
        socket = Socket(client.host)
        self.events = socket.drive(self.core)
        self.call = socket.driver.call
        self.call(self.core.allocate, name, password, "", b"")
        meeting.drivers.append(socket.driver)
        meeting.network.advance(1)

    def may(self, host: str) -> bool:
        """
        @return: whether it gets a permission.
        """
        del self.events[:]
        self.call(self.core.permit, [host])
        self.meeting.network.advance(1)
        granted = host in self.core.permitted
        assert granted != any(isinstance(e, PermissionFailed) for e in self.events)
        return granted


def test_strangers() -> None:
    """
    Users of a list and of the shared secret reach every public address.  Those of
    registration do not, though they call themselves like somebody listed, and the
    password is their own.
    """
    secret = SecretUsers("secret", b"north", lambda: 0.0)
    users = {"user": "password"}
    meeting = Meeting(Settings(guards=[StaticUsers("users", users), secret]))
    (alice,) = meeting.join(1)
    registration = alice.link.registration
    assert registration is not None
    mine = registration.relayUsername, registration.relayPassword
    assert mine[0] is not None
    assert mine[1] is not None
    # The same name under the shared secret is somebody else.
    same = mine[0], makeCredentials(b"north", "x", 0)[1]
    listed = Relayed(meeting, alice, "user", "password")
    shared = Relayed(meeting, alice, *makeCredentials(b"north", "alice", 9e9))
    own = Relayed(meeting, alice, mine[0], mine[1])
    forged = Relayed(meeting, alice, *same)
    for each in (listed, shared, own):
        assert any(isinstance(event, Allocated) for event in each.events)
    assert any(isinstance(event, AllocationFailed) for event in forged.events)
    assert listed.may(STRANGER[0])
    assert shared.may(STRANGER[0])
    assert not own.may(STRANGER[0])
    for each in (listed, shared, own):
        for host in ("127.0.0.1", "10.0.0.1", "203.0.113.11"):
            assert not each.may(host), host
    meeting.stop()

"""
The options of C{twistd punch-rendezvous} about its relay.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from zope.interface.verify import verifyObject

import twisted.plugins
from punchd.interfaces import IGuard
from punchd.services.rendezvous import Settings
from punchd.tap.rendezvous import Options, makeService
from punchd.turn.limits import Limits
from tests.tap.test_rendezvous import parsed


class Network:
    """
    All that guards and directories need of one.
    """

    entropy = staticmethod(bytes)

    def wallClock(self) -> float:
        """
        @return: an instant.
        """
        return 0.0


def test_defaults() -> None:
    """
    Without options: registered clients only, the built-in deny list and limits.
    """
    settings = parsed().settings()
    assert settings.realm == "punchd"
    assert list(settings.guards) == []
    assert settings.relayLimits == Limits()
    assert settings.peers("10.0.0.1")
    assert not settings.peers("192.0.2.1")
    assert settings.relayLimits == Settings().relayLimits


def test_all(tmp_path: Path) -> None:
    """
    Each option has its effect; guards are asked in the order of the options.
    """
    for name, content in (("users", "alice:secret"), ("more", "bob:secret")):
        (tmp_path / name).write_text(content)
        (tmp_path / name).chmod(0o600)
    (tmp_path / "secret").write_text("north")
    (tmp_path / "secret").chmod(0o600)
    settings = parsed(
        f"--admit=users:{tmp_path}/users",
        f"--relay-secret={tmp_path}/secret",
        f"--admit=users:{tmp_path}/more",
        "--realm=example.org",
        "--relay-allow=10.0.0.0/8",
        "--relay-deny=192.0.2.0/24",
        "--relay-deny=2001:db8::/32",
        "--relay-limit=user.allocations=3",
        "--relay-limit=all.bytes=10M",
    ).settings(Network())
    assert [each.name for each in settings.guards] == ["users 1", "secret 2", "users 3"]
    assert settings.guards[2].passwordOf("bob") == "secret"
    assert settings.realm == "example.org"
    hosts = ("10.0.0.1", "192.0.2.1", "198.51.100.1", "2001:db8::1")
    assert [settings.peers(each) for each in hosts] == [False, True, False, True]
    assert settings.relayLimits.user.allocations == 3
    assert settings.relayLimits.all.bytes == 10_000_000


@pytest.mark.parametrize(
    "argument",
    [
        "--realm=",
        "--realm=a name of more than 24 bytes",
        "--realm=a\tb",
        "--admit=",
        "--admit=:file",
        "--relay-allow=here",
        "--relay-deny=10.0.0.1/8",
        "--relay-limit=all",
        "--relay-limit=all.bytes=lots",
    ],
)
def test_wrongValues(argument: str) -> None:
    """
    One sentence names the option, the value, and what was expected.
    """
    with pytest.raises(SystemExit) as caught:
        parsed(argument)
    sentence = str(caught.value.code)
    assert sentence.startswith(f"punch-rendezvous: {argument}: expected ")
    assert sentence.count("\n") == 0


@pytest.mark.parametrize(
    ("argument", "complaint"),
    [
        ("--admit=nobody", "--admit=nobody: No IAdmission plugin is named 'nobody'"),
        ("--admit=users:/no/such", "--admit=users:/no/such: No such file"),
        ("--admit=users", "--admit=users:: expected the name of a file."),
        ("--relay-secret=/dev/null", "--relay-secret=/dev/null: expected one line"),
    ],
)
def test_unusable(tmp_path: Path, argument: str, complaint: str) -> None:
    """
    What cannot be used ends the program with one sentence.
    """
    options: Options = parsed(f"--state={tmp_path}/s", "--listen=127.0.0.1:0", argument)
    with pytest.raises(SystemExit) as caught:
        makeService(options, object())
    assert str(caught.value.code).startswith(f"punch-rendezvous: {complaint}")


PLUGIN = """
from twisted.plugin import IPlugin
from zope.interface import implementer
from punchd.interfaces import IAdmission
from punchd.turn.guards import Guard

@implementer(IPlugin, IAdmission)
class Office:
    name = "office"

    def guard(self, name, arguments, network):
        guard = Guard(name)
        guard.mayRegister = lambda peer, host: peer in arguments.split(",")
        return guard

office = Office()
"""


def test_pluginOfSomebodyElse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A plugin in a folder of its own is found by its name, and gets the arguments.
    """
    (tmp_path / "strangers_office.py").write_text(PLUGIN)
    path = [*twisted.plugins.__path__, str(tmp_path)]
    monkeypatch.setattr(twisted.plugins, "__path__", path)
    (guard,) = parsed("--admit=office:alice,bob").settings(Network()).guards
    assert verifyObject(IGuard, guard)
    assert guard.name == "office 1"
    asked = [guard.mayRegister(each, "192.0.2.1") for each in ("alice", "carol")]
    assert asked == [True, False]


def test_filesAreAllowed() -> None:
    """
    As many files as the system permits may be open, whatever the start was with.
    """
    source = """
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (300, 3000))
from punchd.tap.operating import allowFiles
allowFiles()
print(resource.getrlimit(resource.RLIMIT_NOFILE))
"""
    said = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, check=True
    ).stdout
    assert said == "(3000, 3000)\n"

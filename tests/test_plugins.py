"""
What Twisted finds of punchd, and how punchd finds plugins by name.
"""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from twisted.application.service import IServiceMaker
from twisted.internet import reactor
from twisted.internet.endpoints import clientFromString, serverFromString
from twisted.internet.interfaces import (
    IStreamClientEndpointStringParserWithReactor,
    IStreamServerEndpointStringParser,
)
from twisted.plugin import IPlugin, getPlugins
from zope.interface import Attribute, providedBy
from zope.interface.verify import verifyObject

from punchd._parsers import PunchClientParser, PunchServerParser
from punchd._plugins import pluginNamed, pluginsByName
from punchd.errors import DuplicatePlugin, NoSuchPlugin


class ISpoon(IPlugin):
    """
    Something that the drop-ins of these tests provide.
    """

    name = Attribute("A name.")


DropIns = Callable[..., ModuleType]
_counter = iter(range(1000))


@pytest.fixture
def dropIns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DropIns:
    """
    Make a package with one module of plugins for each group of names.
    """

    def make(*groups: list[str]) -> ModuleType:
        package = f"dropins{next(_counter)}"
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text("")
        for number, names in enumerate(groups):
            source = """
                from twisted.plugin import IPlugin
                from zope.interface import implementer
                from tests.test_plugins import ISpoon
                @implementer(ISpoon)
                class Spoon:
                    def __init__(self, name): self.name = name
                """
            lines = [f"s{i} = Spoon({name!r})" for i, name in enumerate(names)]
            (tmp_path / package / f"m{number}.py").write_text(
                textwrap.dedent(source) + "\n".join(lines)
            )
        monkeypatch.syspath_prepend(tmp_path)
        return import_module(package)

    return make


@pytest.mark.parametrize(
    ("interface", "attribute", "expected"),
    [
        (IServiceMaker, "tapname", {"punch-rendezvous", "punch-client"}),
        (IStreamClientEndpointStringParserWithReactor, "prefix", {"punch"}),
        (IStreamServerEndpointStringParser, "prefix", {"punch"}),
    ],
)
def testTwistedFindsOurs(interface: Any, attribute: str, expected: set[str]) -> None:
    """Twisted finds both commands and both parsers, and they are what they say."""
    ours = [
        plugin
        for plugin in getPlugins(interface)
        if str(getattr(plugin, attribute)).startswith("punch")
    ]
    assert {getattr(plugin, attribute) for plugin in ours} == expected
    assert all(IPlugin.providedBy(plugin) for plugin in ours)


@pytest.mark.parametrize("parser", [PunchClientParser(), PunchServerParser()])
def testParsersAreWhole(parser: object) -> None:
    """The parsers have what Twisted asks of one."""
    (interface,) = set(providedBy(parser)) - {IPlugin}
    assert verifyObject(interface, parser)


def testServiceMakersAreWhole() -> None:
    """Both commands have options and a makeService, where they say."""
    makers = [m for m in getPlugins(IServiceMaker) if m.tapname.startswith("punch")]
    assert [verifyObject(IServiceMaker, m) for m in makers] == [True, True]


@pytest.mark.parametrize(
    ("parse", "made"),
    [
        (lambda text: clientFromString(reactor, text), "clientFromArguments"),
        (lambda text: serverFromString(reactor, text), "serverFromArguments"),
    ],
)
def testEndpointString(
    monkeypatch: pytest.MonkeyPatch, parse: Callable[[str], Any], made: str
) -> None:
    """A punch: string reaches punchd.endpoints with its parts."""
    endpoints = ModuleType("punchd.endpoints")
    setattr(endpoints, made, lambda reactor, *args, **kwargs: (args, kwargs))
    monkeypatch.setitem(sys.modules, "punchd.endpoints", endpoints)
    assert parse(r"punch:bob/ssh:state=/a\:b") == (("bob/ssh",), {"state": "/a:b"})


def testPluginFileIsLight() -> None:
    """Loading our plugins, as each twistd does, imports nothing heavy."""
    heavy = "qh3 cryptography OpenSSL automat twisted.protocols.tls punchd.session"
    program = (
        "import sys, twisted.plugins.punchd_plugins\n"
        f"print([m for m in {heavy.split()!r} if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def testPluginsByName(dropIns: DropIns) -> None:
    """Plugins of several modules come by name, in order."""
    package = dropIns(["wood", "tin"], ["plastic"])
    assert list(pluginsByName(ISpoon, package)) == ["plastic", "tin", "wood"]
    assert pluginNamed(ISpoon, "tin", package).name == "tin"


def testUnknownNameListsKnown(dropIns: DropIns) -> None:
    """An unknown name is refused, with the names that there are."""
    package = dropIns(["wood"], ["tin"])
    with pytest.raises(NoSuchPlugin) as caught:
        pluginNamed(ISpoon, "gold", package)
    assert str(caught.value) == "No ISpoon plugin is named 'gold'; known: tin, wood."


def testNoneInstalled(dropIns: DropIns) -> None:
    """Where there is none at all, the error says so."""
    with pytest.raises(NoSuchPlugin, match="none is installed"):
        pluginNamed(ISpoon, "gold", dropIns())


def testDoubleNameIsRefused(dropIns: DropIns) -> None:
    """Two plugins of one name are an error that names both places."""
    package = dropIns(["tin"], ["tin"])
    with pytest.raises(DuplicatePlugin, match=r"'tin': .*m\d\.Spoon and .*m\d\.Spoon"):
        pluginsByName(ISpoon, package)


@pytest.mark.parametrize("name", ["Tin", "", "a b", "1a", "a=b"])
def testOddNameIsRefused(dropIns: DropIns, name: str) -> None:
    """A name that could not be written in an option is an error."""
    with pytest.raises(NoSuchPlugin, match="lower-case"):
        pluginsByName(ISpoon, dropIns([name]))

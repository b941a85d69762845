"""
What Twisted finds of punchd, and how punchd finds plugins by name.
"""

from __future__ import annotations

import os
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
from twisted.logger import capturedLogs
from twisted.plugin import IPlugin, getPlugins
from zope.interface import Attribute, providedBy
from zope.interface.verify import verifyObject

from punchd._parsers import PunchClientParser, PunchServerParser
from punchd._plugins import installed, isBuiltIn, pluginNamed, pluginsByName
from punchd.errors import DuplicatePlugin, NoSuchPlugin
from punchd.tap import client, rendezvous
from punchd.tap.listing import listing, pluginInterfaces


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
    """Two plugins of one name are an error that names both places, for who chooses."""
    package = dropIns(["tin", "wood"], ["tin"])
    with pytest.raises(DuplicatePlugin, match=r"'tin': .*m\d\.Spoon and .*m\d\.Spoon"):
        pluginNamed(ISpoon, "tin", package)
    with capturedLogs() as logs:
        assert list(pluginsByName(ISpoon, package)) == ["wood"]
        pluginsByName(ISpoon, package)
    assert [each["event"] for each in logs] == ["plugin-fault"]


def testBuiltInKeepsItsName(dropIns: DropIns, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plugin with the name of a built-in one does not take its place."""
    package = dropIns(["tin"], ["tin"])
    module = import_module(f"{package.__name__}.m1")
    monkeypatch.setattr(module.Spoon, "__module__", "punchd.spoons")
    assert type(pluginNamed(ISpoon, "tin", package)).__module__ == "punchd.spoons"
    assert "built-in one is used" in installed(ISpoon, package).faults[0]


def testBrokenFile(
    dropIns: DropIns, tmp_path: Path, flushLoggedErrors: Callable[..., list[Any]]
) -> None:
    """A file that cannot be imported stops only those who look for what is in it."""
    package = dropIns(["tin"])
    broken = tmp_path / package.__name__ / "broken.py"
    broken.write_text("import nowhere_to_be_found")
    assert list(pluginsByName(ISpoon, package)) == ["tin"]
    with pytest.raises(NoSuchPlugin) as caught:
        pluginNamed(ISpoon, "gold", package)
    assert str(caught.value) == (
        f"No ISpoon plugin is named 'gold'; known: tin.  {broken} cannot be imported: "
        "ModuleNotFoundError: No module named 'nowhere_to_be_found'."
    )
    # Twisted itself logs it each time.
    assert flushLoggedErrors(ModuleNotFoundError)


def testBrokenSinceItWasCached(dropIns: DropIns, tmp_path: Path) -> None:
    """A file that Twisted remembers and cannot import any more is told of."""
    package = dropIns(["tin"])
    pluginsByName(ISpoon, package)
    module = tmp_path / package.__name__ / "m0.py"
    before = module.stat().st_mtime - 100
    module.write_text("import nowhere_to_be_found")
    os.utime(module, (before, before))
    sys.modules.pop(f"{package.__name__}.m0")
    delattr(package, "m0")
    (fault,) = installed(ISpoon, package).faults
    assert fault.startswith(f"{package.__name__}.m0.s0 cannot be loaded: ")


@pytest.mark.parametrize("name", ["Tin", "", "a b", "1a", "a=b"])
def testOddNameIsLeftOut(dropIns: DropIns, name: str) -> None:
    """A name that could not be written in an option is no name."""
    found = installed(ISpoon, dropIns([name]))
    assert found.plugins == {}
    assert "expected a lower-case letter" in found.faults[0]


def testListing() -> None:
    """C{--help-plugins} has every plugin of ours, each with a sentence of its own."""
    lines = list(listing())
    ours = [line for line in lines if line.endswith("]") and "[punchd" in line]
    assert len(ours) >= 14
    assert "(no description)" not in "".join(lines)
    sentences = [line.partition(" [")[0].split(None, 1)[1] for line in ours]
    assert len(set(sentences)) == len(sentences)


@pytest.mark.parametrize("options", [client.Options, rendezvous.Options])
def testHelpPlugins(options: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """The option prints the list, and that is all."""
    with pytest.raises(SystemExit) as caught:
        options().parseOptions(["--help-plugins"])
    assert caught.value.code == 0
    assert "ITraversalStrategy: A way to get" in capsys.readouterr().out


@pytest.mark.parametrize("interface", pluginInterfaces())
def testBuiltInsAreWhole(interface: Any) -> None:
    """Every built-in plugin is what it says."""
    found = pluginsByName(interface).values()
    assert [verifyObject(interface, each) for each in found if isBuiltIn(each)]

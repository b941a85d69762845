"""
What C{--help-plugins} prints.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from importlib.metadata import packages_distributions, version
from typing import Any

from twisted.plugin import IPlugin
from zope.interface.interface import InterfaceClass

from punchd import interfaces
from punchd._plugins import brokenModules, installed


def pluginInterfaces() -> list[InterfaceClass]:
    """
    @return: what plugins of punchd may provide.
    """
    found = {
        each
        for each in vars(interfaces).values()
        if isinstance(each, InterfaceClass)
        and each is not IPlugin
        and each.extends(IPlugin)
    }
    return sorted(found, key=lambda each: each.__name__)


def listing() -> Iterator[str]:
    """
    @return: the lines.
    """
    packages = packages_distributions()
    wrong: dict[str, None] = {}
    for interface in pluginInterfaces():
        yield f"{interface.__name__}: {_first(interface.__doc__)}"
        found = installed(interface)
        wrong |= dict.fromkeys(found.faults)
        for name, plugin in found.plugins.items():
            where = _package(plugin, packages)
            yield f"  {name:<14} {_first(plugin.__doc__)} [{where}]"
        if not found.plugins:
            yield "  (none)"
        yield ""
    wrong |= dict.fromkeys(brokenModules())
    if wrong:
        yield "Not usable:"
        yield from (textwrap.indent(sentence, "  ") for sentence in wrong)
        yield ""


def _first(text: str | None) -> str:
    """
    @return: the first sentence of a docstring.
    """
    words = " ".join((text or "").strip().split("\n\n")[0].split())
    first, stop, _ = words.partition(". ")
    plain = first + stop.strip()
    for mark in ("C{", "L{", "}"):
        plain = plain.replace(mark, "")
    return plain or "(no description)"


def _package(plugin: Any, packages: Any) -> str:
    top = type(plugin).__module__.partition(".")[0]
    names = packages.get(top)
    # A checkout that is not installed has no version.
    return f"{names[0]} {version(names[0])}" if names else top

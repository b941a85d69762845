"""
From the name of a plugin to the plugin.

Plugins are looked up once, where the options are read; everything below is
given the objects.

Rules.

  1. What somebody else has installed stops nobody who has not chosen it: files that
     cannot be imported, odd names and double names only cost those plugins.
  2. To choose one of these is an error that says what is wrong.
  3. A plugin that has the name of a built-in one does not take its place.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from twisted.logger import Logger
from twisted.plugin import getCache
from twisted.python.modules import getModule
from zope.interface.interface import InterfaceClass

import twisted.plugins

from .errors import DuplicatePlugin, NoSuchPlugin

_NAME = re.compile(r"[a-z][a-z0-9-]*\Z")

_log = Logger()
_told: set[str] = set()


@dataclass
class Installed:
    """
    What there is of one interface.

    @ivar plugins: those that can be used, by name, sorted.
    @ivar doubles: a sentence for each name that stands for nobody, because two
        have it.
    @ivar faults: a sentence for each thing that is wrong, those of C{doubles}
        included.
    """

    plugins: dict[str, Any] = field(default_factory=dict)
    doubles: dict[str, str] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)


def installed(
    interface: InterfaceClass, package: ModuleType = twisted.plugins
) -> Installed:
    """
    @param interface: one of L{punchd.interfaces} with an attribute C{name}.
    @param package: where to look.

    @return: what is installed of it.
    """
    found = Installed()
    for plugin in _provided(interface, package, found.faults):
        name = getattr(plugin, "name", None)
        if not isinstance(name, str) or not _NAME.match(name):
            found.faults.append(
                f"{whereIs(plugin)} has the name {name!r}; expected a lower-case "
                "letter, then lower-case letters, digits and hyphens."
            )
            continue
        # An installed copy beside a checkout shows the same object twice.
        other = found.plugins.setdefault(name, plugin)
        if other is plugin:
            continue
        sentence = (
            f"Two plugins are named {name!r}: {whereIs(other)} and {whereIs(plugin)}."
        )
        if isBuiltIn(other) != isBuiltIn(plugin):
            sentence = f"{sentence[:-1]}; the built-in one is used."
            found.plugins[name] = other if isBuiltIn(other) else plugin
        else:
            found.doubles[name] = sentence
        found.faults.append(sentence)
    found.plugins = {
        name: plugin
        for name, plugin in sorted(found.plugins.items())
        if name not in found.doubles
    }
    return found


def pluginsByName(
    interface: InterfaceClass, package: ModuleType = twisted.plugins
) -> dict[str, Any]:
    """
    @return: every plugin that provides C{interface} and can be used, by name,
        sorted.  What is wrong with others is logged, once.
    """
    found = installed(interface, package)
    for fault in found.faults:
        if fault not in _told:
            _told.add(fault)
            _log.warn("{fault}", fault=fault, event="plugin-fault")
    return found.plugins


def pluginNamed(
    interface: InterfaceClass, name: str, package: ModuleType = twisted.plugins
) -> Any:
    """
    @return: the plugin that provides C{interface} under C{name}.

    @raise NoSuchPlugin: there is none; the message lists those there are, and the
        files that could not be imported.
    @raise DuplicatePlugin: two plugins have that name.
    """
    found = installed(interface, package)
    if name in found.plugins:
        return found.plugins[name]
    if name in found.doubles:
        raise DuplicatePlugin(found.doubles[name])
    known = ", ".join(found.plugins) or "none is installed"
    broken = "".join(f"  {sentence}" for sentence in brokenModules(package))
    raise NoSuchPlugin(
        f"No {interface.__name__} plugin is named {name!r}; known: {known}.{broken}"
    )


def brokenModules(package: ModuleType = twisted.plugins) -> list[str]:
    """
    @return: a sentence for each file of plugins that cannot be imported.
    """
    usable = getCache(package)
    found = []
    for module in getModule(package.__name__).iterModules():
        if module.name.rpartition(".")[2] not in usable:
            try:
                module.load()
            except Exception as e:
                path = module.filePath.path
                found.append(f"{path} cannot be imported: {_textOf(e)}.")
    return found


def isBuiltIn(plugin: object) -> bool:
    """
    Whether it is a part of punchd.
    """
    return type(plugin).__module__.partition(".")[0] == "punchd"


def whereIs(plugin: object) -> str:
    """
    @return: the class of a plugin, with its module.
    """
    return f"{type(plugin).__module__}.{type(plugin).__qualname__}"


def _provided(
    interface: InterfaceClass, package: ModuleType, faults: list[str]
) -> Iterator[Any]:
    # As twisted.plugin.getPlugins does, but with what fails told in a sentence.
    for dropin in getCache(package).values():
        for cached in dropin.plugins:
            try:
                plugin = interface(cached, None)
            except Exception as e:
                faults.append(
                    f"{dropin.moduleName}.{cached.name} cannot be loaded: {_textOf(e)}."
                )
            else:
                if plugin is not None:
                    yield plugin


def _textOf(error: Exception) -> str:
    text = " ".join(str(error).split()).rstrip(".")
    return f"{type(error).__name__}: {text}" if text else type(error).__name__

"""
From the name of a plugin to the plugin.

Plugins are looked up once, where the options are read; everything below is
given the objects.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from types import ModuleType
from typing import Any

from twisted.plugin import getPlugins
from zope.interface.interface import InterfaceClass

from .errors import DuplicatePlugin, NoSuchPlugin

_NAME = re.compile(r"[a-z][a-z0-9-]*\Z")


def pluginsByName(
    interface: InterfaceClass, package: ModuleType | None = None
) -> dict[str, Any]:
    """
    @param interface: one of L{punchd.interfaces} with an attribute C{name}.
    @param package: where to look, C{twisted.plugins} unless told.

    @return: every installed plugin that provides it, by name, sorted.

    @raise DuplicatePlugin: two plugins have one name.
    """
    found: dict[str, Any] = {}
    plugins: Iterable[Any] = (
        getPlugins(interface) if package is None else getPlugins(interface, package)
    )
    for plugin in plugins:
        name = plugin.name
        if not isinstance(name, str) or not _NAME.match(name):
            raise NoSuchPlugin(
                f"{_where(plugin)} has the name {name!r}; expected a lower-case "
                "letter, then lower-case letters, digits and hyphens."
            )
        # An installed copy beside a checkout shows the same object twice.
        if found.setdefault(name, plugin) is not plugin:
            raise DuplicatePlugin(
                f"Two plugins are named {name!r}: {_where(found[name])} "
                f"and {_where(plugin)}."
            )
    return dict(sorted(found.items()))


def pluginNamed(
    interface: InterfaceClass, name: str, package: ModuleType | None = None
) -> Any:
    """
    @return: the plugin that provides C{interface} under C{name}.

    @raise NoSuchPlugin: there is none; the message lists those there are.
    @raise DuplicatePlugin: two plugins have one name.
    """
    found = pluginsByName(interface, package)
    if name not in found:
        known = ", ".join(found) or "none is installed"
        raise NoSuchPlugin(
            f"No {interface.__name__} plugin is named {name!r}; known: {known}."
        )
    return found[name]


def _where(plugin: object) -> str:
    return f"{type(plugin).__module__}.{type(plugin).__qualname__}"

"""
Options in a TOML file.

Every option of a command may stand there under its own name: text and numbers as they
are, C{true} for a flag, a list for an option that may be repeated.  What the command
line says of an option replaces what the file says of it.
"""

from __future__ import annotations

import difflib
import getopt
import tomllib
from collections.abc import Sequence
from typing import Any

from twisted.python import usage

#: Larger files are no configuration.
MAX_SIZE = 1 << 20

#: The option that names the file.
CONFIG = "config"

#: What only a command line may say.
_NO_OPTIONS = (CONFIG, "help", "help-plugins", "version")


def configured(options: usage.Options, words: Sequence[str]) -> list[str]:
    """
    @param options: what knows which options there are.
    @param words: a command line, which may name a file.

    @return: the command line with what the file says before it.

    @raise usage.UsageError: the file cannot be used, and why.
    """
    try:
        found, _ = getopt.getopt(list(words), options.shortOpt, options.longOpt)
    except getopt.GetoptError:
        # The same is found again, and reported, further in.
        return list(words)
    given = {name.lstrip("-") for name, _ in found}
    path = next((value for name, value in found if name == f"--{CONFIG}"), None)
    if path is None:
        return list(words)
    said: list[str] = []
    for name, value in _read(path).items():
        _check(options, path, name)
        if name not in given:
            said += _words(options, path, name, value)
    return [*said, *words]


def _read(path: str) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            text = file.read(MAX_SIZE + 1)
    except OSError as e:
        raise usage.UsageError(f"--{CONFIG}={path}: {e.strerror}.") from e
    if len(text) > MAX_SIZE:
        raise usage.UsageError(f"--{CONFIG}={path}: larger than {MAX_SIZE} bytes.")
    try:
        return tomllib.loads(text.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
        raise usage.UsageError(f"--{CONFIG}={path}: not TOML: {e}.") from e


def _check(options: usage.Options, path: str, name: str) -> None:
    known = [option.rstrip("=") for option in options.longOpt]
    if name in known and name not in _NO_OPTIONS:
        return
    near = difflib.get_close_matches(name, known, 1)
    hint = f"; is it {near[0]!r}?" if near else "."
    raise usage.UsageError(f"--{CONFIG}={path}: there is no option {name!r}{hint}")


def _words(options: usage.Options, path: str, name: str, value: Any) -> list[str]:
    if f"{name}=" not in options.longOpt:
        if not isinstance(value, bool):
            raise usage.UsageError(
                f"--{CONFIG}={path}: {name} = {value!r}: expected true or false."
            )
        return [f"--{name}"] if value else []
    values = value if isinstance(value, list) else [value]
    for each in values:
        if isinstance(each, bool) or not isinstance(each, (str, int, float)):
            raise usage.UsageError(
                f"--{CONFIG}={path}: {name} = {each!r}: expected text or a number,"
                " or a list of such."
            )
    return [f"--{name}={each}" for each in values]

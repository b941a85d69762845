"""
Whether an endpoint string can be used.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from punchd._plugins import brokenModules


def checkEndpoint(
    make: Callable[[Any, str], object], reactor: Any, endpoint: str
) -> None:
    """
    @param make: makes an endpoint of a string; nothing is done with it.

    @raise ValueError: it is none, and why.
    """
    kind = re.split(r"(?<!\\):", endpoint, maxsplit=1)[0]
    try:
        made = make(reactor, endpoint)
    except OSError as e:
        # Such as the certificate of an "ssl:" endpoint.
        raise ValueError(f"{e.filename}: {e.strerror}") from e
    except Exception as e:
        if str(e).startswith("Unknown endpoint type"):
            broken = " ".join(f"({each[:-1]})" for each in brokenModules())
            why = f"there is no type of endpoint {kind!r} {broken}".rstrip()
            raise ValueError(why) from e
        # Twisted's own words for this are those of a failed Python call.
        raise ValueError(f"{endpoint!r} is no endpoint of type {kind!r}") from e
    port = getattr(made, "_port", None)
    if isinstance(port, int) and not 0 <= port < 65536:
        raise ValueError(f"{port} is not a port number")

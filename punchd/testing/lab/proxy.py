"""
An HTTP proxy in a lab: tinyproxy, as Debian has it.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from pathlib import Path

from .namespaces import Namespace, program, waitFor

PORT = 3128

_CONFIGURATION = """\
Port {port}
Listen {host}
Timeout 600
MaxClients 100
LogFile "{folder}/tinyproxy-{name}.log"
LogLevel Connect
"""


def startProxy(
    space: Namespace,
    folder: Path,
    *,
    ports: Sequence[int] = (443,),
    credentials: tuple[str, str] | None = None,
) -> str:
    """
    Start a proxy in a namespace.

    @param folder: for its configuration and its log.
    @param ports: where it connects to.
    @param credentials: the user name and password that it wants.

    @return: its URL, without those.
    """
    host = next(each for each in space.addresses if ":" not in each)
    if space.name.startswith("router"):
        # The inner address: that is what the clients behind it can reach.
        host = next(each for each in space.addresses if each not in space.public)
    text = _CONFIGURATION.format(port=PORT, host=host, folder=folder, name=space.name)
    text += "".join(f"ConnectPort {port}\n" for port in ports)
    if credentials is not None:
        text += f"BasicAuth {' '.join(credentials)}\n"
    path = folder / f"tinyproxy-{space.name}.conf"
    path.write_text(text)
    space.popen(
        [program("tinyproxy"), "-d", "-c", str(path)], log=folder / "tinyproxy.out"
    )

    def listens() -> bool:
        probe = space.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            return probe.connect_ex((host, PORT)) == 0
        finally:
            space.sockets.remove(probe)
            probe.close()

    waitFor(listens, 10.0, "the proxy")
    return f"http://{host}:{PORT}"

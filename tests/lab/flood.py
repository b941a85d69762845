"""
Forged requests: C{python -m tests.lab.flood PORT RATE SECONDS}.

They go to that UDP port of loopback from a thousand networks, that many a second,
half of them Binding and half Allocate requests; answers are not read.  In the
end one JSON object says how many were sent, and in how many seconds.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time

from punchd.stun.attributes import UDP, Attribute
from punchd.stun.message import TRANSACTION_ID, Method, request

_NETWORKS = 1000
_AT_ONCE = 50


def _requests() -> list[bytes]:
    """
    @return: what is sent, in turn.
    """
    found = []
    for number in range(64):
        if number % 2:
            message = request(Method.BINDING, os.urandom(TRANSACTION_ID))
        else:
            message = request(
                Method.ALLOCATE,
                os.urandom(TRANSACTION_ID),
                (Attribute.REQUESTED_TRANSPORT, UDP),
            )
        if number % 4 == 0:
            message.add(Attribute.USERNAME, f"nobody{number}")
            message.add(Attribute.REALM, "punchd")
            message.add(Attribute.NONCE, os.urandom(15).hex().encode())
            found.append(message.serialize(key=b"guessed"))
        else:
            found.append(message.serialize())
    return found


def main(port: int, rate: int, seconds: float) -> None:
    """
    Send, at an even pace.
    """
    sockets = []
    for number in range(_NETWORKS):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.setblocking(False)
        sock.bind((f"127.{1 + number // 200}.{number % 200}.1", 0))
        sock.connect(("127.0.0.1", port))
        sockets.append(sock)
    forged = _requests()
    sent = 0
    began = time.monotonic()
    while (passed := time.monotonic() - began) < seconds:
        if sent > passed * rate:
            time.sleep(0.0005)
            continue
        for _ in range(_AT_ONCE):
            try:
                sockets[sent % _NETWORKS].send(forged[sent % 64])
            except OSError:
                continue  # its buffer is full
            finally:
                sent += 1
    print(json.dumps({"sent": sent, "seconds": time.monotonic() - began}))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))

"""
Programs that speak UDP, through a forward between two hosts behind NATs.
"""

from __future__ import annotations

import socket

GAME, FORWARD = 34197, 5353


def _socket(space, port=0):
    sock = space.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", port))
    sock.settimeout(20.0)
    return sock


def test_datagrams(product):
    """
    Two users reach a program, each as itself, with datagrams of any size: from the
    first one on, and over the relay when the direct path is cut.
    """
    running = product(
        "portrestricted",
        "portrestricted",
        a=[f"--forward=udp:{FORWARD}=b/game"],
        b=[f"--publish=game=udp:127.0.0.1:{GAME}"],
    )
    lab = running.lab
    with (
        _socket(lab.hostB, GAME) as program,
        _socket(lab.hostA) as one,
        _socket(lab.hostA) as other,
    ):

        def exchange(user, data):
            user.sendto(data, ("127.0.0.1", FORWARD))
            got, source = program.recvfrom(1 << 16)
            assert got == data
            program.sendto(got[::-1], source)
            back, forward = user.recvfrom(1 << 16)
            assert (back, forward) == (data[::-1], ("127.0.0.1", FORWARD))
            return source

        places = {user: exchange(user, b"first") for user in (one, other)}
        assert len(set(places.values())) == 2
        running.whenPath("direct")
        for size in (0, 1, 1166, 1167, 1472, 20_000, 65_507):
            assert exchange(one, bytes(size)) == places[one]
        lab.routerA.dropDirect()
        for letter in "ab":
            running.whenPath("relayed", letter)
        for user, place in places.items():
            assert exchange(user, b"relayed") == place

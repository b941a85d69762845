"""
Which of several processes a client meets.
"""

from __future__ import annotations

import ipaddress
import os
import socket
from itertools import count


def processOf(host: str, port: int, processes: int) -> int:
    """
    @return: the process, as the program of L{punchd.net.sharing.choosing} has it for
        IPv4; 0 is the one with the directory.
    """
    mixed = (port ^ int(ipaddress.ip_address(host))) * 0x9E3779B1 & 0xFFFFFFFF
    return (mixed >> 16) % processes


def portAt(host: str, process: int, processes: int, low: int = 41000) -> int:
    """
    @return: the first port from C{low} on by which a client meets that process.
    """
    return next(
        port for port in count(low) if processOf(host, port, processes) == process
    )


class LoopbackPorts:
    """
    I find ports of loopback that nobody uses, tests beside this one included.
    """

    def __init__(self) -> None:
        # Below those that the kernel chooses, and elsewhere in each test process.
        self._next = 10000 + os.getpid() % 40 * 500

    def at(self, process: int, processes: int, host: str = "127.0.0.1") -> int:
        """
        @return: another one by which a client meets that process.
        """
        while True:
            port = portAt(host, process, processes, self._next)
            self._next = port + 1
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                try:
                    probe.bind((host, port))
                except OSError:
                    continue
                return port

"""
Which of several processes a client meets.
"""

from __future__ import annotations

import ipaddress


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
        port
        for port in range(low, low + 1000)
        if processOf(host, port, processes) == process
    )

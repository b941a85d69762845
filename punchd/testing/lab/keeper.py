"""
The process that holds the network namespaces of one lab.

Namespaces without a name live as long as somebody holds them, so nothing is
left behind when the keeper is gone.  It runs as a program of its own, with the
standard library only, and is told what to do over a socket: one JSON object a
packet, one answer each.  When its owner goes away, even by SIGKILL, the keeper
ends what still runs in its namespaces, and itself.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import sys
import time
from typing import Any

CLONE_NEWNET = 0x40000000
CLONE_NEWUSER = 0x10000000

_libc = ctypes.CDLL(None, use_errno=True)


def _call(name: str, *args: int) -> None:
    if getattr(_libc, name)(*args) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def becomeRoot() -> None:
    """
    Enter a new user namespace, as root of it, for a caller who is not root.
    """
    uid, gid = os.getuid(), os.getgid()
    _call("unshare", CLONE_NEWUSER)
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"0 {uid} 1"),
        ("gid_map", f"0 {gid} 1"),
    ):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)


class Keeper:
    """
    I hold network namespaces, and work inside of them.
    """

    def __init__(self, control: socket.socket) -> None:
        self.control = control
        self.spaces: list[int] = []

    def doMake(self, count: int, sysctls: dict[str, str]) -> dict[str, Any]:
        """
        Make that many namespaces, each with these settings.
        """
        made = []
        for _ in range(count):
            _call("unshare", CLONE_NEWNET)
            space = os.open("/proc/self/ns/net", os.O_RDONLY)
            self.spaces.append(space)
            made.append(space)
            self._write(sysctls)
        return {"spaces": made}

    def doSysctl(self, space: int, values: dict[str, str]) -> dict[str, Any]:
        """
        Change settings of one namespace.
        """
        _call("setns", space, CLONE_NEWNET)
        self._write(values)
        return {}

    def _write(self, values: dict[str, str]) -> None:
        for name, value in values.items():
            with open("/proc/sys/" + name.replace(".", "/"), "w") as file:
                file.write(value)

    def doSocket(self, space: int, family: int, kind: int, protocol: int) -> int:
        """
        Open a socket in a namespace.
        """
        _call("setns", space, CLONE_NEWNET)
        return socket.socket(family, kind, protocol).detach()

    def doSweep(self, patience: float) -> dict[str, Any]:
        """
        End every process that runs in one of the namespaces.
        """
        ended: set[int] = set()
        until = time.monotonic() + patience
        for number in (signal.SIGTERM, signal.SIGKILL):
            while running := self._inside():
                for pid in running - ended if number == signal.SIGTERM else running:
                    try:
                        os.kill(pid, number)
                    except ProcessLookupError:
                        pass
                ended |= running
                time.sleep(0.005)
                if number == signal.SIGTERM and time.monotonic() > until:
                    break
                if number == signal.SIGKILL and time.monotonic() > until + 2:
                    break
        return {"ended": sorted(ended)}

    def _inside(self) -> set[int]:
        """
        The processes in the namespaces, zombies left out.
        """
        wanted = {os.fstat(space).st_ino for space in self.spaces}
        found = set()
        for entry in os.listdir("/proc"):
            if not entry.isdigit() or int(entry) == os.getpid():
                continue
            try:
                if os.stat(f"/proc/{entry}/ns/net").st_ino in wanted:
                    found.add(int(entry))
            except OSError:
                continue
        return found

    def serve(self) -> None:
        """
        Answer until the owner is gone.
        """
        while packet := self.control.recv(65536):
            request = json.loads(packet)
            method = getattr(self, "do" + request.pop("do").capitalize())
            descriptors: list[int] = []
            try:
                answer = method(**request)
                if isinstance(answer, int):
                    descriptors, answer = [answer], {}
            except OSError as e:
                answer = {"error": str(e)}
            socket.send_fds(self.control, [json.dumps(answer).encode()], descriptors)
            for descriptor in descriptors:
                os.close(descriptor)


def main() -> None:
    """
    Run as: keeper.py DESCRIPTOR root|user
    """
    # Ctrl-C is for the owner, who then closes the lab.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    control = socket.socket(fileno=int(sys.argv[1]))
    try:
        if sys.argv[2] == "user":
            becomeRoot()
        control.send(b"{}")
    except OSError as e:
        control.send(json.dumps({"error": str(e)}).encode())
        return
    keeper = Keeper(control)
    try:
        keeper.serve()
    except OSError:
        pass
    finally:
        keeper.doSweep(1.0)


if __name__ == "__main__":
    main()

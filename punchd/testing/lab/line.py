"""
The delay line: a program that owns a TUN device and gives every packet back
later, or never.

It stands for the distance across the public network where the kernel has no
netem.  It runs as a program of its own with the standard library only, inside
the public namespace, and is steered over a socket: one JSON object a packet.

Without loss and reordering the device speaks C{virtio_net_hdr}, so a train of
segments that the sending kernel has not cut yet (TSO, USO) crosses as one.  With
them, and with a low rate, the kernel cuts trains before they come here: each packet
takes its chance.
"""

from __future__ import annotations

import ctypes
import fcntl
import gc
import heapq
import json
import os
import random
import select
import socket
import struct
import sys
import time
from dataclasses import asdict, dataclass

_TUNSETIFF = 0x400454CA
_TUNSETOFFLOAD = 0x400454D0
_IFF_TUN, _IFF_NO_PI, _IFF_VNET_HDR = 0x1, 0x1000, 0x4000
_CSUM, _TSO4, _TSO6, _USO4, _USO6 = 0x1, 0x2, 0x4, 0x20, 0x40
_PR_SET_TIMERSLACK = 29

#: The size of C{virtio_net_hdr}, and of the largest packet behind it.
_HEADER = 10
_LARGEST = _HEADER + 65536
#: Bytes a second below which trains are cut: there is time for each packet, and the
#: queue is not to lose a train at a time.
_CUT = 25e6
#: How many packets are read before those that are due go out.
_BATCH = 64
#: What comes due within this time goes out at once, in seconds.
_EARLY = 30e-6


@dataclass
class Conditions:
    """
    What the line does to packets.

    @ivar delay: seconds.
    @ivar jitter: up to this many seconds more, evenly; the order is kept.
    @ivar loss: percent of the packets that never arrive.
    @ivar reorder: percent of the packets that do not wait at all.
    @ivar limit: how many packets may wait; more are dropped.
    @ivar rate: bytes a second that each sender may have across, 0 for no limit.
    @ivar queue: bytes of each that may wait for that; what finds no room is
        dropped.
    """

    delay: float = 0.0
    jitter: float = 0.0
    loss: float = 0.0
    reorder: float = 0.0
    limit: int = 200_000
    rate: float = 0.0
    queue: float = 1e6


class Line:
    """
    I read packets from a TUN device and write them back when they are due.
    """

    def __init__(self, control: socket.socket, seed: int) -> None:
        self.control = control
        self.random = random.Random(seed)
        self.conditions = Conditions()
        self.waiting: list[tuple[float, int, bytes]] = []
        self.latest: dict[bytes, float] = {}
        self.free: dict[bytes, float] = {}
        self.number = self.passed = self.lost = self.dropped = 0
        self.tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        flags = _IFF_TUN | _IFF_NO_PI | _IFF_VNET_HDR
        fcntl.ioctl(self.tun, _TUNSETIFF, struct.pack("16sH22x", b"line", flags))

    def change(self, **values: float) -> None:
        """
        Change the conditions, for the packets to come.
        """
        now = Conditions(**(asdict(self.conditions) | values))
        slow = 0 < now.rate < _CUT
        whole = not now.loss and not now.reorder and not slow
        trains = _TSO4 | _TSO6 | _USO4 | _USO6 if whole else 0
        try:
            fcntl.ioctl(self.tun, _TUNSETOFFLOAD, _CSUM | trains)
        except OSError:
            # USO is younger than Linux 6.2.
            fcntl.ioctl(self.tun, _TUNSETOFFLOAD, _CSUM | (trains & (_TSO4 | _TSO6)))
        self.conditions = now

    def take(self) -> None:
        """
        Read what has come and decide when it goes on.
        """
        now = time.monotonic()
        conditions, waiting, tun = self.conditions, self.waiting, self.tun
        loss, reorder = conditions.loss / 100, conditions.reorder / 100
        dice = self.random.random
        for _ in range(_BATCH):
            try:
                packet = os.read(tun, _LARGEST)
            except BlockingIOError:
                return
            # The kernel itself says who listens to multicast: not our business,
            # and not to spoil a seed.
            if packet[_HEADER] >> 4 == 6 and packet[_HEADER + 24] == 0xFF:
                continue
            if loss and dice() < loss:
                self.lost += 1
                continue
            due: float | None
            if reorder and dice() < reorder:
                due = now
            else:
                due = self.dueAt(packet, now)
            if due is None or len(waiting) >= conditions.limit:
                self.dropped += 1
                continue
            self.number += 1
            heapq.heappush(waiting, (due, self.number, packet))

    def dueAt(self, packet: bytes, now: float) -> float | None:
        """
        @return: when the packet is across, behind what its sender sent before;
            L{None} when there is no room for it to wait.
        """
        conditions = self.conditions
        rate = conditions.rate
        if not rate and not conditions.jitter:
            return now + conditions.delay
        version6 = packet[_HEADER] >> 4 == 6
        start, end = (8, 24) if version6 else (12, 16)
        sender = packet[_HEADER + start : _HEADER + end]
        due = now
        if rate:
            due = max(now, self.free.get(sender, 0.0))
            size = len(packet) - _HEADER
            if (due - now) * rate + size > conditions.queue:
                return None
            due += size / rate
            self.free[sender] = due
        due += conditions.delay
        if conditions.jitter:
            due += conditions.jitter * self.random.random()
        due = self.latest[sender] = max(due, self.latest.get(sender, 0.0))
        return due

    def give(self) -> float | None:
        """
        Write what is due.

        @return: the seconds until the next packet is.
        """
        waiting = self.waiting
        now = time.monotonic()
        while waiting:
            due = waiting[0][0]
            if due > now + _EARLY:
                return due - now
            packet = heapq.heappop(waiting)[2]
            try:
                os.write(self.tun, packet)
                self.passed += 1
            except OSError:
                self.dropped += 1
        return None

    def obey(self) -> bool:
        """
        Answer one request.

        @return: whether there was one; without, the owner is gone.
        """
        packet = self.control.recv(4096)
        if not packet:
            return False
        self.change(**json.loads(packet))
        answer = {
            "passed": self.passed,
            "lost": self.lost,
            "dropped": self.dropped,
            "waiting": len(self.waiting),
            "cpu": time.process_time(),
        }
        self.control.send(json.dumps(answer).encode())
        return True

    def run(self) -> None:
        """
        Work until the owner is gone.
        """
        wait: float | None = None
        control = self.control.fileno()
        both = [self.tun, control]
        while True:
            # Not poll or epoll: Python rounds their time-outs up to milliseconds.
            ready = select.select(both, [], [], wait)[0]
            if self.tun in ready:
                self.take()
            if control in ready and not self.obey():
                return
            wait = self.give()


def main() -> None:
    """
    Run as: line.py DESCRIPTOR SEED
    """
    control = socket.socket(fileno=int(sys.argv[1]))
    try:
        line = Line(control, int(sys.argv[2]))
    except OSError as e:
        control.send(json.dumps({"error": f"/dev/net/tun: {e}"}).encode())
        return
    control.send(b"{}")
    # Be punctual: wake up on the microsecond, before others, without pauses.
    ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0)
    try:
        os.nice(-10)
    except OSError:
        pass
    gc.disable()
    try:
        line.run()
    except (KeyboardInterrupt, OSError):
        pass


if __name__ == "__main__":
    main()

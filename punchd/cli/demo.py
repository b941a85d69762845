"""
C{punchd demo}.
"""

from __future__ import annotations

import math
import os
import re
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from twisted.python import usage

from punchd.errors import PunchError
from punchd.testing.demo.kernel import KernelStage
from punchd.testing.demo.play import Play
from punchd.testing.demo.simulated import SimulatedStage
from punchd.testing.demo.stage import DemoFailed, Stage
from punchd.testing.demo.timeline import WIDTH
from punchd.testing.lab import KINDS, LabError
from punchd.testing.scenario import NATS, kinds

from .command import Command, Console

_DEFAULT = "portrestricted"
#: The longest delay, in seconds: with more, everything takes too long.
_MOST = 0.5


class DemoOptions(Command):
    """
    Punch a hole between two NATs, here and now.
    """

    synopsis = "[KIND_A KIND_B] [--simulator] [--delay=S]"
    optFlags = [
        ["simulator", None, "Use the simulator, even where the kernel would do."],
    ]
    optParameters = [
        ["delay", None, "0.025", "Seconds one way across the public network."],
    ]

    def getUsage(self, width: int | None = None) -> str:
        """
        Name the kinds, too.
        """
        rows = [f"  {name:<15} {kind.summary}" for name, kind in KINDS.items()]
        more = ", ".join(name for name in kinds() if name not in KINDS)
        return "\n".join(
            [
                super().getUsage(width),
                f"Kinds of NAT, {_DEFAULT} on both sides unless given:",
                *rows,
                f"and in the simulator only {more}, cgnat-KIND.",
                "",
            ]
        )

    def parseArgs(self, *arguments: str) -> None:
        """
        @raise usage.UsageError: there are not two known kinds, or none.
        """
        if len(arguments) not in (0, 2):
            raise usage.UsageError(
                "expected KIND_A KIND_B, two kinds of NAT, or none, and got"
                f" {' '.join(arguments)}."
            )
        self["kinds"] = arguments or (_DEFAULT, _DEFAULT)
        known = list(dict.fromkeys([*KINDS, *kinds(), *(f"cgnat-{n}" for n in NATS)]))
        for kind in self["kinds"]:
            if kind not in known:
                names = ", ".join(n for n in known if not n.startswith("cgnat-"))
                raise usage.UsageError(
                    f"{kind!r} is no kind of NAT; expected one of {names}."
                )

    def postOptions(self) -> None:
        """
        @raise usage.UsageError: the delay is none.
        """
        given = self["delay"]
        try:
            self["delay"] = float(given)
        except ValueError:
            self["delay"] = math.nan
        if not 0 <= self["delay"] <= _MOST:
            raise usage.UsageError(
                f"--delay={given}: expected seconds from 0 to {_MOST}."
            )

    def run(self, console: Console) -> int:
        """
        @return: 0.

        @raise PunchError: the job was not done.
        """

        def line(text: str = "") -> None:
            console.line(text)
            console.out.flush()

        with _terminable():
            stage = self._stage(line)
            try:
                for text in _picture(stage):
                    line(text)
                Play(stage, line).run()
            except DemoFailed as e:
                raise PunchError(str(e)) from e
            except (LabError, OSError, RuntimeError, subprocess.SubprocessError) as e:
                if isinstance(e, BrokenPipeError):
                    raise
                raise PunchError(f"The demo broke off: {e}.") from e
            finally:
                stage.close()
        return 0

    def _stage(self, line: Callable[[str], None]) -> Stage:
        kindA, kindB = self["kinds"]
        delay: float = self["delay"]
        why = "as --simulator asks" if self["simulator"] else self._whyNoKernel()
        stage: Stage | None = None
        if why is None:
            try:
                stage, why = _kernelStage(kindA, kindB, delay)
            except LabError as e:
                first = (str(e).strip() or repr(e)).splitlines()[0]
                first = re.sub(r"^\[Errno \d+\] ", "", first)
                why = f"since {_who()} cannot have network namespaces here: {first}"
            except ValueError as e:
                raise usage.UsageError(f"{kindA} {kindB}: {e}.") from e
        if stage is None:
            try:
                stage = SimulatedStage(kindA, kindB, delay)
            except ValueError as e:
                raise usage.UsageError(f"{kindA} {kindB}: {e}.") from e
        line(textwrap.fill(f"Two hosts behind NATs, in {stage.title}, {why}.", WIDTH))
        return stage

    def _whyNoKernel(self) -> str | None:
        if not sys.platform.startswith("linux"):
            return "since kernel NATs need Linux"
        for kind in self["kinds"]:
            if kind not in KINDS:
                return f"since the kernel lab has no {kind!r}"
        return None


def _kernelStage(kindA: str, kindB: str, delay: float) -> tuple[Stage, str]:
    """
    @return: the stage, and what is to be said of it.

    @raise LabError: there can be none.
    """
    why = f"which {_who()} may make"
    try:
        return KernelStage(kindA, kindB, delay), why
    except LabError as e:
        if not delay or "tun" not in str(e).lower():
            raise
    # Real NATs without a delay tell more than the simulator does.
    return KernelStage(
        kindA, kindB, 0.0
    ), f"{why}, without delay for want of /dev/net/tun"


def _who() -> str:
    return "root" if os.geteuid() == 0 else "this user"


def _picture(stage: Stage) -> Iterator[str]:
    """
    @return: who is where.
    """
    rows = []
    for letter, place in stage.places.items():
        shown = "" if place.public == place.address else f" {place.public}"
        rows.append(f"  {letter} {place.address} -- [{place.kind}]{shown} --")
    width = max(map(len, rows))
    first, second = (row + "-" * (width - len(row)) for row in rows)
    yield ""
    yield f"{first}+"
    yield f"{' ' * width}+-- rendezvous {stage.rendezvous}"
    yield f"{second}+"
    yield ""
    trip = 2000 * stage.delay
    yield (
        f"Between two public addresses, a round trip takes {trip:g} ms"
        f"{' of virtual time' if isinstance(stage, SimulatedStage) else ''}."
    )
    yield ""
    yield "A rendezvous and two clients are starting."
    yield ""
    yield "     ms  who         what"


@contextmanager
def _terminable() -> Iterator[None]:
    """
    Let a signal that ends us leave nothing behind either.
    """

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    wanted = (signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, interrupt) for number in wanted}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

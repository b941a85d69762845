"""
C{punchd demo} in the simulator, and what it says when it cannot do its job.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from twisted.logger import globalLogPublisher

from punchd.cli import demo, main
from punchd.services.rendezvous import Settings
from punchd.testing.demo.play import Play
from punchd.testing.demo.simulated import SimulatedStage
from punchd.testing.demo.stage import DemoFailed, Transfer
from punchd.testing.lab import LabError

Capture = pytest.CaptureFixture[str]

_ROW = re.compile(r" *(-?\d+)  (A|B|rendezvous|demo) +(\S.*)")


def _rows(out: str) -> list[tuple[int, str, str]]:
    found = [_ROW.fullmatch(line) for line in out.splitlines()]
    return [(int(m[1]), m[2], m[3]) for m in found if m is not None]


def _inOrder(out: str, *expected: str) -> None:
    """
    Assert that texts are there, one behind the other.
    """
    place = 0
    for text in expected:
        place = out.find(text, place)
        assert place >= 0, f"{text!r} is not there, or not in its place:\n{out}"


def testDirect(capsys: Capture) -> None:
    """The timeline goes from the registration to the goodbye, over a direct path."""
    assert main(["demo", "--simulator"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    _inOrder(
        out,
        "in the simulator, as --simulator asks.",
        "A 192.168.1.2 -- [portrestricted] 198.51.100.10 --+",
        "A registers from 198.51.100.10",
        "the NAT's mapping is endpoint-independent",
        "A's packets come from 198.51.100.10:",
        "      0  A           a program connects",
        "dials B through the rendezvous",
        "is dialled by A, and answers",
        "sends checks to 192.168.2.2:",
        "first byte from A, through the hole",
        "DIRECT path to B proven: 192.0.2.10:",
        "got 4.0 MB at ",
        "drops all packets between A and B",
        "RELAYED path to B in use",
        "lets packets pass again",
        "DIRECT path to B proven",
        "messages to B came back, all in order",
        "the session with A ends: The client stopped.",
        "Done: A and B talked through the hole that punchd made.",
        "path        direct (srflx, udp), 192.168.1.2:",
        "first byte  after 150 ms, 3.0 round trips",
        "bytes       4.0 MB in ",
        "detour      relayed ",
        "checks      ",
        "routers     A's sent 4.",
    )


def testTimesAreInOrder(capsys: Capture) -> None:
    """Lines come in the order of their times, with both clients in them."""
    assert main(["demo", "--simulator", "--delay=0.01"]) == 0
    rows = _rows(capsys.readouterr().out)
    times = [time for time, _, _ in rows]
    assert times == sorted(times)
    assert times[0] < 0 < times[-1]
    assert {who for _, who, _ in rows} == {"A", "B", "rendezvous", "demo"}


def testRelayed(capsys: Capture) -> None:
    """Two symmetric NATs: over the relay, and `punchd why` tells the cause."""
    assert main(["demo", "symmetric", "symmetric", "--simulator"]) == 0
    out = capsys.readouterr().out
    _inOrder(
        out,
        "the NAT's mapping is address-dependent",
        "RELAYED path to B in use",
        "no hole: no check was answered",
        "Done: A and B talked over the relay; no hole was found.",
        "path        relayed (relay, udp), ",
        "`punchd why B` says at A:",
        "The path to B goes through the relay.",
        "Your NAT gives every destination another port",
    )
    assert "drops all packets" not in out


@pytest.mark.parametrize("kind", ["open", "lan"])
def testWithoutHole(capsys: Capture, kind: str) -> None:
    """Where no hole is needed, none is claimed."""
    assert main(["demo", kind, kind, "--simulator"]) == 0
    out = capsys.readouterr().out
    _inOrder(out, "Done: A and B talked directly", "path        direct (host, udp)")
    assert "hole that" not in out


def testKernelHasNoSuchKind(capsys: Capture) -> None:
    """A kind that only the simulator has is shown there, and it says so."""
    assert main(["demo", "sequentialdown", "fullcone"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "since the kernel lab has no 'sequentialdown'. A 192.168.1.2" in out


def testKernelRefuses(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there can be no namespaces, the simulator does it; the cause is told."""

    def refuse(*_: object) -> None:
        raise LabError("[Errno 1] unshare: Operation not permitted\nmore")

    monkeypatch.setattr(demo, "KernelStage", refuse)
    monkeypatch.setattr(sys, "platform", "linux")
    assert main(["demo"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "here: unshare: Operation not permitted. A 192.168.1.2" in out


def testNoLinux(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Elsewhere than on Linux the kernel is not even asked."""
    monkeypatch.setattr(demo, "KernelStage", None)
    monkeypatch.setattr(sys, "platform", "darwin")
    assert main(["demo"]) == 0
    assert "simulator, since kernel NATs need Linux.\n" in capsys.readouterr().out


def testBlocked(capsys: Capture) -> None:
    """Where no UDP passes, the relay is reached by TCP, and the hole is one for TCP
    where that may go elsewhere than to port 443."""
    assert main(["demo", "tcp443", "portrestricted", "--simulator"]) == 0
    assert "through the relay" in capsys.readouterr().out
    assert main(["demo", "udpblocked", "portrestricted", "--simulator"]) == 0
    out = capsys.readouterr().out
    assert "Done: A and B talked through the hole that punchd made." in out
    assert "direct (tcp, tcp)" in out
    sent = re.search(r"A's sent (\d\.\d) MB to the other side", out)
    assert sent is not None
    assert float(sent[1]) > 4.0


def testNoPath(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no UDP passes, and without a relay, the job is not done: one sentence,
    and status 1."""
    unrelayed = partial(Settings, relay=False)
    monkeypatch.setattr("punchd.testing.pair.Settings", unrelayed)
    assert main(["demo", "udpblocked", "portrestricted", "--simulator"]) == 1
    out, err = capsys.readouterr()
    assert "Done" not in out
    assert re.fullmatch(
        r"punchd: A and B found no path within \d+ s"
        r" \(relay: the rendezvous offers no relay;.*\)\.\n",
        err,
    )


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("conical conical", "'conical' is no kind of NAT; expected one of open, full"),
        ("open", "expected KIND_A KIND_B, two kinds of NAT, or none, and got open."),
        ("open open open", "or none, and got open open open."),
        ("--delay=soon", "--delay=soon: expected seconds from 0 to 0.5."),
        ("--delay=-1", "--delay=-1: expected seconds from 0 to 0.5."),
        ("--delay=nan", "--delay=nan: expected seconds from 0 to 0.5."),
        ("lan open --simulator", "lan open: one NAT cannot be both lan and open."),
    ],
)
def testWrongInput(capsys: Capture, line: str, expected: str) -> None:
    """What cannot be shown is one sentence and status 1."""
    assert main(["demo", *line.split()]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("punchd: ")
    assert expected in err
    assert err.count("\n") == 1


def testHelpNamesKinds(capsys: Capture) -> None:
    """`punchd demo --help` tells the kinds that there are."""
    with pytest.raises(SystemExit) as caught:
        main(["demo", "--help"])
    assert not caught.value.code
    out = capsys.readouterr().out
    assert "[KIND_A KIND_B] [--simulator] [--delay=S]" in out
    assert "  cgnat           a port-restricted home router behind a carrier's" in out
    assert "sequential" in out


class _Broken(SimulatedStage):
    """
    A stage on which a byte is changed on the way.
    """

    def transfer(self) -> Transfer:
        found = super().transfer()
        found.sent = found.sent[::-1]
        return found


def testWrongBytes() -> None:
    """Bytes that do not arrive as they were sent fail the job."""
    stage = _Broken("portrestricted", "portrestricted", 0.025)
    try:
        with pytest.raises(DemoFailed, match="did not receive the bytes that A"):
            Play(stage, lambda text: None).run()
    finally:
        stage.close()


def testStageLeavesNoObserver() -> None:
    """A stage that is closed hears of the log no more."""
    before = list(globalLogPublisher._observers)
    stage = SimulatedStage("open", "open", 0.0)
    assert len(globalLogPublisher._observers) == len(before) + 1
    stage.close()
    assert globalLogPublisher._observers == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def testInterrupted(tmp_path: Path, number: signal.Signals) -> None:
    """Ctrl-C and other polite ends: status 130, nothing on stderr."""
    program = subprocess.Popen(
        [sys.executable, "-u", "-m", "punchd", "demo", "--simulator", "cgnat", "ipv6"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    assert program.stdout is not None
    assert program.stdout.readline().startswith("Two hosts behind NATs")
    program.send_signal(number)
    _, err = program.communicate(timeout=30)
    assert (program.returncode, err) == (130, "")
    assert list(tmp_path.iterdir()) == []

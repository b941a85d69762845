"""
The commands that ask a running client, which here is a process beside.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any, cast

import pytest

from punchd.cli.pairing import whatIsMissing
from punchd.cli.ping import summary
from punchd.cli.status import report, seconds, size
from punchd.services.remembered import rememberURLs
from punchd.services.state import StateFolder
from punchd.services.status import Status
from punchd.signaling.url import RendezvousURL

BOB = "b" * 52
CAROL = "c" * 52

STATUS: Status = {
    "peerId": "a" * 52,
    "rendezvous": {"url": "punch://203.0.113.10:3478,443#x", "connected": True},
    "nat": {
        "mapping": "endpoint-independent",
        "filtering": "address-and-port-dependent",
        "allocation": "preserving",
        "hairpin": False,
        "bindingLifetime": 30.0,
        "keepaliveInterval": 19.5,
        "publicAddresses": ["198.51.100.1"],
    },
    "sessions": [
        {
            "peer": BOB,
            "state": "Direct",
            "path": {
                "kind": "direct",
                "transport": "udp",
                "strategy": "srflx",
                "local": "10.0.0.2:4000",
                "remote": "198.51.100.2:5000",
                "rtt": 0.0512,
            },
            "secondsToFirstByte": 0.2,
            "secondsToDirect": 1.25,
            "probesSent": 9,
            "bindingsUsed": 1,
            "keepaliveInterval": 25.0,
            "bytesSent": 1234,
            "bytesReceived": 200_000_000,
            "pathChanges": 1,
            "pathChangeReason": None,
            "verdicts": [],
        },
    ],
}

_CLIENT = """
import json, sys
from twisted.internet import defer, reactor
from punchd.errors import PeerUnavailable
from punchd.services.control import ControlService
from punchd.services.state import StateFolder

class Client:
    def status(self):
        return json.loads(sys.argv[2])
    def why(self, peer):
        if peer[0] == "c":
            raise PeerUnavailable("The peer is offline.")
        return {"text": "Because of " + peer[:3] + ".", "verdicts": []}
    pings = 0
    def ping(self, peer, count):
        # Tests come in any order: only those of bob count.
        self.pings += peer[0] == "b"
        return defer.succeed([0.01 if peer[0] == "b" and self.pings == 1 else None])
    def reload(self):
        pass
    def allows(self, peer, service):
        return service == "www"

ControlService(reactor, StateFolder(sys.argv[1]), Client()).startService()
reactor.callWhenRunning(print, "ready", flush=True)
reactor.run()
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Generator[str, None, None]:
    """A state folder on which a client runs, that knows bob."""
    path = str(tmp_path_factory.mktemp("running"))
    StateFolder(path).petnames.add("bob", BOB)
    with subprocess.Popen(
        [sys.executable, "-c", _CLIENT, path, json.dumps(STATUS)],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield path
        process.terminate()


def _punchd(*words: str) -> subprocess.CompletedProcess[str]:
    program = "import sys; from punchd.cli import main; sys.exit(main())"
    return subprocess.run(
        [sys.executable, "-c", program, *words], capture_output=True, text=True
    )


def testStatusJSON(folder: str) -> None:
    """The JSON is what the client said."""
    done = _punchd("status", "--json", f"--state={folder}")
    assert json.loads(done.stdout) == STATUS
    assert (done.returncode, done.stderr) == (0, "")


def testStatus(folder: str) -> None:
    """A person reads a table with the petname in it."""
    done = _punchd("status", f"--state={folder}")
    assert "\nbob   Direct  direct udp (srflx)  51 ms" in done.stdout
    assert done.returncode == 0


def testWhy(folder: str) -> None:
    """The client's words are printed as they are."""
    done = _punchd("why", "bob", f"--state={folder}")
    assert (done.stdout, done.returncode) == ("Because of bbb.\n", 0)


def testErrorOfClient(folder: str) -> None:
    """What the client refuses is one sentence and status 1."""
    done = _punchd("why", CAROL, f"--state={folder}")
    assert done.stderr == "punchd: The peer is offline.\n"
    assert (done.stdout, done.returncode) == ("", 1)


def testPing(folder: str) -> None:
    """Each round trip has its line, a lost one too."""
    done = _punchd("ping", "bob", "--count=2", f"--state={folder}")
    assert done.stdout.splitlines()[:2] == ["bob 1: 10.0 ms", "bob 2: no answer"]
    assert done.returncode == 0


def testPingUnanswered(folder: str) -> None:
    """With no answer at all the status is 1."""
    done = _punchd("ping", CAROL, "--count=1", f"--state={folder}")
    assert done.stdout.endswith("\n0 of 1 answered\n")
    assert done.returncode == 1


def testDisallowedInVain(folder: str) -> None:
    """Who is allowed by another rule still is, which is said, with status 1."""
    assert _punchd("allow", "bob/www", f"--state={folder}").returncode == 0
    done = _punchd("disallow", "bob/www", f"--state={folder}")
    assert done.stderr.startswith("punchd: bob/www is allowed all the same, by --allow")
    assert (done.stdout, done.returncode) == ("", 1)
    assert _punchd("allow", f"--state={folder}").stdout == ""
    assert _punchd("allow", "bob/ssh", f"--state={folder}").returncode == 0
    assert _punchd("disallow", "bob/ssh", f"--state={folder}").returncode == 0
    done = _punchd("disallow", "bob/ssh", f"--state={folder}")
    assert done.stderr.startswith("punchd: bob/ssh was not allowed; ")


@pytest.mark.parametrize("command", ["status", "why", "ping"])
def testNoClient(tmp_path: Path, command: str) -> None:
    """Where no client runs, that is what is said."""
    peer = [] if command == "status" else [BOB]
    done = _punchd(command, *peer, f"--state={tmp_path}")
    assert done.stderr.startswith(f"punchd: No client is running on {tmp_path};")
    assert (done.stdout, done.returncode) == ("", 1)


def testMissingClient(folder: str, tmp_path: Path) -> None:
    """Who has permitted something and runs no client is told how to offer it."""
    state = StateFolder(str(tmp_path))
    url = RendezvousURL.parse("punch://203.0.113.10")
    rememberURLs(state, [url])
    text = whatIsMissing(state, ["ssh"], False)
    assert f"--rendezvous='{url}' --publish=ssh=tcp:HOST:PORT" in text
    assert "--publish=NAME=" in whatIsMissing(state, [], True)
    assert whatIsMissing(state, [], False) == ""
    assert whatIsMissing(StateFolder(folder), ["ssh"], False) == ""


# --- what is printed ---


def testReport() -> None:
    """The whole report, as a person sees it."""
    lines = list(report(STATUS, {BOB: "bob"}))
    assert lines[1:] == [
        "rendezvous        punch://203.0.113.10:3478,443#x (connected)",
        "public addresses  198.51.100.1",
        "NAT mapping       endpoint-independent",
        "NAT filtering     address-and-port-dependent",
        "NAT allocation    preserving",
        "NAT hairpin       no",
        "binding lifetime  30.0 s",
        "keepalive         every 19.5 s",
        "",
        "PEER  STATE   PATH                RTT    FIRST BYTE  DIRECT  SENT    RECEIVED",
        "bob   Direct  direct udp (srflx)  51 ms  200 ms      1.2 s   1.2 kB  200.0 MB",
    ]


def testReportOfNothing() -> None:
    """What is not known yet is called so."""
    nothing: Status = {
        **STATUS,
        "rendezvous": {"url": "punch://x", "connected": False},
        "nat": {
            **STATUS["nat"],
            "hairpin": None,
            "bindingLifetime": None,
            "publicAddresses": [],
        },
        "sessions": [],
    }
    text = "\n".join(report(nothing, {}))
    assert "punch://x (not connected)" in text
    assert "none seen yet" in text
    assert text.count("unknown") == 2
    assert text.endswith("\nNo session.")


@pytest.mark.parametrize(
    ("link", "text"),
    [
        ({"connected": True, "port": 443}, "(connected, TCP port 443)"),
        (
            {"connected": True, "port": 443, "proxied": True, "proxy": "192.0.2.1:8"},
            "(connected, TCP port 443 through the proxy at 192.0.2.1:8)",
        ),
        ({"connected": False, "reason": "No answer."}, "(not connected: No answer)"),
        (
            {"connected": True, "clockAhead": -600.0},
            "clock             600 s behind the rendezvous's: set it right",
        ),
    ],
)
def testReportOfLink(link: Any, text: str) -> None:
    """How the rendezvous is reached, or why not, and what is wrong with the clock."""
    status = cast("Status", {**STATUS, "rendezvous": {"url": "punch://x", **link}})
    assert text in "\n".join(report(status, {}))


def testReportWithoutPath() -> None:
    """A session without a path, to a peer without a name, is shown too."""
    session = STATUS["sessions"][0]
    path = session["path"]
    bare: Status = {
        **STATUS,
        "sessions": [{**session, "path": {**path, "kind": None, "rtt": None}}],
    }
    assert f"\n{BOB}  Direct  none  -  " in "\n".join(report(bare, {}))


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (0.0004, "0 ms"), (0.051, "51 ms"), (1.26, "1.3 s"), (900, "900 s")],
)
def testSeconds(value: float | None, text: str) -> None:
    """A time has a unit that fits it."""
    assert seconds(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (2e8, "200.0 MB"), (5e12, "5.0 TB")],
)
def testSize(value: float, text: str) -> None:
    """A size has a unit that fits it."""
    assert size(value) == text


def testPingReport() -> None:
    """The summary counts the answers and spans their times."""
    assert (
        summary([0.010, None, 0.030])
        == "2 of 3 answered; least, mean and most: 10.0, 20.0 and 30.0 ms"
    )

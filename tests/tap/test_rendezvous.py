"""
C{twistd punch-rendezvous}, as its users have it.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

from punchd.errors import InvalidOption
from punchd.identity import Identity
from punchd.services.places import DEFAULT_PLACES, Place
from punchd.signaling.url import RendezvousURL
from punchd.stun.message import Method, parse, request
from punchd.tap.rendezvous import Options, makeService

ROOT = Path(__file__).parent.parent.parent


def parsed(*arguments: str) -> Options:
    """
    @return: options as they were given.
    """
    options = Options()
    options.parseOptions(arguments)
    return options


# --- options


def test_defaults() -> None:
    """
    Without options: all addresses, TCP 443 too, with a relay.
    """
    settings = parsed().settings()
    assert settings.places == DEFAULT_PLACES
    assert settings.relay
    assert settings.relayPorts == (49152, 65535)
    assert settings.alternatePort is None


def test_all() -> None:
    """
    Each option has its effect; some may be repeated.
    """
    options = parsed(
        "--listen=0.0.0.0:1",
        "--listen=[::]:2/tcp",
        "--public=203.0.113.1=10.0.0.1",
        "--public=2001:db8::1",
        "--alternate-port=3479",
        "--relay-ports=2000-2999",
        "--no-relay",
        "--state=/somewhere",
        "--certificate=/some.pem",
    )
    settings = options.settings()
    assert settings.places == (Place("0.0.0.0", 1), Place("::", 2, udp=False))
    assert settings.publics == (("203.0.113.1", "10.0.0.1"), ("2001:db8::1", None))
    assert settings.alternatePort == 3479
    assert settings.relayPorts == (2000, 2999)
    assert not settings.relay
    assert (options["state"], options["certificate"]) == ("/somewhere", "/some.pem")


@pytest.mark.parametrize(
    ("before", "after", "changed"),
    [
        ("drain = 1", "drain = 2", ["drain"]),
        ("workers = 1", "workers = 2\nno-relay = true", ["no-relay", "workers"]),
        ("", 'listen = "0.0.0.0:9"\nmetrics = "tcp:1"', ["listen", "metrics"]),
        ("", 'relay-deny = "233.252.0.0/24"', []),
    ],
)
def test_fixed(tmp_path: Path, before: str, after: str, changed: list[str]) -> None:
    """
    What takes a restart to change is known by name, and what does not is not in it.
    """
    file = tmp_path / "rendezvous.toml"
    file.write_text(before)
    options = parsed(f"--config={file}")
    file.write_text(after)
    now = options.again().fixed()
    assert sorted(n for n, v in options.fixed().items() if now[n] != v) == changed


@pytest.mark.parametrize(
    "argument",
    [
        "--listen=3478",
        "--public=here",
        "--alternate-port=0",
        "--alternate-port=x",
        "--relay-ports=5",
        "--relay-ports=3000-2000",
        "--relay-ports=80-90",
        "--relay-ports=2000-65536",
        "--workers=0",
        "--workers=two",
        "--workers=65",
    ],
)
def test_wrongValues(argument: str) -> None:
    """
    One sentence names the option, the value, and what was expected.
    """
    with pytest.raises(SystemExit) as caught:
        parsed(argument)
    sentence = str(caught.value.code)
    assert sentence.startswith(f"punch-rendezvous: {argument}: ")
    assert "xpected" in sentence or "is not an address" in sentence


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--public=203.0.113.1=198.51.100.250"], "nothing listens on 198.51.100.250"),
        (["--listen=127.0.0.1:0/udp"], "nothing listens on TCP"),
        (["--certificate=/no/such.pem"], "--certificate=/no/such.pem: No such file"),
        (["--certificate=/dev/null"], "expected a certificate, its chain and its"),
    ],
)
def test_unusable(tmp_path: Path, arguments: list[str], complaint: str) -> None:
    """
    What cannot be used ends the program with one sentence.
    """
    if not arguments[0].startswith("--listen"):
        arguments = ["--listen=127.0.0.1:0", *arguments]
    options = parsed(f"--state={tmp_path}/s", *arguments)
    with pytest.raises(SystemExit) as caught:
        makeService(options, object())
    assert str(caught.value.code).startswith("punch-rendezvous: ")
    assert complaint in str(caught.value.code)


def test_wildcardWithoutPublicAddress(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A machine without a public address has to be told one.
    """
    monkeypatch.setattr(
        "punchd.tap.rendezvous.KernelNetwork.localHosts",
        lambda self: [("192.168.0.7", "eth0")],
    )
    with pytest.raises(SystemExit) as caught:
        makeService(parsed(f"--state={tmp_path}/s"), object())
    assert "No address of this machine is public" in str(caught.value.code)
    assert "--public=ADDR" in str(caught.value.code)
    settings = parsed("--public=203.0.113.1").settings()
    assert settings.check(["192.168.0.7"]) == {"192.168.0.7": "203.0.113.1"}
    with pytest.raises(InvalidOption):
        parsed().settings().check(["192.168.0.7"])


# --- the program


class Program:
    """
    A running C{twistd}.
    """

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                "from twisted.scripts.twistd import run; run()",
                *("-n", "--pidfile=", "punch-rendezvous", *arguments),
            ],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )

    def readLine(self, pattern: str) -> re.Match[str]:
        """
        @return: the first line of the log that fits.
        """
        assert self.process.stdout is not None
        for line in self.process.stdout:
            found = re.search(pattern, line)
            if found is not None:
                return found
        raise AssertionError(f"the program ended without {pattern!r}")

    def stop(self) -> int:
        """
        @return: the exit status after SIGTERM, as C{twistd} has it.
        """
        self.process.send_signal(signal.SIGTERM)
        self.process.communicate(timeout=20)
        return self.process.returncode


@pytest.fixture
def programs() -> Generator[list[Program], None, None]:
    """
    Programs, ended in the end.
    """
    made: list[Program] = []
    yield made
    for each in made:
        if each.process.poll() is None:
            each.process.kill()
        each.process.communicate()


def start(programs: list[Program], *arguments: str) -> Program:
    """
    @return: a program that has been started.
    """
    programs.append(Program(*arguments))
    return programs[-1]


def test_runs(tmp_path: Path, programs: list[Program]) -> None:
    """
    It says and writes its URL when it is ready, answers over UDP, and goes
    when it is told to.
    """
    state = tmp_path / "state"
    program = start(programs, f"--state={state}", "--listen=127.0.0.1:0")
    found = program.readLine(r"ready: (punch://\S+)")
    assert (state / "url").read_text() == found[1] + "\n"
    url = RendezvousURL.parse(found[1])
    assert url.host == "127.0.0.1"
    assert url.fingerprint is not None
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        asker.settimeout(10)
        asker.sendto(
            request(Method.BINDING, b"t" * 12).serialize(), (url.host, url.ports[0])
        )
        assert parse(asker.recv(2000)).transactionId == b"t" * 12
    assert (state / "key.pem").stat().st_mode & 0o777 == 0o600
    assert program.stop() == -signal.SIGTERM


def test_portInUse(tmp_path: Path, programs: list[Program]) -> None:
    """
    A port that is taken, and a state folder that is in use: one sentence, exit
    status 1, no traceback.
    """
    first = start(programs, f"--state={tmp_path}/a", "--listen=127.0.0.1:0")
    url = RendezvousURL.parse(first.readLine(r"ready: (punch://\S+)")[1])
    listen = f"--listen=127.0.0.1:{url.ports[0]}"
    for arguments, sentence in [
        ((f"--state={tmp_path}/b", listen), f"on 127.0.0.1:{url.ports[0]}: Address "),
        ((f"--state={tmp_path}/a", listen), "in use by process "),
    ]:
        other = start(programs, *arguments)
        output, errors = other.process.communicate(timeout=30)
        assert other.process.returncode == 1
        (said,) = errors.splitlines()
        assert said.startswith("punch-rendezvous: ")
        assert sentence in said
        assert "Traceback" not in output + errors


def test_halfABoxOfManyMegabytes(tmp_path: Path, programs: list[Program]) -> None:
    """
    A stranger with a fresh key who sends 200 MB of one box is cut off, and
    the program does not grow.
    """
    program = start(programs, f"--state={tmp_path}/a", "--listen=127.0.0.1:0")
    url = RendezvousURL.parse(program.readLine(r"ready: (punch://\S+)")[1])
    stranger = Identity.create()
    pem = tmp_path / "stranger.pem"
    pem.write_bytes(stranger.keyPEM() + stranger.certificatePEM())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.load_cert_chain(pem)
    context.set_alpn_protocols(["punchd/1"])
    before = residentMemory(program.process.pid)
    sent = 0
    with (
        socket.create_connection((url.host, url.ports[0]), 10) as raw,
        context.wrap_socket(raw) as connection,
    ):
        chunk = b"\0\4text\xff\xff" + b"x" * 65535
        try:
            while sent < 200_000_000:
                connection.sendall(chunk)
                sent += len(chunk)
        except OSError:
            pass
    assert sent < 20_000_000
    assert residentMemory(program.process.pid) - before < 8 << 20
    assert program.stop() == -signal.SIGTERM


def residentMemory(pid: int) -> int:
    """
    @return: bytes.
    """
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


# --- metrics


def test_metricsWithoutPackage(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """
    Without prometheus-client one sentence says what to install.
    """
    for name in [each for each in sys.modules if each.startswith("prometheus_client")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    monkeypatch.delitem(sys.modules, "punchd.services.metrics", raising=False)
    options = parsed(
        "--listen=127.0.0.1:0", f"--state={tmp_path}", "--metrics=tcp:9100"
    )
    with pytest.raises(SystemExit) as ended:
        makeService(options)
    said = str(ended.value)
    assert said.startswith("punch-rendezvous: --metrics=tcp:9100: prometheus-client")
    assert "punchd[metrics]" in said


@pytest.mark.parametrize("value", ["9100", "tcp:many", "tcp:99999", ""])
def test_metricsNowhere(value: str, tmp_path: Path) -> None:
    """
    What is no server endpoint is refused in one sentence.
    """
    options = parsed(
        "--listen=127.0.0.1:0", f"--state={tmp_path}", f"--metrics={value}"
    )
    with pytest.raises(SystemExit) as ended:
        makeService(options)
    said = str(ended.value)
    assert said.startswith(f"punch-rendezvous: --metrics={value}: ")
    assert "\n" not in said

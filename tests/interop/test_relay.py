"""
Foreign TURN clients at our rendezvous, as its program runs, over every transport.
"""

from __future__ import annotations

import ipaddress
import json
import re
import socket
import subprocess
import tempfile
from collections.abc import Generator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from punchd.testing.lab import Lab, Namespace, waitFor, whyNot
from punchd.testing.lab.product import START, TWISTD
from tests.interop.coturn import echoes, needs

#: Addresses of the rendezvous, and of who is served.
SERVER = {4: "203.0.113.10", 6: "2001:db8:c::10"}
CLIENT = {4: "203.0.113.1", 6: "2001:db8:c::1"}
PORT = "3478"
PEER_PORT = "3480"
PASSWORD = "password"
#: Seconds that one of the clients may take.
PATIENCE = 60
#: Messages of a client, and clients.
MESSAGES, CLIENTS = 20, 2

TRANSPORTS = pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
_OPTIONS = {"udp": (), "tcp": ("-t",), "tls": ("-t", "-S")}


def makeCertificate(folder: Path) -> Path:
    """
    @return: a file with a key, and a certificate for the server's address that
        is its own authority.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "lab")])
    now = datetime.now(UTC)
    address = ipaddress.ip_address(SERVER[4])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(address)]), False)
        .add_extension(x509.BasicConstraints(True, None), True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "certificate.pem"
    path.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return path


class Serving:
    """
    A rendezvous that runs in a lab, and peers for who uses its relay.

    @ivar space: where the clients are.
    @ivar certificate: what vouches for the rendezvous.
    """

    def __init__(self, lab: Lab, folder: Path) -> None:
        self.space: Namespace = lab.public
        self.certificate = makeCertificate(folder)
        users = folder / "users"
        users.write_text("".join(f"user{n}:{PASSWORD}\n" for n in range(100)))
        users.chmod(0o600)
        self._users = 0
        self.log = folder / "log"
        self.process = lab.rendezvous.popen(
            [
                *(*TWISTD, "-n", "--pidfile=", "punch-rendezvous"),
                *(f"--state={folder / 'state'}", f"--admit=users:{users}"),
                *(f"--certificate={self.certificate}", "--alternate-port=3479"),
            ],
            log=self.log,
            cwd=folder,
        )
        waitFor((folder / "state" / "url").exists, START, "the rendezvous")
        for address in CLIENT.values():
            self.space.popen(
                [needs("turnutils_peer"), "-L", address, "-p", PEER_PORT],
                log=folder / "peer.log",
                cwd=folder,
            )
            kind = socket.AF_INET6 if ":" in address else socket.AF_INET
            place = address, int(PEER_PORT)
            waitFor(lambda: echoes(place, self.space.socket(kind)), START, "the peer")  # noqa: B023

    def user(self) -> str:
        """
        @return: one whose allocations nobody has counted yet.
        """
        self._users += 1
        return f"user{self._users}"

    def start(self, program: str, *words: str) -> subprocess.Popen[str]:
        """
        Run a client.
        """
        return self.space.popen(
            [needs(program), *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def load(self, family: int, options: Sequence[str]) -> subprocess.Popen[str]:
        """
        Run C{turnutils_uclient}.
        """
        words = ["-c", "-u", self.user(), "-w", PASSWORD, "-p", PORT, "-l", "200"]
        words += ["-n", str(MESSAGES), "-m", str(CLIENTS), "-z", "20"]
        words += ["-x"] if family == 6 else []
        return self.start("turnutils_uclient", *words, *options, SERVER[family])

    def stop(self) -> None:
        """
        End the rendezvous, and see that nothing went wrong there.
        """
        self.process.terminate()
        self.process.wait(15)
        text = self.log.read_text()
        assert "Traceback" not in text, text
        assert "#critical]" not in text, text


@pytest.fixture(name="serving", scope="module")
def _serving() -> Generator[Serving, None, None]:
    """
    @return: one rendezvous for all tests here.
    """
    reason = whyNot()
    if reason is not None:
        pytest.skip(reason)
    with ExitStack() as stack:
        lab = stack.enter_context(Lab("open", "open", delay=0))
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="punchd-"))
        made = Serving(lab, Path(folder))
        yield made
        made.stop()


@TRANSPORTS
def test_uclient(serving: Serving, transport: str) -> None:
    """
    C{turnutils_uclient} gets all its messages back: over channels and by
    indications, IPv4 and IPv6, from each other and from C{turnutils_peer}.
    """
    running = {}
    for family in (4, 6):
        for sending in ((), ("-s",)):
            for to in (("-y",), ("-e", CLIENT[family], "-r", PEER_PORT)):
                options = (*_OPTIONS[transport], *sending, *to)
                running[family, options] = serving.load(family, options)
    for what, process in running.items():
        output, _ = process.communicate(timeout=PATIENCE)
        counts = re.findall(r"tot_send_msgs=(\d+), tot_recv_msgs=(\d+)", output)
        assert counts, f"{what}: {output}"
        sent = str(MESSAGES * CLIENTS)
        assert counts[-1] == (sent, sent), f"{what}: {output}"
        assert "Total lost packets 0 " in output, f"{what}: {output}"


@TRANSPORTS
def test_aioice(serving: Serving, transport: str) -> None:
    """
    Two aioice agents connect and talk by our relay alone.
    """
    script = Path(__file__).parent / "aioiceturn.py"
    words = [SERVER[4], PORT, transport, serving.user(), PASSWORD]
    process = serving.space.python(
        *(str(script), *words),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**serving.space.environment, "SSL_CERT_FILE": str(serving.certificate)},
    )
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, output
    found = json.loads(output)
    assert found["types"] == ["relay"]
    assert found["came"] == [found["sent"]] * 2


def test_binding(serving: Serving) -> None:
    """
    C{turnutils_stunclient} and C{turnutils_natdiscovery} get from the program
    what RFC 5780 has: no NAT here, and no filter.
    """
    stunclient = serving.start("turnutils_stunclient", "-p", PORT, SERVER[4])
    discovery = serving.start(
        *("turnutils_natdiscovery", "-m", "-f", "-L", CLIENT[4], "-p", PORT, SERVER[4])
    )
    output, _ = stunclient.communicate(timeout=PATIENCE)
    assert re.search(rf"UDP reflexive addr: {CLIENT[4]}:\d+", output), output
    assert "RFC 5780" in output, output
    output, _ = discovery.communicate(timeout=PATIENCE)
    assert "NAT with Endpoint Independent Filtering" in output, output
    assert "No NAT" in output or "Endpoint Independent Mapping" in output, output

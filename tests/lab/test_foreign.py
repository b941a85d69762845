"""
A TURN server that is not the rendezvous's, coturn, named by C{--relay}.
"""

from __future__ import annotations

import datetime
import ipaddress
import random
import socket
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from punchd.testing.lab import waitFor
from tests.interop.coturn import needs
from tests.lab.tools import connect, echoed, tool

#: They mostly wait, but on a busy machine for long.
pytestmark = pytest.mark.timeout(120)

_HOST, _PORT, _TLS = "203.0.113.11", 3500, 5349

_PLENTY = 1 << 20


def _certify(folder: Path) -> None:
    """
    Write a key and a certificate for coturn, which vouches for itself.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "coturn")])
    now = datetime.datetime.now(datetime.timezone.utc)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(True, None), True)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(_HOST))]),
            False,
        )
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "cert.pem").write_bytes(made.public_bytes(pem))
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            pem,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )


def _coturn(lab, folder: Path) -> None:
    """
    Run coturn beside the rendezvous.
    """
    space = lab.spaces["rendezvous"]
    space.popen(
        [
            needs("turnserver"),
            *("-n", "--no-cli", "--no-dtls", "--no-tcp-relay", "--realm", "lab"),
            *("--listening-ip", _HOST, "--relay-ip", _HOST),
            *("--listening-port", str(_PORT), "--tls-listening-port", str(_TLS)),
            *("--cert", str(folder / "cert.pem"), "--pkey", str(folder / "key.pem")),
            *("--lt-cred-mech", "--user", "me:sesame"),
            *("--log-file", "stdout", "--simple-log"),
            *("--pidfile", str(folder / "pid"), "--userdb", str(folder / "db")),
        ],
        cwd=folder,
        log=folder / "coturn.out",
    )

    def listens() -> bool:
        probe = space.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            return probe.connect_ex((_HOST, _TLS)) == 0
        finally:
            space.sockets.remove(probe)
            probe.close()

    waitFor(listens, 20.0, "coturn")


@pytest.mark.parametrize(
    ("kind", "relay", "transport"),
    [
        ("symmetric", f"turn:{_HOST}:{_PORT}", "udp"),
        ("udpblocked", f"turn:{_HOST}:{_PORT}?transport=tcp", "tcp"),
        ("udpblocked", f"turns:{_HOST}", "tls"),
    ],
)
def test_coturn(product, tmp_path, kind, relay, transport):
    """
    The session runs over it, by UDP, TCP and TLS; its password is in no log.
    """
    _certify(tmp_path)
    (tmp_path / "credentials").write_text("# for the tests\n\nme:sesame\n")

    def prepare(lab):
        lab.hostA.environment["SSL_CERT_FILE"] = str(tmp_path / "cert.pem")
        _coturn(lab, tmp_path)

    running = product(
        kind,
        "symmetric",
        a=[
            "--forward=tcp:7000=b/echo",
            f"--relay={relay}",
            f"--relay-credentials={tmp_path / 'credentials'}",
        ],
        b=["--publish=echo=tcp:127.0.0.1:7"],
        rendezvous=["--no-relay"],
        prepare=prepare,
    )
    tool(running.lab.hostB, "echo", 7)
    sock = connect(running.lab.hostA, 7000)
    data = random.randbytes(_PLENTY)
    assert echoed(sock, data) == data
    path = running.session("a")["path"]
    assert (path["kind"], path["transport"]) == ("relayed", transport)
    assert path["local"].startswith(f"{_HOST}:")
    log = running.log("a").read_text()
    assert f"{transport.upper()} to {_HOST}:" in log
    assert "sesame" not in log

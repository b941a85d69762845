"""
Who a program is: one ECDSA P-256 key, and the names derived from it.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import os
import stat

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from .errors import KeyFileError

#: An unpadded, lower-case base32 SHA-256 is this long.
PEER_ID_LENGTH = 52

_ALPHABET = frozenset("abcdefghijklmnopqrstuvwxyz234567")
_LIFETIME = datetime.timedelta(days=365 * 50)


def peerIdOf(spki: bytes) -> str:
    """
    @param spki: a public key as DER SubjectPublicKeyInfo (RFC 5280, 4.1.2.7).

    @return: the peer id: unpadded lower-case base32 of its SHA-256.
    """
    digest = hashlib.sha256(spki).digest()
    return base64.b32encode(digest).decode("ascii").rstrip("=").lower()


def isPeerId(text: str) -> bool:
    """
    @return: whether C{text} has the form of a peer id.
    """
    return len(text) == PEER_ID_LENGTH and _ALPHABET.issuperset(text)


def spkiOf(certificate: x509.Certificate) -> bytes:
    """
    @return: the DER SubjectPublicKeyInfo of the certificate's key.
    """
    return certificate.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def verify(spki: bytes, purpose: bytes, body: bytes, signature: bytes) -> bool:
    """
    Check a signature made by L{Identity.sign}.

    @return: whether C{signature} over C{purpose} and C{body} was made by the
        key whose DER SubjectPublicKeyInfo is C{spki}.
    """
    try:
        key = serialization.load_der_public_key(spki)
    except Exception:
        return False
    if not isinstance(key, ec.EllipticCurvePublicKey):
        return False
    try:
        key.verify(signature, purpose + b"\n" + body, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True


class Identity:
    """
    A private key and the self-signed certificate that shows its public half.

    @ivar peerId: the name by which others know the holder of the key.
    @ivar spki: the public key as DER SubjectPublicKeyInfo.
    """

    def __init__(
        self, privateKey: ec.EllipticCurvePrivateKey, certificate: x509.Certificate
    ) -> None:
        self.privateKey = privateKey
        self.certificate = certificate
        self.spki = spkiOf(certificate)
        self.peerId = peerIdOf(self.spki)

    @classmethod
    def create(cls) -> Identity:
        """
        Make a new key, and a certificate for it.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "punchd")])
        now = datetime.datetime.now(datetime.timezone.utc)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            # A clock that is wrong by a day must not lock anybody out.
            .not_valid_before(now - datetime.timedelta(days=2))
            .not_valid_after(now + _LIFETIME)
            .add_extension(
                x509.SubjectAlternativeName([x509.DNSName("punchd.invalid")]), False
            )
            .sign(key, hashes.SHA256())
        )
        return cls(key, certificate)

    def sign(self, purpose: bytes, body: bytes) -> bytes:
        """
        Sign C{body} for one purpose only.

        @param purpose: the fixed string that tells this kind of object from
            every other that the key signs; it holds no line feed.
        """
        return self.privateKey.sign(purpose + b"\n" + body, ec.ECDSA(hashes.SHA256()))

    def keyPEM(self) -> bytes:
        """
        @return: the private key as unencrypted PKCS #8 in PEM.
        """
        return self.privateKey.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )

    def certificatePEM(self) -> bytes:
        """
        @return: the certificate in PEM.
        """
        return self.certificate.public_bytes(serialization.Encoding.PEM)


def load(path: str) -> Identity:
    """
    Read the identity in the file C{path}, or make one there when there is none.

    @raise KeyFileError: the file is readable by others, is not a key file, or
        cannot be read or written.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return _createAt(path)
    except OSError as e:
        raise KeyFileError(f"{path}: {e.strerror}.") from e
    with os.fdopen(descriptor, "rb") as file:
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        if mode & 0o077:
            raise KeyFileError(
                f"{path}: mode {mode:04o} lets others read the key; "
                f"expected 0600 (chmod 600 {path})."
            )
        data = file.read(65536)
    try:
        key = serialization.load_pem_private_key(data, None)
        certificate = x509.load_pem_x509_certificate(data)
    except (ValueError, TypeError) as e:
        raise KeyFileError(
            f"{path}: not a punchd key file; expected the one that punchd wrote "
            "there. Move this one away to begin with a new identity."
        ) from e
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise KeyFileError(f"{path}: not an ECDSA key; expected one on P-256.")
    identity = Identity(key, certificate)
    if key.public_key() != certificate.public_key():
        raise KeyFileError(f"{path}: the certificate belongs to another key.")
    return identity


def _createAt(path: str) -> Identity:
    identity = Identity.create()
    temporary = f"{path}.{os.getpid()}.new"
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(identity.keyPEM() + identity.certificatePEM())
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as e:
        raise KeyFileError(f"{path}: {e.strerror}.") from e
    return identity

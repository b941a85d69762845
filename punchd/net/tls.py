"""
Mutual TLS 1.3 between clients and the rendezvous.

Everybody shows the certificate of its identity; who it is follows from the
public key alone.  The server accepts every key.  The client accepts one key,
which the URL pins, or, without a pin, what the machine's authorities vouch for.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from OpenSSL import SSL
from service_identity import CertificateError, VerificationError
from service_identity.cryptography import (
    verify_certificate_hostname,
    verify_certificate_ip_address,
)
from twisted.internet.interfaces import (
    IOpenSSLClientConnectionCreator,
    IOpenSSLServerConnectionCreator,
)
from zope.interface import implementer

from punchd.errors import CertificateRejected, FingerprintMismatch, InvalidOption
from punchd.identity import Identity, peerIdOf, spkiOf

#: The ALPN protocol of signaling, and that of TURN over TLS (RFC 7443).
SIGNALING: Final = b"punchd/1"
TURN: Final = b"stun.turn"
#: The same from a client that takes several frames in one record.
TURN_TOGETHER: Final = b"punchd-turn/1"


def _context(identity: Identity | None, least: int = SSL.TLS1_3_VERSION) -> SSL.Context:
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_min_proto_version(least)
    # Buffers of an idle connection are given back: most are idle most of the time.
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    # A resumed session would not show its certificate again.
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_options(SSL.OP_NO_TICKET)
    if identity is not None:
        context.use_privatekey(identity.privateKey)
        context.use_certificate(identity.certificate)
        context.check_privatekey()
    return context


def _acceptAny(
    connection: SSL.Connection, certificate: Any, error: int, depth: int, ok: int
) -> bool:
    """
    Whose key it is gets decided after the handshake, which proves that the
    other side has the private half.
    """
    return True


@implementer(IOpenSSLServerConnectionCreator)
class ServerCredentials:
    """
    What the rendezvous shows, and asks for.

    @ivar fingerprint: the peer id of the key that it shows.
    @ivar hostName: the name in a certificate of an authority, or L{None}.
    @ivar expires: when that certificate does, in seconds since 1970; L{None} for our
        own, which lasts.
    @ivar pem: all that another process needs to show the same.
    """

    def __init__(
        self,
        identity: Identity | None,
        certificatePEM: bytes | None = None,
        path: str = "",
    ) -> None:
        """
        @param identity: shown when there is no C{certificatePEM}.
        @param certificatePEM: a certificate of an authority, its chain, and
            its private key.
        @param path: where that was read.

        @raise InvalidOption: they do not fit together.
        """
        self.hostName: str | None = None
        self.expires: float | None = None
        if certificatePEM is None:
            assert identity is not None
            context = _context(identity, SSL.TLS1_2_VERSION)
            self.fingerprint = identity.peerId
            self.pem = identity.keyPEM() + identity.certificatePEM()
        else:
            context = _context(None, SSL.TLS1_2_VERSION)
            try:
                leaf = self._useChain(context, certificatePEM)
            except (ValueError, TypeError, IndexError, SSL.Error) as e:
                raise InvalidOption(
                    f"--certificate={path}: expected a certificate, its chain and "
                    "its unencrypted private key in PEM."
                ) from e
            self.fingerprint = peerIdOf(spkiOf(leaf))
            self.hostName = _nameOf(leaf)
            self.expires = leaf.not_valid_after_utc.timestamp()
        # Clients of TURN may have no later one (RFC 9325); with the ciphers of TLS
        # 1.3, more or less.  Signaling takes nothing but 1.3.
        context.set_cipher_list(b"ECDHE+AESGCM:ECDHE+CHACHA20")
        context.set_options(SSL.OP_NO_RENEGOTIATION)
        # Not FAIL_IF_NO_PEER_CERT: who only wants STUN or TURN has none.
        context.set_verify(SSL.VERIFY_PEER, _acceptAny)
        context.set_alpn_select_callback(_selectProtocol)
        self._sslContext = context

    def _useChain(self, context: SSL.Context, pem: bytes) -> x509.Certificate:
        leaf, *chain = x509.load_pem_x509_certificates(pem)
        key: Any = serialization.load_pem_private_key(pem, None)
        self.pem = b"".join(
            each.public_bytes(serialization.Encoding.PEM) for each in (leaf, *chain)
        ) + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        context.use_certificate(leaf)
        for each in chain:
            context.add_extra_chain_cert(each)
        context.use_privatekey(key)
        context.check_privatekey()
        return leaf

    def become(self, successor: ServerCredentials) -> None:
        """
        Show what C{successor} does, to whoever connects from now on.

        @raise InvalidOption: clients know us by the name, or the key, that we have.
        """
        named = self.hostName is not None
        same = successor.hostName == self.hostName
        if not same or (not named and successor.fingerprint != self.fingerprint):
            raise InvalidOption(
                "--certificate: the new one has another name or key than clients know;"
                " that takes a restart, and another URL."
            )
        self.fingerprint = successor.fingerprint
        self.expires = successor.expires
        self.pem = successor.pem
        self._sslContext = successor._sslContext

    def serverConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        """
        @see: L{IOpenSSLServerConnectionCreator.serverConnectionForTLS}.
        """
        return SSL.Connection(self._sslContext, None)


def _selectProtocol(connection: SSL.Connection, offered: list[bytes]) -> Any:
    for each in (SIGNALING, TURN_TOGETHER, TURN):
        if each in offered:
            return each
    return SSL.NO_OVERLAPPING_PROTOCOLS


def _nameOf(certificate: x509.Certificate) -> str | None:
    try:
        names = certificate.extensions.get_extension_for_class(
            x509.SubjectAlternativeName
        ).value.get_values_for_type(x509.DNSName)
    except x509.ExtensionNotFound:
        return None
    return next((each for each in names if not each.startswith("*")), None)


@implementer(IOpenSSLClientConnectionCreator)
class ClientCredentials:
    """
    What a client shows to its rendezvous, and what it wants to see.

    @ivar mismatch: what was wrong with what was shown last, or L{None}.
    """

    def __init__(
        self,
        identity: Identity | None,
        fingerprint: str | None,
        host: str,
        authorities: str | None = None,
        *,
        protocols: Sequence[bytes] = (SIGNALING,),
        least: int = SSL.TLS1_3_VERSION,
    ) -> None:
        """
        @param identity: who we are; L{None} to show no certificate.
        @param fingerprint: the peer id of the server's key; L{None} to accept
            what authorities vouch for.
        @param host: the name or address that it is reached at.
        @param authorities: the path of a PEM file; the machine's own without.
        @param protocols: what may be spoken, as ALPN names it, the best first.
        @param least: the oldest version of TLS to accept.
        """
        self.mismatch: FingerprintMismatch | CertificateRejected | None = None
        self._fingerprint = fingerprint
        self._host = host
        self._sslContext = context = _context(identity, least)
        context.set_alpn_protos(list(protocols))
        context.set_verify(SSL.VERIFY_PEER, self._verify)
        if authorities is not None:
            context.load_verify_locations(authorities)
        elif fingerprint is None:
            context.set_default_verify_paths()

    def clientConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        """
        @see: L{IOpenSSLClientConnectionCreator.clientConnectionForTLS}.
        """
        connection = SSL.Connection(self._sslContext, None)
        if not _isAddress(self._host):
            connection.set_tlsext_host_name(self._host.encode("ascii"))
        return connection

    def _verify(
        self, connection: Any, certificate: Any, error: int, depth: int, ok: int
    ) -> bool:
        """
        What is refused here is refused before our own certificate is sent: an
        impostor learns nothing.
        """
        if self._fingerprint is not None:
            # Who signed the key is of no interest.
            return depth > 0 or self._isPinned(certificate.to_cryptography())
        if not ok:
            self.mismatch = CertificateRejected()
            return False
        return depth > 0 or self._isNamed(certificate.to_cryptography())

    def _isPinned(self, certificate: x509.Certificate) -> bool:
        shown = peerIdOf(spkiOf(certificate))
        if shown == self._fingerprint:
            self.mismatch = None
            return True
        self.mismatch = FingerprintMismatch(
            f"The rendezvous at {self._host} shows the key {shown}, but its URL "
            f"says {self._fingerprint}: it was set up anew, or somebody is in "
            "between."
        )
        return False

    def _isNamed(self, certificate: x509.Certificate) -> bool:
        try:
            if _isAddress(self._host):
                verify_certificate_ip_address(certificate, self._host)
            else:
                verify_certificate_hostname(certificate, self._host)
        except (CertificateError, VerificationError):
            self.mismatch = CertificateRejected(
                f"The certificate of the rendezvous is not for {self._host}, "
                "and its URL names no fingerprint."
            )
            return False
        self.mismatch = None
        return True


def _isAddress(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def isModern(transport: Any) -> bool:
    """
    @param transport: a TLS transport whose handshake is complete.

    @return: whether it is TLS 1.3, with which certificates are not seen by others.
    """
    handle: SSL.Connection = transport.getHandle()
    return bool(handle.get_protocol_version() >= SSL.TLS1_3_VERSION)


def peerOf(transport: Any) -> str | None:
    """
    @param transport: a TLS transport whose handshake is complete.

    @return: the peer id of the certificate that the other side has shown.
    """
    certificate = transport.getPeerCertificate()
    if certificate is None:
        return None
    return peerIdOf(spkiOf(certificate.to_cryptography()))

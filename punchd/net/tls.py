"""
Mutual TLS 1.3 between clients and the rendezvous.

Everybody shows the certificate of its identity; who it is follows from the
public key alone.  The server accepts every key.  The client accepts one key,
which the URL pins, or, without a pin, what the machine's authorities vouch for.
"""

from __future__ import annotations

import ipaddress
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from OpenSSL import SSL, crypto
from twisted.internet import ssl
from twisted.internet.interfaces import (
    IOpenSSLClientConnectionCreator,
    IOpenSSLServerConnectionCreator,
)
from zope.interface import implementer

from punchd.errors import FingerprintMismatch, InvalidOption
from punchd.identity import Identity, peerIdOf, spkiOf

#: The ALPN protocol of signaling, and that of TURN over TLS (RFC 7443).
SIGNALING: Final = b"punchd/1"
TURN: Final = b"stun.turn"


def _context(identity: Identity | None) -> SSL.Context:
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_min_proto_version(SSL.TLS1_3_VERSION)
    # Buffers of an idle connection are given back: most are idle most of the time.
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    # A resumed session would not show its certificate again.
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_options(SSL.OP_NO_TICKET)
    if identity is not None:
        context.use_privatekey(crypto.PKey.from_cryptography_key(identity.privateKey))
        context.use_certificate(crypto.X509.from_cryptography(identity.certificate))
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
        if certificatePEM is None:
            assert identity is not None
            context = _context(identity)
            self.fingerprint = identity.peerId
        else:
            context = _context(None)
            try:
                leaf = self._useChain(context, certificatePEM)
            except (ValueError, TypeError, IndexError, SSL.Error) as e:
                raise InvalidOption(
                    f"--certificate={path}: expected a certificate, its chain and "
                    "its unencrypted private key in PEM."
                ) from e
            self.fingerprint = peerIdOf(spkiOf(leaf))
            self.hostName = _nameOf(leaf)
        # Not FAIL_IF_NO_PEER_CERT: who only wants STUN or TURN has none.
        context.set_verify(SSL.VERIFY_PEER, _acceptAny)
        context.set_alpn_select_callback(_selectProtocol)
        self._sslContext = context

    @staticmethod
    def _useChain(context: SSL.Context, pem: bytes) -> x509.Certificate:
        leaf, *chain = x509.load_pem_x509_certificates(pem)
        key: Any = serialization.load_pem_private_key(pem, None)
        context.use_certificate(crypto.X509.from_cryptography(leaf))
        for each in chain:
            context.add_extra_chain_cert(crypto.X509.from_cryptography(each))
        context.use_privatekey(crypto.PKey.from_cryptography_key(key))
        context.check_privatekey()
        return leaf

    def serverConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        """
        @see: L{IOpenSSLServerConnectionCreator.serverConnectionForTLS}.
        """
        return SSL.Connection(self._sslContext, None)


def _selectProtocol(connection: SSL.Connection, offered: list[bytes]) -> Any:
    for each in (SIGNALING, TURN):
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
class PinnedCredentials:
    """
    What a client shows to a rendezvous of which it knows the key.

    @ivar mismatch: what was wrong with the key that was shown last, or L{None}.
    """

    def __init__(self, identity: Identity, fingerprint: str, host: str) -> None:
        """
        @param fingerprint: the peer id of the key that the server must have.
        @param host: the name or address that it is reached at.
        """
        self._sslContext = _context(identity)
        self._sslContext.set_alpn_protos([SIGNALING])
        self._sslContext.set_verify(SSL.VERIFY_PEER, self._verify)
        self.mismatch: FingerprintMismatch | None = None
        self._fingerprint = fingerprint
        self._host = host

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
        if depth:
            # Who signed the key is of no interest.
            return True
        shown = peerIdOf(spkiOf(certificate.to_cryptography()))
        if shown == self._fingerprint:
            self.mismatch = None
            return True
        # Refused before our own certificate is sent: an impostor learns nothing.
        self.mismatch = FingerprintMismatch(
            f"The rendezvous at {self._host} shows the key {shown}, but its URL "
            f"says {self._fingerprint}: it was set up anew, or somebody is in "
            "between."
        )
        return False


def clientCredentials(
    identity: Identity, fingerprint: str | None, host: str, trustRoot: Any = None
) -> Any:
    """
    @param fingerprint: the peer id of the server's key, or L{None} to trust
        what C{trustRoot} vouches for.
    @param trustRoot: an C{IOpenSSLTrustRoot}; the platform's without one.

    @return: an L{IOpenSSLClientConnectionCreator}.
    """
    if fingerprint is not None:
        return PinnedCredentials(identity, fingerprint, host)
    shown = ssl.PrivateCertificate.loadPEM(
        identity.keyPEM() + identity.certificatePEM()
    )
    return ssl.optionsForClientTLS(
        host,
        trustRoot=trustRoot,
        clientCertificate=shown,
        acceptableProtocols=[SIGNALING],
        extraCertificateOptions={"raiseMinimumTo": ssl.TLSVersion.TLSv1_3},
    )


def _isAddress(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def peerOf(transport: Any) -> str | None:
    """
    @param transport: a TLS transport whose handshake is complete.

    @return: the peer id of the certificate that the other side has shown.
    """
    certificate = transport.getPeerCertificate()
    if certificate is None:
        return None
    return peerIdOf(spkiOf(certificate.to_cryptography()))

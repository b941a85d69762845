"""
The QUIC library behind L{punchd.session.quic.QuicCore}: qh3, by its public
interface; two short cuts past it are marked, and missed by nobody when they are gone.
Another one may stand in by providing L{Backend}; the tests run aioquic through the same
suite.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Sequence
from functools import partial
from typing import Any, Protocol, cast

from cryptography import x509
from qh3.quic.configuration import QuicConfiguration
from qh3.quic.connection import QuicConnection

from punchd.identity import Identity, spkiOf

#: RFC 7301 protocol name of a session.
ALPN = "punchd/1"

#: Every datagram has at most this many bytes, for life: after probing up, a
#: path with a smaller MTU would kill the connection for good.
DATAGRAM_SIZE = 1200

#: Liveness is ours; QUIC gives up only after this many seconds of silence.
IDLE_TIMEOUT = 900.0

#: Seconds of round trip that the first retransmission supposes; RFC 9002 has
#: 0.333, but the lost packet of a handshake is worth more than a spare one.
INITIAL_RTT = 0.1

#: QUIC's own windows stay out of the way of L{punchd.session.credit}.
STREAM_WINDOW = 24 << 20
CONNECTION_WINDOW = 256 << 20

#: All connection ids are of this length in bytes.
CID_LENGTH = 8

#: The certificate's key is compared, not its name; the name is a constant.
SERVER_NAME = "punchd.invalid"

# The library warns about every closed connection; without a handler Python
# would print that.
logging.getLogger("quic").addHandler(logging.NullHandler())


class Connection(Protocol):
    """
    What a QUIC library's connection has to have; see qh3's documentation.
    """

    host_cid: bytes

    def connect(self, addr: Any, now: float) -> None: ...
    def receive_datagram(self, data: bytes, addr: Any, now: float) -> None: ...
    def datagrams_to_send(self, now: float) -> list[tuple[bytes, Any]]: ...
    def get_timer(self) -> float | None: ...
    def handle_timer(self, now: float) -> None: ...
    def next_event(self) -> Any: ...
    def get_next_available_stream_id(self, is_unidirectional: bool = ...) -> int: ...
    def send_stream_data(
        self, stream_id: int, data: bytes, end_stream: bool = ...
    ) -> None: ...
    def reset_stream(self, stream_id: int, error_code: int) -> None: ...
    def stop_stream(self, stream_id: int, error_code: int) -> None: ...
    def send_datagram_frame(self, data: bytes) -> None: ...
    def send_ping(self, uid: int) -> None: ...
    def close(
        self,
        error_code: int = ...,
        frame_type: int | None = ...,
        reason_phrase: str = ...,
    ) -> None: ...


class Backend(Protocol):
    """
    A QUIC library.
    """

    def client(self) -> Connection:
        """
        @return: a connection that trusts any certificate: the key is compared
            by L{punchd.session.auth}.
        """

    def server(self, identity: Identity, destination: bytes) -> Connection:
        """
        @param destination: the destination connection id of the client's
            first datagram.
        """

    def receiveMany(
        self, connection: Connection, datagrams: Sequence[bytes], addr: Any, now: float
    ) -> None:
        """
        Feed several datagrams at once.
        """

    def datagramsToSend(self, connection: Connection, now: float) -> list[bytes]:
        """
        @return: what the connection wants to send now.
        """

    def sendBufferSize(self, connection: Connection, streamId: int | None) -> int:
        """
        @return: stream bytes that were not sent once yet, of one stream or all.
        """

    def streamLimit(self, connection: Connection) -> int:
        """
        @return: how many bidirectional streams the peer lets us open, those of
            the past included.
        """

    def peerKey(self, connection: Connection) -> bytes | None:
        """
        @return: the DER SubjectPublicKeyInfo of the peer's certificate.
        """


class _Quiet(QuicConnection):
    """
    qh3 parses and copies each datagram for its log before it asks whether there
    is one: a third of what sending costs.  These are internal names; should they
    go away, we are merely slower.
    """

    def _log_datagram(self, *arguments: Any) -> None: ...
    def _log_packets(self, *arguments: Any) -> None: ...


class Qh3:
    """
    qh3 2.x.
    """

    def client(self) -> Connection:
        configuration = _configuration(is_client=True, server_name=SERVER_NAME)
        return cast(Connection, _Quiet(configuration=configuration))

    def server(self, identity: Identity, destination: bytes) -> Connection:
        configuration = _configuration(is_client=False)
        configuration.load_cert_chain(identity.certificatePEM(), identity.keyPEM())
        return cast(
            Connection,
            _Quiet(
                configuration=configuration,
                original_destination_connection_id=destination,
            ),
        )

    def receiveMany(
        self, connection: Any, datagrams: Sequence[bytes], addr: Any, now: float
    ) -> None:
        connection.receive_many_datagrams(list(datagrams), addr, now)

    def datagramsToSend(self, connection: Any, now: float) -> list[bytes]:
        # The public method does several calls more for each datagram: a tenth of
        # what sending costs.  This name is internal, too.
        poll = getattr(getattr(connection, "_core", None), "poll_transmit", None)
        if poll is None:
            return [data for data, _ in connection.datagrams_to_send(now)]
        return [transmit[0] for transmit in iter(partial(poll, now), None)]

    def sendBufferSize(self, connection: Any, streamId: int | None) -> int:
        return cast(int, connection.get_send_buffer_size(streamId))

    def streamLimit(self, connection: Any) -> int:
        return cast(int, connection.max_concurrent_bidi_streams)

    def peerKey(self, connection: Any) -> bytes | None:
        certificate = connection.get_peercert()
        if certificate is None:
            return None
        try:
            return spkiOf(x509.load_der_x509_certificate(certificate.public_bytes()))
        except Exception:
            return None


def _configuration(**options: Any) -> QuicConfiguration:
    return QuicConfiguration(
        alpn_protocols=[ALPN],
        connection_id_length=CID_LENGTH,
        idle_timeout=IDLE_TIMEOUT,
        initial_rtt=INITIAL_RTT,
        max_data=CONNECTION_WINDOW,
        max_stream_data=STREAM_WINDOW,
        max_datagram_size=DATAGRAM_SIZE,
        max_datagram_frame_size=DATAGRAM_SIZE,
        probe_datagram_size=False,
        verify_mode=ssl.CERT_NONE,
        **options,
    )

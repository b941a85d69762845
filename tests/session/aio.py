"""
aioquic behind the adapter: the second implementation that keeps
L{punchd.session.quic} honest.  It needs some of aioquic's private parts.
"""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from typing import Any, cast

from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.packet import QuicProtocolVersion

from punchd.identity import Identity, spkiOf
from punchd.session import backend
from punchd.session.backend import Connection

#: Seconds by which a timer is late.
LATE = 1e-6


class _Late(QuicConnection):
    """
    A connection that hears of its timers as late as real clocks tell of them: at the
    very time, rounding may have it find nothing lost and set the timer to the same
    time, for ever where time does not pass.
    """

    def handle_timer(self, now: float) -> None:
        """
        A timer is due.
        """
        super().handle_timer(now + LATE)


class Aioquic:
    """
    aioquic 1.7.
    """

    def client(self) -> Connection:
        """
        A connection that trusts any certificate.
        """
        configuration = _configuration(
            is_client=True,
            server_name=backend.SERVER_NAME,
            verify_mode=ssl.CERT_NONE,
        )
        return cast(Connection, _Late(configuration=configuration))

    def server(self, identity: Identity, destination: bytes) -> Connection:
        """
        A connection that shows the identity's certificate.
        """
        configuration = _configuration(is_client=False)
        configuration.certificate = identity.certificate
        configuration.private_key = identity.privateKey
        return cast(
            Connection,
            _Late(
                configuration=configuration,
                original_destination_connection_id=destination,
            ),
        )

    def receiveMany(
        self, connection: Any, datagrams: Sequence[bytes], addr: Any, now: float
    ) -> None:
        """
        One after the other.
        """
        for data in datagrams:
            connection.receive_datagram(data, addr, now)

    def datagramsToSend(self, connection: Any, now: float) -> list[bytes]:
        """
        All of them.
        """
        return [data for data, _ in connection.datagrams_to_send(now)]

    def sendBufferSize(self, connection: Any, streamId: int | None) -> int:
        """
        What lies behind the highest offset that was sent.
        """
        return sum(
            stream.sender._buffer_stop - stream.sender.highest_offset
            for id, stream in connection._streams.items()
            if streamId in (None, id) and stream.sender._reset_error_code is None
        )

    def streamLimit(self, connection: Any) -> int:
        """
        aioquic holds back what the peer does not allow by itself.
        """
        return 1 << 60

    def peerKey(self, connection: Any) -> bytes | None:
        """
        The key of the certificate that the listener showed.
        """
        certificate = connection.tls._peer_certificate
        return None if certificate is None else spkiOf(certificate)


def _configuration(**options: Any) -> QuicConfiguration:
    return QuicConfiguration(
        alpn_protocols=[backend.ALPN],
        connection_id_length=backend.CID_LENGTH,
        idle_timeout=backend.IDLE_TIMEOUT,
        max_data=backend.CONNECTION_WINDOW,
        max_stream_data=backend.STREAM_WINDOW,
        max_datagram_size=backend.DATAGRAM_SIZE,
        max_datagram_frame_size=backend.DATAGRAM_SIZE,
        supported_versions=[QuicProtocolVersion.VERSION_1],
        **options,
    )

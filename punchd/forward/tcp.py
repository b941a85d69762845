"""
Two transports joined back to back: what one reads the other writes.

A stream of a session and a TCP connection behave alike, so two halves of one
kind do all: each is the protocol of one transport, and the producer for the
transport of the other.

  - Who reads slowly pauses who writes fast.
  - Who ends its direction ends that direction on the other side; the other one
    goes on.
  - Who breaks breaks the other: a reset does not turn into a clean end.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import (
    IHalfCloseableProtocol,
    IPushProducer,
    ITCPTransport,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.protocols.policies import ProtocolWrapper
from twisted.python.failure import Failure
from zope.interface import implementer

from .writing import writerOf

#: Bytes that a half keeps while it waits for the other one.  It reads at all
#: because a connection that is not read does not tell that it is gone.
EARLY = 1 << 16

#: Bytes that are read from a TCP connection at a time: several bursts for the
#: network.  Twisted's default of 64 KiB makes a full one and a bit.
READ = 1 << 18


@implementer(IHalfCloseableProtocol, IPushProducer)
class Half(Protocol):
    """
    I am the protocol of one of two joined transports.  Until L{join} I keep
    what comes, and soon take no more.

    @ivar lost: why the transport is gone, once it is.
    """

    transport: Any

    def __init__(self, onLost: Callable[[Half], None] = lambda half: None) -> None:
        """
        @param onLost: called when the transport is gone, joined or not.
        """
        self.lost: Failure | None = None
        self._onLost = onLost
        self._other: Half | None = None
        self._early = bytearray()
        self._readEnded = False
        self._writeEnded = False
        self._fed = False
        self._write: Callable[[bytes], object] = _nowhere

    def abort(self) -> None:
        """
        Break the transport, and with it the other one.
        """
        if self.lost is None:
            transport = self.transport
            getattr(transport, "abortConnection", transport.loseConnection)()

    # --- IProtocol, IHalfCloseableProtocol -----------------------------------

    def connectionMade(self) -> None:
        """
        Prefer small delays to few packets: others have cut the data already.
        """
        self._write = writerOf(self.transport)
        if ITCPTransport.providedBy(self.transport):
            self.transport.setTcpNoDelay(True)
            self.transport.setTcpKeepAlive(True)
            if hasattr(self.transport, "bufferSize"):
                self.transport.bufferSize = READ

    def dataReceived(self, data: bytes) -> None:
        """
        Pass on.
        """
        if self._other is None:
            self._early += data
            if len(self._early) >= EARLY:
                self.transport.pauseProducing()
        else:
            self._other._write(data)

    def readConnectionLost(self) -> None:
        """
        Nothing more will come from here.
        """
        self._readEnded = True
        if self._other is not None:
            self._other._endWriting()
        self._closeWhenDone()

    def writeConnectionLost(self) -> None:
        """
        Everything has left here, with the end.
        """
        self._writeEnded = True
        self._closeWhenDone()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        The transport is gone.
        """
        self.lost = reason
        other, self._other = self._other, None
        if other is not None and other.lost is None:
            if reason.check(ConnectionDone):
                other._unfeed()
                other.transport.loseConnection()
            else:
                other.abort()
        self._onLost(self)

    # --- IPushProducer, for the other transport ------------------------------

    def pauseProducing(self) -> None:
        """
        The other transport has enough.
        """
        if self.lost is None:
            self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        """
        The other transport takes more.
        """
        if self.lost is None and not self._readEnded:
            self.transport.resumeProducing()

    def stopProducing(self) -> None:
        """
        The other transport takes nothing any more.  It may still have something
        to say; if it is gone, its half tells how.
        """
        if self.lost is None:
            self._readEnded = True
            self.transport.pauseProducing()
            self._tellWriter()
            self._closeWhenDone()
        if self._other is not None:
            self._other.writeConnectionLost()

    # --- inside --------------------------------------------------------------

    def _begin(self, other: Half) -> None:
        other._fed = True
        other.transport.registerProducer(self, True)
        if self._early:
            other.transport.write(bytes(self._early))
            self._early.clear()
        if self._readEnded:
            other._endWriting()
        else:
            self.transport.resumeProducing()

    def _endWriting(self) -> None:
        if self.lost is not None:
            return
        self._unfeed()
        if _halfCloses(self.transport):
            self.transport.loseWriteConnection()
        else:
            self.transport.loseConnection()

    def _tellWriter(self) -> None:
        # Unless the other transport is gone: how, its half is told next.
        other = self._other
        gone = other is None or getattr(other.transport, "disconnected", True)
        if not gone and hasattr(self.transport, "loseReadConnection"):
            self.transport.loseReadConnection()

    def _unfeed(self) -> None:
        # A paused producer would never let Twisted's TCP come to the end.
        if self._fed:
            self._fed = False
            self.transport.unregisterProducer()

    def _closeWhenDone(self) -> None:
        if self._readEnded and self._writeEnded and self.lost is None:
            self.transport.loseConnection()


def _nowhere(data: bytes) -> None:
    """
    Where what is written to no transport goes.
    """


def _halfCloses(transport: Any) -> bool:
    """
    @return: whether one direction can be ended alone.  TLS cannot, though it
        passes the wish on to the TCP connection below it.
    """
    return (
        hasattr(transport, "loseWriteConnection")
        and not isinstance(transport, ProtocolWrapper)
        and not getattr(transport, "TLS", False)
    )


def join(one: Half, two: Half) -> None:
    """
    Let two connected halves pass on what comes to each.  If one is lost by now,
    the other is broken.
    """
    if one.lost is not None or two.lost is not None:
        one.abort()
        two.abort()
        return
    one._other, two._other = two, one
    one._begin(two)
    if two._other is one:
        two._begin(one)

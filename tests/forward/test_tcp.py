"""
Two halves, joined.
"""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IHalfCloseableProtocol,
    IPushProducer,
    ITCPTransport,
)
from twisted.internet.testing import StringTransport
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from zope.interface import implementer
from zope.interface.verify import verifyObject

from punchd.forward.tcp import EARLY, Half, join


@implementer(ITCPTransport)
class Transport(StringTransport):
    """
    A transport that can end one direction.
    """

    writeEnded = False
    aborting = False
    noDelay = False
    keepAlive = False

    def getTcpNoDelay(self) -> bool:
        return self.noDelay

    def getTcpKeepAlive(self) -> bool:
        return self.keepAlive

    def setTcpNoDelay(self, enabled: bool) -> None:
        self.noDelay = enabled

    def setTcpKeepAlive(self, enabled: bool) -> None:
        self.keepAlive = enabled

    def abortConnection(self) -> None:
        self.aborting = True

    def loseWriteConnection(self) -> None:
        assert self.producer is None
        self.writeEnded = True


def connected(transport: Any = None, **more: Any) -> tuple[Half, Any]:
    """
    @return: a half on a transport.
    """
    half = Half(**more)
    transport = Transport() if transport is None else transport
    half.makeConnection(transport)
    return half, transport


def joined() -> tuple[Half, Any, Half, Any]:
    """
    @return: two joined halves on their transports.
    """
    one, a = connected()
    two, b = connected()
    join(one, two)
    return one, a, two, b


def test_interfaces() -> None:
    """
    A half is a protocol that is told of ends, and a producer.
    """
    half, _ = connected()
    assert verifyObject(IHalfCloseableProtocol, half)
    assert verifyObject(IPushProducer, half)
    assert verifyObject(ITCPTransport, Transport())


def test_tcpOptions() -> None:
    """
    TCP does not wait to fill packets, and notices hosts that are gone.
    """
    _, transport = connected()
    assert transport.noDelay
    assert transport.keepAlive


def test_early() -> None:
    """
    What comes too early is kept, up to a bound, and passed on in order.
    """
    one, a = connected()
    one.dataReceived(b"x")
    assert a.producerState == "producing"
    one.dataReceived(bytes(EARLY))
    assert a.producerState == "paused"
    two, b = connected()
    join(one, two)
    one.dataReceived(b"y")
    assert b.value() == b"x" + bytes(EARLY) + b"y"
    assert a.producerState == "producing"


def test_earlyEnd() -> None:
    """
    An end that comes too early is passed on behind the data.
    """
    one, _ = connected()
    one.dataReceived(b"x")
    one.readConnectionLost()
    two, b = connected()
    join(one, two)
    assert b.value() == b"x"
    assert b.writeEnded
    assert not b.disconnecting


def test_backPressure() -> None:
    """
    Each half is the other transport's producer.
    """
    one, a, two, b = joined()
    assert (a.producer, b.producer) == (two, one)
    b.producer.pauseProducing()
    assert (a.producerState, b.producerState) == ("paused", "producing")
    b.producer.resumeProducing()
    assert a.producerState == "producing"


def test_noReadingAfterTheEnd() -> None:
    """
    A transport that has come to its end is not told to read on.
    """
    one, a, _, _ = joined()
    one.readConnectionLost()
    a.pauseProducing()
    one.resumeProducing()
    assert a.producerState == "paused"


def test_closedWhenBothEnded() -> None:
    """
    A transport whose both directions ended is closed, in either order.
    """
    for order in (("read", "write"), ("write", "read")):
        one, a, _, b = joined()
        for direction in order:
            assert not a.disconnecting
            getattr(one, f"{direction}ConnectionLost")()
        assert a.disconnecting
        assert b.writeEnded
        assert not b.disconnecting


def test_cleanLoss() -> None:
    """
    A transport that closes cleanly has the other one send what it has and close.
    """
    one, _, _, b = joined()
    one.connectionLost(Failure(ConnectionDone()))
    assert b.disconnecting
    assert not b.disconnected
    assert b.producer is None


def test_brokenLoss() -> None:
    """
    A transport that breaks breaks the other one, which does not answer back.
    """
    told: list[Half] = []
    one, a = connected(onLost=told.append)
    two, b = connected(onLost=told.append)
    join(one, two)
    one.connectionLost(Failure(ConnectionLost()))
    assert b.aborting
    assert not a.aborting
    two.connectionLost(Failure(ConnectionLost()))
    assert not a.aborting
    assert told == [one, two]


def test_joinedTooLate() -> None:
    """
    Joining with a half that is lost breaks the other one.
    """
    one, a = connected()
    two, b = connected()
    two.connectionLost(Failure(ConnectionDone()))
    join(one, two)
    assert a.aborting
    assert not b.aborting


def test_lostWhileJoining() -> None:
    """
    A transport that is lost when the first bytes are written to it does not
    make the join fail.
    """

    class Losing(Transport):
        def write(self, data: bytes) -> None:
            half.connectionLost(Failure(ConnectionLost()))

    one, a = connected()
    one.dataReceived(b"x")
    half, _ = connected(Losing())
    join(one, half)
    assert a.aborting


def test_notWantedAnyMore() -> None:
    """
    A consumer that takes nothing any more stops the reading; the transport is
    closed when it has nothing to say either, and aborted if the other breaks.
    """
    one, a, two, _ = joined()
    one.stopProducing()
    assert a.producerState == "paused"
    assert not a.disconnecting
    one.writeConnectionLost()
    assert a.disconnecting

    one, a, two, _ = joined()
    one.stopProducing()
    two.connectionLost(Failure(ConnectionLost()))
    assert a.aborting


def test_afterTheLoss() -> None:
    """
    What another transport still asks of a lost one has no effect.
    """
    one, a, _, _ = joined()
    one.connectionLost(Failure(ConnectionLost()))
    a.producerState = "gone"
    one.pauseProducing()
    one.resumeProducing()
    one.stopProducing()
    one.abort()
    one.writeConnectionLost()
    one._endWriting()
    assert a.producerState == "gone"
    assert not (a.aborting or a.disconnecting or a.writeEnded)


class TLS(Transport):
    """
    A TCP transport that speaks TLS.
    """

    TLS = True


def wrapped() -> ProtocolWrapper:
    """
    @return: a transport on top of another one.
    """
    wrapper = ProtocolWrapper(WrappingFactory(Any), Half())
    wrapper.transport = Transport()
    return wrapper


@pytest.mark.parametrize("make", [StringTransport, TLS])
def test_transportsOfOneEnd(make: Any) -> None:
    """
    A transport that cannot end one direction is closed when the other has
    ended.
    """
    one, _ = connected()
    two, b = connected(make())
    join(one, two)
    one.readConnectionLost()
    assert b.disconnecting


def test_wrappedTransport() -> None:
    """
    A transport on top of TCP does not have the end of TCP's direction.
    """
    wrapper = wrapped()
    below: Any = wrapper.transport
    half = Half()
    half.transport = wrapper
    half._endWriting()
    assert below.disconnecting
    assert not below.writeEnded


def test_abortWithoutAbort() -> None:
    """
    A transport that cannot be aborted is closed.
    """

    class Closing:
        closed = False

        def loseConnection(self) -> None:
            self.closed = True

    half = Half()
    half.transport = Closing()
    half.abort()
    assert half.transport.closed


def test_neitherTakes() -> None:
    """
    When nobody takes anything any more at either side, both are closed, though
    neither has ended its own direction.
    """
    one, a, two, b = joined()
    one.stopProducing()
    assert not a.disconnecting and not b.disconnecting
    two.stopProducing()
    assert a.disconnecting and b.disconnecting

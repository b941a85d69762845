"""
Twisted's own protocols over streams, unchanged.
"""

from __future__ import annotations

import os
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Factory, Protocol
from twisted.protocols import amp
from twisted.protocols.basic import LineReceiver
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.test.ssl_helpers import ClientTLSContext, ServerTLSContext
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site
from zope.interface import implementer

from punchd.session.stream import Stream

from .pair import Pair, Recorder

pytestmark = pytest.mark.parametrize("backend", ["qh3", "aioquic"])


def serve(pair: Pair, make: Any) -> None:
    """
    Let the listener answer every stream with a protocol.
    """
    pair.b.streams.onIncoming = lambda service, stream: stream.accept(make(stream))


class Echo(LineReceiver):
    """
    Answers each line; pauses itself now and then; leaves at C{quit}.
    """

    transport: Any

    def lineReceived(self, line: bytes) -> None:
        """
        Say it again.
        """
        self.sendLine(line.upper())
        if line == b"pause":
            self.pauseProducing()
        if line == b"quit":
            self.transport.loseConnection()


def test_lines(backend: str) -> None:
    """
    A L{LineReceiver} that writes, pauses and leaves from within its callbacks.
    """
    pair = Pair(backend).connect()
    echoes: list[Echo] = []

    def make(stream: Stream) -> Echo:
        echoes.append(Echo())
        return echoes[-1]

    serve(pair, make)
    stream, recorder = pair.open()
    stream.writeSequence([b"one\r\n", b"pause\r\ntwo\r\n"])
    pair.run(1.0)
    assert bytes(recorder.data) == b"ONE\r\nPAUSE\r\n"
    echoes[0].resumeProducing()
    stream.write(b"quit\r\nnever\r\n")
    pair.until(lambda: recorder.reason is not None)
    assert bytes(recorder.data) == b"ONE\r\nPAUSE\r\nTWO\r\nQUIT\r\n"
    assert isinstance(recorder.reason, ConnectionDone)


class Sum(amp.Command):
    """
    Adds.
    """

    arguments = [(b"a", amp.Integer()), (b"b", amp.Integer())]
    response = [(b"total", amp.Integer())]
    errors = {ZeroDivisionError: b"ZERO"}


class Calculator(amp.AMP):
    """
    Knows L{Sum}.
    """

    transport: Any

    @Sum.responder
    def sum(self, a: int, b: int) -> dict[str, int]:
        """
        Add.
        """
        if b == 0:
            raise ZeroDivisionError
        return {"total": a + b}


def test_amp(backend: str) -> None:
    """
    AMP calls run both ways over one stream.
    """
    pair = Pair(backend).connect()
    serving: list[Calculator] = []

    def make(stream: Stream) -> Calculator:
        serving.append(Calculator())
        return serving[-1]

    serve(pair, make)
    client = Calculator()
    pair.a.streams.openStream("sum", client)
    results: list[Any] = []
    for i in range(1, 50):
        client.callRemote(Sum, a=i, b=i).addCallback(results.append)
    client.callRemote(Sum, a=1, b=0).addErrback(lambda f: results.append(f.type))
    pair.until(lambda: len(results) == 50)
    serving[0].callRemote(Sum, a=20, b=22).addCallback(results.append)
    pair.until(lambda: len(results) == 51)
    assert results[0] == {"total": 2}
    assert results[49:] == [ZeroDivisionError, {"total": 42}]
    client.transport.loseConnection()
    pair.run(1.0)
    assert pair.a.streams.count == pair.b.streams.count == 0


@implementer(IPushProducer)
class Big(Resource):
    """
    Sends its content with a producer.

    @ivar pauses: how often it was told to wait.
    """

    isLeaf = True

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self.content = content
        self.pauses = 0

    def render_GET(self, request: Any) -> Any:
        """
        Begin.
        """
        self.request = request
        self.position = 0
        request.setHeader(b"content-length", b"%d" % len(self.content))
        request.registerProducer(self, True)
        self.resumeProducing()
        return NOT_DONE_YET

    def resumeProducing(self) -> None:
        """
        Write until told to wait.
        """
        self.paused = False
        while not self.paused and self.position < len(self.content):
            end = self.position + 50000
            data = self.content[self.position : end]
            self.position = end
            self.request.write(data)
        if self.position >= len(self.content) and not self.request.finished:
            self.request.unregisterProducer()
            self.request.finish()

    def pauseProducing(self) -> None:
        """
        Wait.
        """
        self.pauses += 1
        self.paused = True

    def stopProducing(self) -> None:
        """
        Never wanted.
        """
        raise AssertionError


def test_http(backend: str) -> None:
    """
    Twisted's web server sends a file through a stream, paced by it.
    """
    content = os.urandom(3_000_000)
    pair = Pair(backend).connect()
    resource = Big(content)
    site = Site(resource, reactor=pair.clock)
    site.timeOut = None
    serve(pair, lambda stream: site.buildProtocol(stream.getPeer()))
    stream, recorder = pair.open("www")
    stream.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    pair.until(lambda: recorder.reason is not None)
    head, body = bytes(recorder.data).split(b"\r\n\r\n", 1)
    assert head.startswith(b"HTTP/1.1 200 OK")
    assert body == content
    assert resource.pauses > 5


class Chat(Recorder):
    """
    Says something when its connection is made.
    """

    def connectionMade(self) -> None:
        """
        Begin.
        """
        self.transport.write(b"hello from " + type(self).__name__.encode())


class Client(Chat):
    """
    The client of the pair.
    """


class Server(Chat):
    """
    The server of the pair.
    """


def test_tls(backend: str) -> None:
    """
    TLS may be laid over a stream, and closes it in order.
    """
    pair = Pair(backend).connect()
    made: dict[type, Any] = {}

    def factory(kind: type[Chat]) -> Factory:
        def build(address: Any) -> Protocol:
            made[kind] = kind()
            return made[kind]

        wrapped = Factory()
        wrapped.buildProtocol = build  # type: ignore[method-assign,assignment]
        return wrapped

    server = TLSMemoryBIOFactory(ServerTLSContext(), False, factory(Server), pair.clock)
    client = TLSMemoryBIOFactory(ClientTLSContext(), True, factory(Client), pair.clock)
    serve(pair, lambda stream: server.buildProtocol(stream.getPeer()))
    pair.a.streams.openStream("tls", client.buildProtocol(None))
    pair.until(lambda: len(made) == 2 and bool(made[Server].data and made[Client].data))
    assert made[Server].data == b"hello from Client"
    assert made[Client].data == b"hello from Server"
    made[Client].transport.loseConnection()
    pair.until(lambda: made[Client].reason is not None)
    pair.until(lambda: made[Server].reason is not None)
    assert isinstance(made[Server].reason, ConnectionDone)


class Clumsy(Recorder):
    """
    Raises at the first data.
    """

    def dataReceived(self, data: bytes) -> None:
        """
        Fail.
        """
        raise ZeroDivisionError


def test_protocolThatRaises(backend: str, flushLoggedErrors: Any) -> None:
    """
    As on TCP, a protocol that raises loses its connection, and no other one.
    """
    pair = Pair(backend).connect()
    made: list[Recorder] = []

    def make(stream: Stream) -> Recorder:
        made.append(Clumsy() if stream.service == "bad" else Recorder())
        return made[-1]

    serve(pair, make)
    good, _ = pair.open("good")
    good.write(b"x")
    bad, recorder = pair.open("bad")
    bad.write(b"x")
    pair.until(lambda: recorder.reason is not None)
    assert len(flushLoggedErrors(ZeroDivisionError)) == 1
    good.write(b"y")
    pair.run(1.0)
    assert isinstance(made[1].reason, ZeroDivisionError)
    assert bytes(made[0].data) == b"xy"


def test_callbackOfTheAcceptorThatRaises(backend: str, flushLoggedErrors: Any) -> None:
    """
    A bug in who takes streams refuses the stream.
    """
    pair = Pair(backend).connect()

    def fail(service: str, stream: Stream) -> None:
        raise ZeroDivisionError

    pair.b.streams.onIncoming = fail
    _, recorder = pair.open()
    pair.until(lambda: recorder.reason is not None)
    assert len(flushLoggedErrors(ZeroDivisionError)) == 1


def test_openersMayGiveUpWaiting(backend: str) -> None:
    """
    Cancelling C{whenOpen} leaves the stream alone.
    """
    pair = Pair(backend).connect()
    stream, _ = pair.open()
    waiting: Deferred[Stream] = stream.whenOpen()
    cancelled: list[Any] = []
    waiting.addErrback(cancelled.append)
    waiting.cancel()
    pair.run(1.0)
    assert len(cancelled) == 1
    assert stream.accepted

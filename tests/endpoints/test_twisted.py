"""
What Twisted tests its own transports with, over C{punch:} endpoints: in one
process, and through the control sockets of running clients.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import _WrapperServerEndpoint, wrapClientTLS
from twisted.internet.interfaces import (
    IReactorTime,
    IReactorUNIX,
    IStreamClientEndpoint,
)
from twisted.internet.ssl import CertificateOptions
from twisted.internet.test.connectionmixins import (
    ConnectionTestsMixin,
    EndpointCreator,
    StreamClientTestsMixin,
)
from twisted.internet.test.reactormixins import ReactorBuilder
from twisted.internet.test.test_tcp import AbortConnectionMixin
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.test.ssl_helpers import ServerTLSContext
from zope.interface.verify import verifyObject

from punchd.endpoints import PunchClientEndpoint, PunchServerEndpoint
from punchd.session.address import PunchAddress
from punchd.session.stream import Stream
from tests.conftest import LoggedErrors

from .world import BOB, World


class Creator(EndpointCreator):
    """
    Makes endpoints that know how to connect to each other.
    """

    def __init__(self, running: bool) -> None:
        self._running = running
        self._worlds: dict[Any, World] = {}

    def world(self, reactor: Any) -> World:
        """
        @return: the one of the reactor, which ends with it.
        """
        if reactor not in self._worlds:
            path = Path(tempfile.mkdtemp(prefix="punchd-"))
            world = self._worlds[reactor] = World(reactor, path, self._running)

            def stop() -> Deferred[None]:
                del self._worlds[reactor]
                stopping = Deferred.fromCoroutine(world.stop(turns=50))
                return stopping.addCallback(lambda _: shutil.rmtree(path))

            reactor.addSystemEventTrigger("before", "shutdown", stop)
        return self._worlds[reactor]

    def server(self, reactor: Any) -> PunchServerEndpoint:
        """
        Bob's.
        """
        return PunchServerEndpoint(
            reactor, "test", allow=["alice"], portal=self.world(reactor).b.portal
        )

    def client(self, reactor: Any, serverAddress: Any) -> PunchClientEndpoint:
        """
        Alice's.
        """
        return PunchClientEndpoint(
            reactor,
            serverAddress.peerId,
            serverAddress.service,
            portal=self.world(reactor).a.portal,
        )


class TLSCreator(Creator):
    """
    Lays TLS over the connections.
    """

    def server(self, reactor: Any) -> Any:
        """
        Bob's, with a certificate.
        """
        return _WrapperServerEndpoint(
            super().server(reactor),
            lambda factory: TLSMemoryBIOFactory(
                ServerTLSContext(), False, factory, reactor
            ),
        )

    def client(self, reactor: Any, serverAddress: Any) -> Any:
        """
        Alice's, by the public function for it.
        """
        endpoint = super().client(reactor, serverAddress)
        context: Any = CertificateOptions()
        return wrapClientTLS(context, endpoint)


class Base(ReactorBuilder, ConnectionTestsMixin, AbortConnectionMixin):
    """
    What holds for TLS, too.
    """

    _reactors = [
        "twisted.internet.epollreactor.EPollReactor",
        "twisted.internet.selectreactor.SelectReactor",
    ]
    requiredInterfaces: Sequence[Any] = (IReactorUNIX, IReactorTime)
    endpoints: Any

    def setUp(self) -> None:
        """
        Some tests stop reading as only Twisted's descriptors can be told to.
        """
        super().setUp()
        self.endpoints = self.makeCreator()
        for name, same in (("stop", "pause"), ("start", "resume")):
            setattr(Stream, f"{name}Reading", getattr(Stream, f"{same}Producing"))
            cleaning: Any = self
            cleaning.addCleanup(delattr, Stream, f"{name}Reading")

    @pytest.fixture(autouse=True)
    def _watch(self, hygiene: LoggedErrors) -> None:
        self._logged = hygiene

    def flushLoggedErrors(self, *types: type[BaseException]) -> Any:
        """
        Two watch the log.
        """
        self._logged.flush(*types)
        return super().flushLoggedErrors(*types)  # type: ignore[misc]

    def makeCreator(self) -> Creator:
        """
        @return: what makes the endpoints.
        """
        raise NotImplementedError


class Transports(Base, StreamClientTestsMixin):
    """
    The tests, with streams in this process.
    """

    def makeCreator(self) -> Creator:
        """
        @return: what makes the endpoints.
        """
        return Creator(running=False)

    def listen(self, reactor: Any, factory: Any) -> Any:
        """
        For L{StreamClientTestsMixin}.
        """
        return self.endpoints.server(reactor).listen(factory)

    def connect(self, reactor: Any, factory: Any) -> Any:
        """
        For L{StreamClientTestsMixin}, which knows no endpoints.
        """
        endpoint = self.endpoints.client(reactor, PunchAddress(BOB.peerId, "test"))
        connecting = endpoint.connect(factory)
        connecting.addErrback(lambda f: factory.clientConnectionFailed(None, f))
        return endpoint

    def test_interface(self) -> None:
        """
        What is tested has no connector; it is an endpoint.
        """
        reactor = self.buildReactor()
        endpoint = self.endpoints.client(reactor, PunchAddress(BOB.peerId, "test"))
        assert verifyObject(IStreamClientEndpoint, endpoint)


class ControlSocketTransports(Transports):
    """
    The tests, with streams that go through two control sockets.
    """

    def makeCreator(self) -> Creator:
        """
        @return: what makes the endpoints.
        """
        return Creator(running=True)


class TLSTransports(Base):
    """
    The tests, with TLS over the streams.
    """

    def makeCreator(self) -> Creator:
        """
        @return: what makes the endpoints.
        """
        return TLSCreator(running=False)


for _tests in (Transports, ControlSocketTransports, TLSTransports):
    globals().update(_tests.makeTestCaseClasses())
del _tests

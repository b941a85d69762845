"""
UPnP Internet Gateway Devices, by miniupnpc: an optional dependency, and one that
blocks, so that it runs in threads.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from threading import Thread
from typing import Any, Final, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorThreads
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure
from zope.interface import implementer

from punchd.core import Address
from punchd.interfaces import ICandidateSearch, ICandidateSeeker, INetwork
from punchd.stun.address import canonicalHost

from .gateway import Gateway
from .lease import LIFETIME

_T = TypeVar("_T")

#: How long a device may take to answer, in milliseconds (UPnP Device
#: Architecture 1.1, 1.3.2: MX).
DISCOVERY: Final = 1000
#: How many ports are tried when others have taken them.
_TRIES: Final = 4
#: Ports that NATs and users leave alone (RFC 6335, 6).
_FIRST, _LAST = 49152, 65535

#: What miniupnpc calls errors 718 and 725 of WANIPConnection:1, 2.4.16.
_CONFLICT: Final = "ConflictInMappingEntry"
_PERMANENT: Final = "OnlyPermanentLeasesSupported"
#: And the error that it raises when there is no device.
_NONE: Final = "Success"


def makeClient(host: str) -> Any:
    """
    @param host: the address of ours whose network is searched.

    @return: a client of miniupnpc.

    @raise ImportError: it is not installed.
    """
    return import_module("miniupnpc").UPnP(multicastif=host, discoverdelay=DISCOVERY)


class DaemonThreads:
    """
    I am a pool for L{deferToThreadPool} whose threads do not hold up the end of the
    program, as the reactor's would: a search in vain takes four seconds.
    """

    def callInThreadWithCallback(
        self,
        told: Callable[[bool, Any], object],
        function: Callable[..., Any],
        *args: Any,
        **kwargs: Any,
    ) -> None:
        """
        As L{twisted.python.threadpool.ThreadPool} does.
        """

        def run() -> None:
            try:
                result = function(*args, **kwargs)
            except Exception:
                told(False, Failure())
            else:
                told(True, result)

        Thread(target=run, name="punchd UPnP", daemon=True).start()


class Device:
    """
    I am one gateway device; all my methods block.
    """

    def __init__(
        self, client: Any, base: Address, entropy: Callable[[int], bytes]
    ) -> None:
        self._client = client
        self._base = base
        self._entropy = entropy
        self._port: int | None = None
        self._lifetime = LIFETIME

    def discover(self) -> str:
        """
        Look for a device.

        @return: its address outside.

        @raise Exception: what miniupnpc has to say.
        """
        if not self._search():
            raise LookupError("no answer")
        self._client.selectigd()
        return self._outside()

    def _search(self) -> int:
        try:
            return int(self._client.discover())
        except Exception as e:
            if str(e) == _NONE:
                return 0
            raise

    def _outside(self) -> str:
        host = self._client.externalipaddress()
        if not host:
            raise LookupError("the router has no address outside")
        return canonicalHost(host)

    def map(self) -> tuple[Address, int]:
        """
        Open a port or renew it.

        @return: where others reach us, and for how many seconds, 0 for ever.

        @raise Exception: what miniupnpc has to say.
        """
        known = self._port
        port = self._base[1] if known is None else known
        for tries in range(_TRIES, 0, -1):
            try:
                self._add(port)
            except Exception as e:
                if str(e) == _PERMANENT and self._lifetime:
                    self._lifetime = 0
                elif str(e) == _CONFLICT and known is None and tries > 1:
                    number = int.from_bytes(self._entropy(2), "big")
                    port = _FIRST + number % (_LAST - _FIRST + 1)
                else:
                    raise
            else:
                self._port = port
                return (self._outside(), port), self._lifetime
        raise LookupError("every port that was tried is taken")

    def _add(self, port: int) -> None:
        host, inside = self._base
        if not self._client.addportmapping(
            port, "UDP", host, inside, "punchd", "", self._lifetime
        ):
            raise LookupError("the router opened nothing")

    def delete(self) -> None:
        """
        Close the port, if one is open.

        @raise Exception: what miniupnpc has to say.
        """
        port, self._port = self._port, None
        if port is not None:
            self._client.deleteportmapping(port, "UDP", "")


@implementer(ICandidateSearch)
class UPnPSearch:
    """
    I ask a gateway device.
    """

    def __init__(
        self,
        network: INetwork,
        base: Address,
        gateway: Gateway,
        seeker: ICandidateSeeker,
        *,
        makeClient: Callable[[str], Any] = makeClient,
        pool: Any = None,
    ) -> None:
        """
        @param pool: where blocking calls run.

        @raise LookupError: it cannot be done here; the text says why.
        """
        self._seeker = seeker
        self._reactor: Any = network.reactor
        self._pool: Any = DaemonThreads() if pool is None else pool
        if not IReactorThreads.providedBy(self._reactor):
            raise LookupError("there are no threads here")
        try:
            client = makeClient(base[0])
        except ImportError as e:
            raise LookupError(
                "miniupnpc is not installed; `pip install punchd[portmap]` has it"
            ) from e
        self._device = Device(client, base, network.entropy)
        self._renewing: IDelayedCall | None = None
        self._stopped: Deferred[None] | None = None
        # One thing at a time: a device is not made for more, nor is the client.
        self._last: Deferred[Any] = self._run(self._device.discover)
        self._last.addCallbacks(self._discovered, self._failed)

    def _run(self, function: Callable[[], _T]) -> Deferred[_T]:
        running: Deferred[_T] = deferToThreadPool(self._reactor, self._pool, function)
        return running

    def _discovered(self, host: str) -> None:
        if self._stopped is None:
            self._seeker.available(host)

    def _failed(self, failure: Failure) -> None:
        if self._stopped is None:
            self._seeker.failed(failure.getErrorMessage() or "it failed")

    def map(self) -> None:
        """
        Open a port, or renew it.
        """
        if self._stopped is None:
            self._cancel()
            self._last.addCallback(lambda _: self._run(self._device.map))
            self._last.addCallbacks(self._mapped, self._failed)

    def _mapped(self, found: tuple[Address, int]) -> None:
        address, lifetime = found
        if self._stopped is None:
            self._cancel()
            # One for ever is renewed, too: the router may have been switched off.
            delay = (lifetime or LIFETIME) / 2
            self._renewing = self._reactor.callLater(delay, self._renew)
            self._seeker.mapped(address)

    def _renew(self) -> None:
        self._renewing = None
        self.map()

    def _cancel(self) -> None:
        if self._renewing is not None:
            self._renewing.cancel()
            self._renewing = None

    def stop(self) -> Deferred[None]:
        """
        Close the port.
        """
        if self._stopped is None:
            self._cancel()
            # A thread cannot be interrupted; nobody waits for it then.
            stopped = self._stopped = Deferred(lambda _: None)
            self._last.addCallback(lambda _: self._run(self._device.delete))

            def over(_: object) -> None:
                if not stopped.called:
                    stopped.callback(None)

            self._last.addBoth(over)
        return self._stopped

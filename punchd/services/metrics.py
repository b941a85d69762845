"""
How a rendezvous fares, for Prometheus.

All numbers are there already and are read when somebody asks; only the lateness of
the event loop is measured for this alone.  No label has values that somebody from
outside can make up: kinds of things, reasons and strategies are of lists of ours.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, Final, NoReturn

from prometheus_client import CollectorRegistry, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from twisted.application.service import Service
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IDelayedCall, IListeningPort, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import Site

import punchd
from punchd.errors import InvalidOption

from .places import textOf
from .rendezvous import Rendezvous
from .traffic import FIELDS

#: Seconds between two looks at how late the event loop is.
INTERVAL: Final = 0.5
#: Seconds of lateness: a dial takes some round trips of tens of milliseconds.
BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)

#: What is counted beside refusals, by part.
ORDINARY: Final = {
    "binding": {"requests", "asked", "proven"},
    "relay": {"ICMP"},
    "signaling": {
        "accepted",
        "dials",
        "flight datagrams",
        "leases",
        "refused",
        "registered",
        "resumed",
        "unanswered",
    },
}

_DIALS: Final = ("accepted", "refused", "unanswered")
_DIRECTIONS: Final = {"sent": "from_client", "received": "to_client"}


class RendezvousCollector(Collector):
    """
    I read the numbers of a rendezvous.
    """

    def __init__(self, rendezvous: Rendezvous) -> None:
        self._rendezvous = rendezvous

    def describe(self) -> Iterator[Any]:
        """
        Nothing: what there is shows when it is read.
        """
        return iter(())

    def collect(self) -> Iterator[Any]:
        """
        @return: everything but the histogram.
        """
        yield from self._relay()
        yield from self._signaling()
        yield from self._refusals()
        yield from self._ports()
        info = GaugeMetricFamily(
            "punchd_info", "Which punchd this is.", labels=["version"]
        )
        info.add_metric([punchd.__version__], 1)
        yield info
        workers = self._rendezvous.workers
        if workers is not None:
            yield CounterMetricFamily(
                "punchd_worker_restarts",
                "Processes of --workers that ended by themselves.",
                value=workers.restarts,
            )
        expires = self._rendezvous.certificateExpires
        if expires is not None:
            yield GaugeMetricFamily(
                "punchd_certificate_expiry_timestamp_seconds",
                "When the certificate of --certificate expires.",
                value=expires,
            )

    def _relay(self) -> Iterator[Any]:
        rendezvous = self._rendezvous
        living = [] if rendezvous.relay is None else rendezvous.relay.allocations()
        now, passed = rendezvous.traffic.totals(living)
        opened = rendezvous.traffic.opened
        kinds = ["transport", "family"]
        gauge = GaugeMetricFamily(
            "punchd_allocations", "Relayed addresses that live now.", labels=kinds
        )
        counter = CounterMetricFamily(
            "punchd_allocations_made", "Relayed addresses lent so far.", labels=kinds
        )
        for kind in sorted(opened):
            labels = [kind[0], f"ipv{kind[1]}"]
            gauge.add_metric(labels, now[kind])
            counter.add_metric(labels, opened[kind])
        yield gauge
        yield counter
        for unit in ("packets", "bytes"):
            family = CounterMetricFamily(
                f"punchd_relayed_{unit}",
                f"What was relayed, payload only, in {unit}.",
                labels=[*kinds, "direction"],
            )
            for name in FIELDS:
                way = name.removesuffix(unit.capitalize())
                if way != name:
                    for kind in sorted(opened):
                        labels = [kind[0], f"ipv{kind[1]}", _DIRECTIONS[way]]
                        family.add_metric(labels, passed[kind, name])
            yield family

    def _signaling(self) -> Iterator[Any]:
        rendezvous = self._rendezvous
        counters = rendezvous.registrar.counters
        yield GaugeMetricFamily(
            "punchd_clients", "Registered clients.", value=len(rendezvous.directory)
        )
        yield GaugeMetricFamily(
            "punchd_connections",
            "Open TCP connections, whatever they are for.",
            value=rendezvous.connections,
        )
        registrations = CounterMetricFamily(
            "punchd_registrations",
            "Registrations, of new clients and of those that came back.",
            labels=["kind"],
        )
        for kind in ("registered", "resumed"):
            registrations.add_metric([kind], counters[kind])
        yield registrations
        yield CounterMetricFamily(
            "punchd_dials", "Dials, one for each offer.", value=counters["dials"]
        )
        answers = CounterMetricFamily(
            "punchd_dials_answered",
            "What became of dials here; refused ones include the unanswered.",
            labels=["answer"],
        )
        for answer in _DIALS:
            answers.add_metric([answer], counters[answer])
        yield answers
        outcomes = CounterMetricFamily(
            "punchd_dial_outcomes",
            "What carried a session once it had settled, as diallers tell.",
            labels=["strategy"],
        )
        for strategy, count in sorted(rendezvous.registrar.outcomes.items()):
            outcomes.add_metric([strategy], count)
        yield outcomes

    def _refusals(self) -> Iterator[Any]:
        family = CounterMetricFamily(
            "punchd_refusals",
            "What was refused or dropped.",
            labels=["part", "reason"],
        )
        for name, count in sorted(self._rendezvous.counters.items()):
            part, _, reason = name.partition(": ")
            if reason not in ORDINARY.get(part, ()):
                family.add_metric([part, reason.removeprefix("refused: ")], count)
        yield family

    def _ports(self) -> Iterator[Any]:
        errors: Counter[str] = self._rendezvous.portCounters
        yield CounterMetricFamily(
            "punchd_kernel_drops",
            "Datagrams that came and that the kernel had no room for.",
            value=errors.pop("receive overflow", 0),
        )
        family = CounterMetricFamily(
            "punchd_udp_errors", "What else went wrong with UDP.", labels=["error"]
        )
        for error, count in sorted(errors.items()):
            family.add_metric([error], count)
        yield family


class Lateness:
    """
    I measure how late the event loop makes a call that is due.
    """

    def __init__(self, clock: IReactorTime, registry: CollectorRegistry) -> None:
        self._clock = clock
        self._call: IDelayedCall | None = None
        self._histogram = Histogram(
            "punchd_event_loop_lag_seconds",
            "How late a timed call was made.",
            buckets=BUCKETS,
            registry=registry,
        )

    def start(self) -> None:
        """
        Begin.
        """
        self._due = self._clock.seconds() + INTERVAL
        self._call = self._clock.callLater(INTERVAL, self._called)

    def stop(self) -> None:
        """
        End.
        """
        call, self._call = self._call, None
        if call is not None:
            call.cancel()

    def _called(self) -> None:
        self._histogram.observe(max(0.0, self._clock.seconds() - self._due))
        self.start()


class Page(Resource):
    """
    I am C{/metrics}.
    """

    isLeaf = True

    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__()
        self._registry = registry

    def render_GET(self, request: Any) -> bytes:
        """
        @return: all numbers, in the format that was asked for.
        """
        accepted = request.getHeader("accept") or ""
        encode, kind = choose_encoder(accepted)
        request.setHeader("content-type", kind)
        return bytes(encode(self._registry))


class _Site(Site):
    """
    I do not log each request.
    """

    noisy = False

    def log(self, request: Any) -> None:
        """
        A request was answered.
        """


class Metrics(Service):
    """
    I serve the numbers of a rendezvous over HTTP.

    @ivar registry: all of them.
    """

    log = Logger()

    def __init__(self, reactor: Any, endpoint: str, rendezvous: Rendezvous) -> None:
        """
        @param endpoint: a server endpoint string.
        """
        self.registry = CollectorRegistry()
        self.registry.register(RendezvousCollector(rendezvous))
        ProcessCollector(registry=self.registry)
        self._lateness = Lateness(reactor, self.registry)
        self._text = endpoint
        root = Resource()
        root.putChild(b"metrics", Page(self.registry))
        self._site = _Site(root, reactor=reactor)
        self._server = serverFromString(reactor, endpoint)
        self._port: IListeningPort | None = None

    def privilegedStartService(self) -> None:
        """
        Listen.

        @raise InvalidOption: that cannot be done.
        """
        super().privilegedStartService()
        listening = maybeDeferred(self._server.listen, self._site)
        listening.addCallbacks(self._listens, self._cannot)
        faults: list[Failure] = []
        listening.addErrback(faults.append)
        if faults:
            faults[0].raiseException()

    def _listens(self, port: IListeningPort) -> None:
        self._port = port
        host = port.getHost()
        where: object = host
        if isinstance(host, (IPv4Address, IPv6Address)):
            where = f"http://{textOf((host.host, host.port))}/metrics"
        self.log.info("metrics at {where}", where=str(where), event="metrics")

    def _cannot(self, failure: Failure) -> NoReturn:
        why: Any = failure.value
        if isinstance(why, CannotListenError):
            why = why.socketError
        text = getattr(why, "strerror", None) or str(why)
        raise InvalidOption(f"--metrics={self._text}: cannot listen there: {text}.")

    def startService(self) -> None:
        """
        Begin to measure.
        """
        if self._port is None:
            self.privilegedStartService()
        super().startService()
        self._lateness.start()

    def stopService(self) -> Deferred[Any]:
        """
        @return: fires when nothing is served any more.
        """
        super().stopService()
        self._lateness.stop()
        port, self._port = self._port, None
        return maybeDeferred(port.stopListening) if port else succeed(None)

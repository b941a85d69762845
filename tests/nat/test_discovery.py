"""
Discovery, against NATs of the simulator.
"""

from __future__ import annotations

import pytest

from punchd.nat.behavior import Filtering, Mapping, NatBehavior
from punchd.nat.discovery import Discovery
from punchd.nat.steps import Discovered, Step, StepEnded
from punchd.net.driver import Driver

from .field import OTHER, SERVER, Field

EI, AD, APD = "endpoint-independent", "address-dependent", "address-and-port-dependent"

KINDS = [
    ("fullcone", EI, EI, False),
    ("restricted", EI, AD, False),
    ("portrestricted", EI, APD, False),
    ("noinputfilter", EI, APD, False),
    ("hairpin", EI, APD, True),
    ("symmetric", APD, APD, None),
    ("addressdependent", AD, AD, None),
    ("sequential", APD, APD, None),
    ("block1024", APD, APD, None),
    ("cgnat", EI, APD, False),
    ("cgnat-symmetric", APD, APD, None),
]


@pytest.mark.parametrize(("kind", "mapping", "filtering", "hairpin"), KINDS)
def test_kinds(kind: str, mapping: str, filtering: str, hairpin: bool | None) -> None:
    """Each kind is told by RFC 4787's words, within 1.5 s at 50 ms round trip."""
    field = Field(kind)
    found = field.discover()
    assert found.behavior.mapping == mapping
    assert found.behavior.filtering == filtering
    assert found.behavior.hairpin is hairpin
    assert found.behavior.assumed == ()
    assert found.rtt == pytest.approx(0.05, abs=0.02)
    assert field.clock.seconds() < 1.5


@pytest.mark.parametrize(
    ("kind", "mapping", "filtering"),
    # Answers from elsewhere claim the port of the kind without a filter.
    [row[:3] for row in KINDS if row[0] != "noinputfilter"],
)
def test_oneSocket(kind: str, mapping: str, filtering: str) -> None:
    """One fresh socket does it, too, but for the hairpin test."""
    found = Field(kind).discover(sockets=1)
    assert found.behavior.mapping == mapping
    assert found.behavior.filtering == filtering
    assert found.behavior.hairpin is None


def test_open() -> None:
    """Without a NAT there is nothing to translate, and nothing is filtered."""
    found = Field("open").discover()
    assert not found.behavior.translated
    assert found.behavior.mapping is Mapping.ENDPOINT_INDEPENDENT
    assert found.behavior.filtering is Filtering.ENDPOINT_INDEPENDENT
    assert found.behavior.hairpin is None
    assert "no NAT" in found.behavior.sentences()[0]


def test_blocked() -> None:
    """Where UDP is blocked, that is the result, after 2.5 s or little more."""
    field = Field("udpblocked")
    found = field.discover()
    assert not found.reachable
    assert found.behavior == NatBehavior()
    assert field.clock.seconds() < 3.5
    assert "does not see" in found.behavior.sentences()[0]


@pytest.mark.parametrize("kind", ["restricted", "portrestricted"])
def test_oneServerPort(kind: str) -> None:
    """Two hosts with one port cannot tell the dependent filters apart."""
    found = Field(kind, ports=(3478,)).discover()
    assert found.behavior.mapping is Mapping.ENDPOINT_INDEPENDENT
    assert found.behavior.filtering is Filtering.ADDRESS_AND_PORT_DEPENDENT
    assert found.behavior.assumed == ("filtering",)
    assert any("too few addresses" in line for line in found.behavior.sentences())


def test_oneServerPortSymmetric() -> None:
    """Nor the dependent mappings."""
    found = Field("addressdependent", ports=(3478,)).discover()
    assert found.behavior.mapping is Mapping.ADDRESS_AND_PORT_DEPENDENT
    assert "mapping" in found.behavior.assumed


def test_noAlternate() -> None:
    """A server with one address tells the public address and the round trip."""
    field = Field("fullcone", ports=(3478,))
    field.server.binding._public = {SERVER[0]: SERVER[0]}
    found = field.discover()
    assert found.behavior.mapping is Mapping.UNKNOWN
    assert found.behavior.filtering is Filtering.UNKNOWN
    assert found.behavior.publicAddresses == ("198.51.100.10",)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("kind", ["fullcone", "restricted", "symmetric"])
def test_loss(kind: str, seed: int) -> None:
    """One packet in five may be lost each way."""
    expected = {name: (m, f) for name, m, f, _ in KINDS}[kind]
    found = Field(kind, seed, loss=0.2).discover()
    assert (found.behavior.mapping, found.behavior.filtering) == expected


def test_filterUntouched() -> None:
    """The punching socket sends nothing but mapping tests, and to ourselves."""
    field = Field("restricted")
    sockets = field.sockets(3)
    field.run(Discovery(SERVER, sockets, field.host.entropy), Discovered)
    sent = {
        remote
        for (source, remote) in field.network.sent
        if source[1] == sockets[0][1] and source[0] == "192.168.1.2"
    }
    # This NAT keeps ports.
    assert sent == {SERVER, OTHER, ("198.51.100.10", sockets[2][1])}


def test_hairpinOfTheFirst() -> None:
    """It is the first socket that meets another by its outside address."""
    field = Field("hairpin")
    sockets = field.sockets(3)
    found = field.run(Discovery(SERVER, sockets, field.host.entropy), Discovered)
    assert found.behavior.hairpin
    numbers = {
        source[1]
        for source, remote in field.network.sent
        if remote[0] == "198.51.100.10" and source[0] == "192.168.1.2"
    }
    assert numbers == {sockets[0][1], sockets[2][1]}


def test_progress() -> None:
    """Each step is told when it ends."""
    field = Field("hairpin")
    core = Discovery(SERVER, field.sockets(3), field.host.entropy)
    told: list[StepEnded] = []
    field.events = told
    driver = Driver(core, field.send, told.append, field.clock)
    field.drivers.append(driver)
    driver.call(core.start)
    field.network.advance(2.0)
    steps = {each.test: each.passed for each in told if isinstance(each, StepEnded)}
    assert steps[Step.MAPPING1]
    assert steps[Step.HAIRPIN]
    assert not steps[Step.FILTERING2]
    assert Step.MAPPING3 not in steps


def test_garbage() -> None:
    """What is not the answer is ignored, and never raises."""
    core = Discovery(SERVER, [("0.0.0.0", 5000)], lambda count: bytes(count))
    core.start(0.0)
    sent = core.takeDatagrams()
    for data in (b"", b"\0" * 20, sent[0].data, b"\x01\x01" + sent[0].data[2:]):
        core.datagramReceived(data, ("192.168.1.2", 5000), OTHER, 0.1)
    assert core.behavior() == NatBehavior()
    assert core.deadline() is not None


def test_status() -> None:
    """The form of `punchd status --json`."""
    behavior = NatBehavior(
        Mapping.ENDPOINT_INDEPENDENT,
        Filtering.ADDRESS_DEPENDENT,
        True,
        ("198.51.100.10",),
    )
    assert behavior.toDict() == {
        "mapping": "endpoint-independent",
        "filtering": "address-dependent",
        "hairpin": True,
        "publicAddresses": ["198.51.100.10"],
    }
    assert len(behavior.sentences()) == 3

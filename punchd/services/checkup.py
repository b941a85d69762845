"""
What C{punchd doctor} finds out: whether the rendezvous can be reached and how,
what NAT is before us, and what may be expected of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred

from punchd.core import Address
from punchd.interfaces import ICandidateSource, INetwork
from punchd.nat.keepalive import keepaliveFor
from punchd.nat.lifetime import BindingTested
from punchd.nat.odds import PEERS, odds
from punchd.nat.steps import Discovered, StepEnded
from punchd.net.proxy import ProxyFor, noProxy
from punchd.portmap.gateway import Gateways
from punchd.signaling.url import RendezvousURL

from .portprobe import probePorts
from .reachability import Say, reach
from .survey import Knowledge, Survey


async def examine(
    network: INetwork,
    url: RendezvousURL,
    say: Say,
    *,
    lifetime: bool = False,
    proxyFor: ProxyFor = noProxy,
    sources: Sequence[ICandidateSource] = (),
    gateways: Gateways | None = None,
) -> dict[str, Any]:
    """
    Find out what there is to find out.

    @param say: takes a line of progress.
    @param lifetime: whether to measure the binding lifetime, which takes
        minutes.
    @param proxyFor: gives a proxy that may lead to the rendezvous, too.
    @param sources: by which protocols to ask the router for a port.
    @param gateways: L{None} for the kernel's.

    @return: what JSON can carry.
    """
    found: dict[str, Any] = {
        "interfaces": [
            {"name": name, "address": host} for host, name in network.localHosts()
        ],
    }
    asking = None
    if sources:
        say("Asking the router to open a port ...")
        asking = Deferred.fromCoroutine(probePorts(network, sources, gateways))
    found["rendezvous"] = rendezvous = await reach(
        network, url, proxyFor(url.host), say
    )
    knowledge = Knowledge()
    answering = [way for way in rendezvous["udp"] if way["reachable"]]
    server: Address | None = None
    if answering:
        server = (answering[0]["address"], answering[0]["port"])
    if server is not None:
        say("Testing how the NAT behaves ...")
        knowledge = await Survey(network).behavior(
            server, progress=lambda event: _tell(event, say)
        )
    found["nat"] = nat = _nat(knowledge)
    if lifetime and server is not None:
        await _lifetime(network, server, knowledge, nat, say)
    found["model"] = knowledge.model.toDict(network.reactor.seconds())
    found["odds"] = _odds(knowledge)
    if asking is not None:
        found["portMapping"] = await asking
    return found


def _nat(knowledge: Knowledge) -> dict[str, Any]:
    behavior = knowledge.behavior
    return {
        **knowledge.toDict(),
        "assumed": list(behavior.assumed),
        "bindingLifetime": None,
        "oneWayLifetime": None,
        "keepaliveInterval": keepaliveFor(None),
        "rtt": knowledge.rtt,
        "sentences": [
            *behavior.sentences(),
            *([knowledge.model.describe()] if knowledge.reachable else []),
        ],
    }


def _odds(knowledge: Knowledge) -> list[dict[str, Any]]:
    if not knowledge.reachable:
        none = {"probability": 0.0, "strategy": "relay", "probes": 0}
        return [{"peer": name, **none} for name, _, _ in PEERS]
    ours = knowledge.behavior.filtering
    return [
        {"peer": name, **odds(knowledge.model, ours, theirs, filtering).toDict()}
        for name, theirs, filtering in PEERS
    ]


async def _lifetime(
    network: INetwork,
    server: Address,
    knowledge: Knowledge,
    nat: dict[str, Any],
    say: Say,
) -> None:
    say("Measuring how long the NAT keeps a silent binding; this takes minutes ...")
    ended = await Survey(network).lifetime(
        server, rtt=knowledge.rtt, progress=lambda event: _tell(event, say)
    )
    if ended.twoWay is not None:
        nat["bindingLifetime"] = ended.twoWay.low
        nat["keepaliveInterval"] = keepaliveFor(ended.twoWay.low)
    if ended.oneWay is not None:
        nat["oneWayLifetime"] = ended.oneWay.low
    if ended.reason:
        nat["sentences"].append(
            f"The binding lifetime could not be measured: {ended.reason}."
        )


def _tell(event: object, say: Say) -> None:
    if isinstance(event, StepEnded):
        outcome = "yes" if event.passed else "no answer"
        if event.mapped is not None:
            outcome = f"{event.mapped[0]} port {event.mapped[1]}"
        say(f"  {event.test.value}: {outcome}")
    elif isinstance(event, Discovered):
        if event.reachable and event.behavior.mapping != "endpoint-independent":
            say("Looking at how the NAT chooses ports ...")
    elif isinstance(event, BindingTested):
        way = "one-way" if event.oneWay else "two-way"
        kept = "kept" if event.alive else "lost"
        say(f"  a {way} binding was {kept} after {event.seconds:g} s of silence")

"""
C{punchd doctor}.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

from punchd.errors import ClientNotRunning
from punchd.services.asking import ask
from punchd.signaling.url import RendezvousURL

from .command import Command, Console
from .status import answer, seconds, table

_STRATEGIES = {
    "srflx": "hole punching",
    "prflx": "hole punching",
    "predicted": "predicting ports",
    "spray": "trying many ports",
    "relay": "relayed",
}


class DoctorOptions(Command):
    """
    Examine the network: what the NAT does, and what can be expected of it.
    """

    synopsis = "[--json] [--rendezvous=URL] [--lifetime] [--state=DIR]"
    optFlags = [
        ["json", None, "Print JSON, for programs."],
        ["lifetime", None, "Measure the binding lifetime, too; takes minutes."],
    ]
    optParameters = [
        [
            "rendezvous",
            None,
            None,
            "The URL of a rendezvous; that of the running client unless given.",
        ],
    ]

    def run(self, console: Console) -> int:
        """
        @return: 0, or 1 when the rendezvous cannot be reached at all.
        """
        url = None
        if self["rendezvous"] is not None:
            url = RendezvousURL.parse(self["rendezvous"])
        found = console.wait(lambda reactor: self._examine(reactor, url))
        if self["json"]:
            console.line(json.dumps(found, indent=2))
        else:
            for line in report(found):
                console.line(line)
        rendezvous = found["rendezvous"]
        ways = [*rendezvous["tcp"], *rendezvous["udp"]]
        return 0 if any(way["reachable"] for way in ways) else 1

    async def _examine(self, reactor: Any, url: RendezvousURL | None) -> dict[str, Any]:
        from punchd.net.clock import makeMonotonic
        from punchd.net.kernel import KernelNetwork
        from punchd.services.checkup import examine

        status: dict[str, Any] | None = None
        if url is None:
            status = await self._status(reactor)
            url = RendezvousURL.parse(status["rendezvous"]["url"])
        network = KernelNetwork(makeMonotonic(reactor))
        found = await examine(network, url, _say, lifetime=bool(self["lifetime"]))
        if status is not None:
            _merge(found, status)
        return found

    async def _status(self, reactor: Any) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = await ask(reactor, self.stateFolder(), "status")
        except ClientNotRunning as e:
            raise ClientNotRunning(
                f"{e} Or name a rendezvous with --rendezvous=URL."
            ) from e
        return answer


def _say(line: str) -> None:
    """
    Progress goes where it does not mix with the answer.
    """
    print(line, file=sys.stderr, flush=True)


def _merge(found: dict[str, Any], status: dict[str, Any]) -> None:
    """
    Add what only the running client knows.
    """
    nat = status["nat"]
    found["portMapping"] = nat.get("portMapping", [])
    if found["nat"]["bindingLifetime"] is None:
        found["nat"]["bindingLifetime"] = nat["bindingLifetime"]


#: What people call the protocols that open ports.
_SERVICES = {"pcp": "PCP", "natpmp": "NAT-PMP", "upnp": "UPnP"}


def report(found: dict[str, Any]) -> Iterator[str]:
    """
    @param found: see L{punchd.services.checkup.examine}.

    @return: lines for a person.
    """
    rendezvous, nat = found["rendezvous"], found["nat"]
    interfaces = [f"{each['address']} ({each['name']})" for each in found["interfaces"]]
    yield from table(
        [
            ("interfaces", ", ".join(interfaces) or "none"),
            ("rendezvous", rendezvous["url"]),
            *(("TCP", _way(way)) for way in rendezvous["tcp"]),
            *(("UDP", _way(way)) for way in rendezvous["udp"]),
            ("round trip", seconds(nat["rtt"])),
            ("public addresses", ", ".join(nat["publicAddresses"]) or "none seen"),
            ("NAT mapping", _sure(nat, "mapping")),
            ("NAT filtering", _sure(nat, "filtering")),
            ("NAT allocation", nat["allocation"]),
            ("NAT hairpin", answer(nat["hairpin"])),
            ("binding lifetime", _lifetime(nat)),
            *(
                ("port mapping", _mapping(each))
                for each in found.get("portMapping", [])
            ),
        ]
    )
    yield ""
    yield from nat["sentences"]
    if not rendezvous["addresses"]:
        yield "The name of the rendezvous is not known."
    elif not any(way["reachable"] for way in rendezvous["udp"]):
        yield (
            "UDP does not get through to the rendezvous: a firewall drops it, or it"
            " does not listen there.  Without UDP every session is relayed."
        )
    yield ""
    yield "A direct path may be expected to peers behind"
    yield from table(
        [
            ("  " + each["peer"], f"{each['probability']:4.0%}", _how(each))
            for each in found["odds"]
        ]
    )


def _way(way: dict[str, Any]) -> str:
    where = f"{way['address']} port {way['port']}"
    if not way["reachable"]:
        return f"{where}: no ({way.get('error', 'no answer')})"
    took = way.get("seconds")
    blocked = "" if way.get("tls", True) else ", but TLS does not get through"
    return f"{where}: yes" + ("" if took is None else f" ({seconds(took)})") + blocked


def _sure(nat: dict[str, Any], what: str) -> str:
    found: str = nat[what]
    return found + (" (assumed)" if what in nat["assumed"] else "")


def _lifetime(nat: dict[str, Any]) -> str:
    known = nat["bindingLifetime"]
    if known is None:
        return "not measured"
    text = f"at least {seconds(known)}"
    if nat["oneWayLifetime"] is not None:
        text += f", {seconds(nat['oneWayLifetime'])} without an answer"
    return f"{text}; a keepalive every {seconds(nat['keepaliveInterval'])}"


def _mapping(each: dict[str, Any]) -> str:
    where = f"{_SERVICES.get(each['service'], each['service'])} at {each['gateway']}"
    if each["address"] is not None:
        host, port = each["address"]
        return f"{where}: yes, {host} port {port}"
    if each["doubleNat"]:
        return f"{where}: no use, there is one more NAT behind the router"
    if each["state"] == "failed":
        return f"{where}: no ({each['reason'] or 'no answer'})"
    return f"{where}: {each['state']}"


def _how(each: dict[str, Any]) -> str:
    how = _STRATEGIES[each["strategy"]]
    probes = each["probes"]
    return f"{how}, about {probes} probes" if probes > 2 else how

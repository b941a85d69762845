"""
C{punchd doctor}.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from typing import Any

from punchd.errors import ClientNotRunning
from punchd.services.asking import ask
from punchd.services.remembered import rememberedURLs
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

    synopsis = (
        "[--json] [--rendezvous=URL] [--proxy=URL] [--lifetime] [--no-portmap]"
        " [--state=DIR]"
    )
    longdesc = (
        "No client need run: the rendezvous is the one that a client on the state"
        " folder used the last time, or that of --rendezvous."
    )
    optFlags = [
        ["json", None, "Print JSON, for programs."],
        ["lifetime", None, "Measure the binding lifetime, too; takes minutes."],
        ["no-portmap", None, "Do not ask the router to open a port."],
    ]
    optParameters = [
        [
            "rendezvous",
            None,
            None,
            "The URL of a rendezvous; that of the client unless given.",
        ],
        [
            "proxy",
            None,
            None,
            "An HTTP proxy, http://HOST:PORT; that of the environment unless given.",
        ],
    ]

    def run(self, console: Console) -> int:
        """
        @return: 0, or 1 when the rendezvous cannot be reached at all.
        """
        url, proxy = next(iter(self.givenURLs()), None), None
        if self["proxy"] is not None:
            from punchd.net.proxy import Proxy

            proxy = Proxy.parse(self["proxy"])
        found = console.wait(lambda reactor: self._examine(reactor, url, proxy))
        if self["json"]:
            console.line(json.dumps(found, indent=2))
        else:
            for line in report(found):
                console.line(line)
        rendezvous = found["rendezvous"]
        ways = [*rendezvous["tcp"], *rendezvous["udp"], *rendezvous["proxy"]]
        return 0 if any(way["reachable"] for way in ways) else 1

    async def _examine(
        self, reactor: Any, url: RendezvousURL | None, proxy: Any
    ) -> dict[str, Any]:
        from punchd._plugins import pluginsByName
        from punchd.interfaces import ICandidateSource
        from punchd.net.clock import makeMonotonic
        from punchd.net.kernel import KernelNetwork
        from punchd.net.proxy import Proxy, proxyChooser
        from punchd.services.checkup import examine

        status: dict[str, Any] | None = None
        if url is None:
            status = await self._status(reactor)
            url = self._url(status)
        if proxy is None and status is not None:
            known = status["rendezvous"].get("proxy")
            proxy = None if known is None else Proxy.parse(f"http://{known}")
        # A client that runs has asked the router, and goes on asking.
        asked = self["no-portmap"] or (status is not None and _asked(status))
        found = await examine(
            KernelNetwork(makeMonotonic(reactor)),
            url,
            _say,
            lifetime=bool(self["lifetime"]),
            proxyFor=proxyChooser(proxy, os.environ),
            sources=() if asked else tuple(pluginsByName(ICandidateSource).values()),
        )
        if status is not None:
            _merge(found, status)
        return found

    async def _status(self, reactor: Any) -> dict[str, Any] | None:
        try:
            answer: dict[str, Any] = await ask(reactor, self.stateFolder(), "status")
        except ClientNotRunning as e:
            if rememberedURLs(self.stateFolder()):
                return None
            raise ClientNotRunning(
                f"{e} Or name a rendezvous with --rendezvous=URL."
            ) from e
        return answer

    def _url(self, status: dict[str, Any] | None) -> RendezvousURL:
        if status is None:
            return rememberedURLs(self.stateFolder())[0]
        return RendezvousURL.parse(status["rendezvous"]["url"])


def _asked(status: dict[str, Any]) -> bool:
    return bool(status["nat"].get("portMapping"))


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
    if _asked(status):
        found["portMapping"] = nat["portMapping"]
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
            *(("proxy", _way(way)) for way in rendezvous["proxy"]),
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
    if any(way["reachable"] for way in rendezvous["udp"]):
        yield from nat["sentences"]
    yield from _conclusion(rendezvous)
    if not any(way["reachable"] for way in rendezvous["udp"]):
        return
    yield ""
    yield "A direct path may be expected to peers behind"
    yield from table(
        [
            ("  " + each["peer"], f"{each['probability']:4.0%}", _how(each))
            for each in found["odds"]
        ]
    )


def _conclusion(rendezvous: dict[str, Any]) -> Iterator[str]:
    """
    @return: how the rendezvous is reached, and what that means.
    """
    udp = [way for way in rendezvous["udp"] if way["reachable"]]
    tcp = [way for way in rendezvous["tcp"] if way["reachable"]]
    proxied = [way for way in rendezvous["proxy"] if way["reachable"]]
    secure = [way for way in (*tcp, *proxied) if way["tls"]]
    if not rendezvous["addresses"]:
        yield "The name of the rendezvous is not known."
    if not (udp or tcp or proxied):
        if rendezvous["addresses"]:
            yield _unreachable(rendezvous)
        return
    by = ["UDP"] * bool(udp) + ["TCP"] * bool(tcp)
    by += ["TLS"] * any(way["tls"] for way in tcp)
    how = [f"by {_listed(by)}"] if by else []
    how += [f"through the proxy at {way['proxy']}" for way in proxied[:1]]
    yield f"The rendezvous is reached {' and '.join(how)}."
    distrusted = [way for way in secure if not way["trusted"]]
    if distrusted:
        yield str(distrusted[0]["error"])
    elif not secure:
        yield (
            "Clients cannot register, for that takes TLS over TCP: a firewall drops or"
            " inspects it, or what listens there is not a rendezvous."
        )
    if udp:
        return
    yield (
        "UDP does not get through to the rendezvous: a firewall drops it, or it"
        " does not listen there."
    )
    if not tcp:
        yield "Where nothing but a proxy leads out, every session is relayed."
    elif {way["port"] for way in tcp} == {443}:
        yield (
            "Where nothing but TCP port 443 leads out, nearly every session is relayed."
        )
    else:
        yield (
            "Without UDP, a direct path takes connections over TCP from both sides at"
            " once, between NATs that keep one port; all else is relayed."
        )


def _unreachable(rendezvous: dict[str, Any]) -> str:
    if any("refused" in way["error"] for way in rendezvous["tcp"]):
        return (
            "The machine is there and refuses connections: the rendezvous does not run,"
            " or listens on other ports than its URL says."
        )
    if rendezvous["proxy"]:
        return "Nothing leads to the rendezvous, nor does the proxy."
    return (
        "Nothing leads to the rendezvous: it is down, this machine is offline, or"
        " only a proxy leads out; name that with --proxy=http://HOST:PORT."
    )


def _listed(words: list[str]) -> str:
    return " and ".join([", ".join(words[:-1])] * (len(words) > 1) + words[-1:])


def _way(way: dict[str, Any]) -> str:
    where = f"{way.get('address') or way['proxy']} port {way['port']}"
    if "proxy" in way:
        where = f"{way['proxy']} to port {way['port']}"
    if not way["reachable"]:
        return f"{where}: no ({way.get('error', 'no answer')})"
    text = f"{where}: yes"
    if way.get("seconds") is not None:
        text += f" ({seconds(way['seconds'])})"
    if "tls" not in way:
        return text
    if not way["tls"]:
        return f"{text}, but TLS does not get through"
    if not way["trusted"]:
        return f"{text}, TLS too, but with another key"
    return f"{text}, TLS too"


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

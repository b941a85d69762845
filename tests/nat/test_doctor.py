"""
`punchd doctor`: what it finds in the simulator, how it says so, and the command
against a rendezvous of the kernel's.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.protocol import ServerFactory

from punchd.cli.doctor import _merge, report
from punchd.net.proxy import Proxy
from punchd.services.checkup import examine
from punchd.services.remembered import rememberURLs
from punchd.services.state import StateFolder
from punchd.signaling.url import RendezvousURL
from punchd.testing.pair import Echo
from punchd.testing.proxy import startProxy

from .test_survey import Place


def checkup(
    kind: str, url: RendezvousURL | None = None, proxied: bool = False, **options: Any
) -> tuple[Any, Any]:
    """
    @param url: by default what the rendezvous would print.
    @param proxied: whether there is a proxy.

    @return: what is found behind a kind of NAT, and the lines of progress.
    """
    place = Place(kind)
    said: list[str] = []
    if proxied:
        proxy = startProxy(place.network)
        options["proxyFor"] = lambda host: proxy
    if url is None:
        url = place.url
    work = examine(place.scenario.hostA, url, said.append, **options)
    found = place.network.runUntil(Deferred.fromCoroutine(work), 1200.0)
    # A deep copy, as programs get it.
    return json.loads(json.dumps(found)), said


def test_home() -> None:
    """Behind a common router all is well, and the report says so."""
    found, said = checkup("portrestricted")
    assert found["interfaces"] == [{"name": "eth0", "address": "192.168.1.2"}]
    assert [way["reachable"] for way in found["rendezvous"]["tcp"]] == [True, True]
    assert found["rendezvous"]["udp"][0]["reachable"]
    assert found["nat"]["mapping"] == "endpoint-independent"
    assert found["nat"]["filtering"] == "address-and-port-dependent"
    assert found["nat"]["hairpin"] is False
    assert all(each["probability"] > 0.9 for each in found["odds"])
    assert any("mapped address" in line for line in said)
    text = "\n".join(report(found))
    assert "keeps one outside port for a socket" in text
    assert "not measured" in text
    assert "a common router at home" in text
    assert "203.0.113.10 port 443: yes" in text
    assert "The rendezvous is reached by UDP, TCP and TLS." in text


def test_tls() -> None:
    """Whether TLS gets through is told besides: here is one port that has none."""
    place = Place("portrestricted")
    server = place.scenario.rendezvous
    factory = ServerFactory()
    factory.protocol = Echo
    server.reactor.listenTCP(9999, factory)
    url = RendezvousURL("203.0.113.10", (443, 9999), place.url.fingerprint)
    work = examine(place.scenario.hostA, url, lambda line: None)
    found = place.network.runUntil(Deferred.fromCoroutine(work), 60.0)
    ways = found["rendezvous"]["tcp"]
    assert [way["reachable"] for way in ways] == [True, True]
    assert [way["tls"] for way in ways] == [True, False]
    text = "\n".join(report(found))
    assert text.count("but TLS does not get through") == 1


def test_symmetric() -> None:
    """Random ports: reachable for homes by a spray, not for each other."""
    found, _ = checkup("symmetric")
    assert found["model"]["kind"] == "random"
    odds = {each["peer"]: each for each in found["odds"]}
    assert odds["a common router at home"]["strategy"] == "spray"
    assert odds["a NAT with random ports"]["probability"] == 0.0
    text = "\n".join(report(found))
    assert "random ports from 1024 to 65535" in text
    assert "trying many ports, about" in text


def test_blocked() -> None:
    """Where UDP is blocked everything is relayed, and the reason is named."""
    found, _ = checkup("udpblocked")
    assert found["rendezvous"]["tcp"][0]["reachable"]
    assert not any(way["reachable"] for way in found["rendezvous"]["udp"])
    assert {each["strategy"] for each in found["odds"]} == {"relay"}
    text = "\n".join(report(found))
    assert "The rendezvous is reached by TCP and TLS." in text
    assert "UDP does not get through" in text
    assert "connections over TCP from both sides" in text
    assert "A direct path may be expected" not in text


def test_only443() -> None:
    """Where only TCP port 443 leads out, that is said."""
    found, _ = checkup("tcp443")
    reached = {way["port"]: way["reachable"] for way in found["rendezvous"]["tcp"]}
    assert reached == {3478: False, 443: True}
    text = "\n".join(report(found))
    assert "203.0.113.10 port 3478: no (no answer)" in text
    assert "nothing but TCP port 443 leads out" in text


def test_proxy() -> None:
    """Where only a proxy leads out, it is named, and that all is relayed."""
    found, _ = checkup("proxyonly", proxied=True)
    ways = {way["port"]: way for way in found["rendezvous"]["proxy"]}
    assert (ways[443]["reachable"], ways[443]["tls"], ways[443]["trusted"]) == (
        True,
        True,
        True,
    )
    assert not any(way["reachable"] for way in found["rendezvous"]["tcp"])
    text = "\n".join(report(found))
    assert (
        f"The rendezvous is reached through the proxy at {ways[443]['proxy']}." in text
    )
    assert "every session is relayed" in text


def test_wrongProxy() -> None:
    """A proxy that is not there is told of; without one, it is asked for."""
    found, _ = checkup("proxyonly", proxyFor=lambda host: Proxy("192.0.2.99", 3128))
    text = "\n".join(report(found))
    assert "The proxy at 192.0.2.99:3128 cannot be reached" in text
    assert "Nothing leads to the rendezvous, nor does the proxy." in text
    found, _ = checkup("proxyonly")
    assert "name that with --proxy=http://HOST:PORT" in "\n".join(report(found))


def test_anotherKey() -> None:
    """A rendezvous with another key than its URL names is not the one."""
    url = RendezvousURL("203.0.113.10", (443,), "a" * 52)
    found, _ = checkup("open", url)
    way = found["rendezvous"]["tcp"][0]
    assert (way["tls"], way["trusted"]) == (True, False)
    text = "\n".join(report(found))
    assert "TLS too, but with another key" in text
    assert "somebody is in between" in text


def test_notRunning() -> None:
    """A machine that refuses connections has no rendezvous."""
    found, _ = checkup("portrestricted", RendezvousURL("203.0.113.10", (5555,)))
    assert "refuses connections: the rendezvous does not run" in "\n".join(
        report(found)
    )


def test_lifetime() -> None:
    """The lifetime is measured when asked for, with progress."""
    found, said = checkup("portrestricted", lifetime=True)
    assert 100 <= found["nat"]["bindingLifetime"] <= 120
    assert 25 <= found["nat"]["oneWayLifetime"] <= 30
    assert found["nat"]["keepaliveInterval"] == pytest.approx(
        0.65 * found["nat"]["bindingLifetime"]
    )
    assert any("two-way binding was kept after 45 s" in line for line in said)
    assert "keepalive every" in "\n".join(report(found))


def test_unknownName() -> None:
    """A name that is not known is said so."""
    found, _ = checkup("open", RendezvousURL("nobody.example", (3478,)))
    assert found["rendezvous"]["addresses"] == []
    assert "name of the rendezvous is not known" in "\n".join(report(found))


def test_clientKnowsMore() -> None:
    """What the running client knows is added."""
    found, _ = checkup("fullcone")
    asked = {
        "family": 4,
        "gateway": "192.168.1.1",
        "address": None,
        "reason": "",
        "doubleNat": False,
    }
    ports = [
        asked | {"service": "pcp", "state": "mapped", "address": ["203.0.113.5", 4000]},
        asked | {"service": "natpmp", "state": "asking"},
        asked | {"service": "upnp", "state": "failed", "reason": "no answer"},
        asked | {"service": "x", "state": "failed", "doubleNat": True},
    ]
    _merge(found, {"nat": {"bindingLifetime": 60.0, "portMapping": ports}})
    text = "\n".join(report(found))
    assert "at least 60.0 s" in text
    assert "PCP at 192.168.1.1: yes, 203.0.113.5 port 4000" in text
    assert "NAT-PMP at 192.168.1.1: asking" in text
    assert "UPnP at 192.168.1.1: no (no answer)" in text
    assert "x at 192.168.1.1: no use, there is one more NAT behind the router" in text


def doctor(*arguments: str) -> subprocess.CompletedProcess[str]:
    """
    Run the command.
    """
    program = "import sys; from punchd.cli import main; sys.exit(main())"
    return subprocess.run(
        [sys.executable, "-c", program, "doctor", *arguments],
        capture_output=True,
        text=True,
        timeout=50,
        env=os.environ | {"no_proxy": "*"},
    )


def test_command() -> None:
    """Nobody there: JSON on stdout, progress on stderr, exit status 1."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        url = f"--rendezvous=punch://127.0.0.1:{port}"
        done = doctor("--json", url, "--no-portmap")
    assert done.returncode == 1
    found = json.loads(done.stdout)
    assert found["rendezvous"]["tcp"][0]["reachable"] is False
    assert "refused" in found["rendezvous"]["tcp"][0]["error"]
    assert found["rendezvous"]["proxy"] == []
    assert "Trying UDP" in done.stderr


def test_withoutClient(tmp_path: Path) -> None:
    """Without a client and a rendezvous one sentence says what to do."""
    done = doctor(f"--state={tmp_path}")
    assert done.returncode == 1
    assert "--rendezvous=URL" in done.stderr
    assert done.stderr.count("\n") == 1


def test_remembered(tmp_path: Path) -> None:
    """Without a client, the rendezvous is the one of the last client."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"punch://127.0.0.1:{probe.getsockname()[1]}"
        folder = StateFolder(str(tmp_path))
        rememberURLs(folder, [RendezvousURL.parse(url)])
        done = doctor(f"--state={tmp_path}", "--no-portmap", "--json")
    assert json.loads(done.stdout)["rendezvous"]["url"] == url


def test_wrongProxyOption() -> None:
    """What is no proxy is one sentence."""
    done = doctor("--rendezvous=punch://127.0.0.1:1", "--proxy=ftp://x:1")
    assert done.returncode == 1
    assert done.stderr.startswith("punchd: --proxy=ftp://x:1: ")
    assert done.stderr.count("\n") == 1

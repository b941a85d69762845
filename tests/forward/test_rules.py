"""
What the user wants published, forwarded and allowed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.testing import MemoryReactor

from punchd.errors import InvalidOption, UnknownPeer
from punchd.forward.home import Home
from punchd.forward.rules import (
    Allowance,
    Allowances,
    Forward,
    Publication,
    checkPublications,
    parseAllow,
    parseForward,
    parsePublish,
)


class Machine:
    """
    As much of a network as endpoints are tried on.
    """

    reactor = MemoryReactor()


machine: Any = Machine()
home = Home(machine)


@pytest.mark.parametrize(
    ("value", "name", "endpoint"),
    [
        ("ssh=tcp:127.0.0.1:22", "ssh", "tcp:127.0.0.1:22"),
        ("web.v2=tcp:host=localhost:port=80", "web.v2", "tcp:host=localhost:port=80"),
        (r"db=unix:/run/db\=1", "db", r"unix:/run/db\=1"),
        (r"six=tcp:\:\:1:22", "six", r"tcp:\:\:1:22"),
    ],
)
def test_publish(value: str, name: str, endpoint: str) -> None:
    """
    The name ends at the first equals sign; the endpoint may hold more.
    """
    publication = parsePublish(value, home)
    assert publication == Publication(name, endpoint)
    assert str(publication) == f"--publish={value}"


@pytest.mark.parametrize(
    ("value", "endpoint", "peer", "service"),
    [
        ("tcp:2222=bob/ssh", "tcp:2222:interface=127.0.0.1", "bob", "ssh"),
        ("tcp:0=bob/web.v2", "tcp:0:interface=127.0.0.1", "bob", "web.v2"),
        ("tcp:port=22=b/s", "tcp:port=22:interface=127.0.0.1", "b", "s"),
        ("tcp:22:interface==b/s", "tcp:22:interface=", "b", "s"),
        (r"tcp:22:interface=\:\:1=b/s", r"tcp:22:interface=\:\:1", "b", "s"),
        ("tcp:22:192.0.2.1=b/s", "tcp:22:192.0.2.1", "b", "s"),
        (
            "tcp:22:backlog=5=b/s",
            "tcp:22:backlog=5:interface=127.0.0.1",
            "b",
            "s",
        ),
        ("unix:/run/x=b/s", "unix:/run/x", "b", "s"),
    ],
)
def test_forward(value: str, endpoint: str, peer: str, service: str) -> None:
    """
    The endpoint ends at the last equals sign; TCP is bound to loopback unless
    the user said where.
    """
    forward = parseForward(value, home)
    assert forward == Forward(endpoint, peer, service)
    assert str(forward) == f"--forward={endpoint}={peer}/{service}"


def test_loopbackReachesTheReactor() -> None:
    """
    What is parsed really listens on loopback.
    """
    from twisted.internet.endpoints import serverFromString
    from twisted.internet.protocol import Factory

    memory = machine.reactor
    rule = parseForward("tcp:2222=bob/ssh", home)
    serverFromString(memory, rule.endpoint).listen(Factory())
    ((port, _, _, interface),) = memory.tcpServers
    assert (port, interface) == (2222, "127.0.0.1")


PUBLISH = "; expected NAME=CLIENT_ENDPOINT, such as ssh=tcp:127.0.0.1:22."
FORWARD = "; expected SERVER_ENDPOINT=PEER/NAME, such as tcp:2222=bob/ssh."
ALLOW = "; expected PEER or PEER/NAME, such as bob/ssh."
NAMES = "(up to 64 letters, digits, '.', '_' and '-')"


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("tcp:127.0.0.1:22", "there is no '=' in it"),
        ("", "there is no '=' in it"),
        ("=tcp:127.0.0.1:22", f"'' cannot name a service {NAMES}"),
        ("a/b=tcp:127.0.0.1:22", f"'a/b' cannot name a service {NAMES}"),
        (f"{65 * 'a'}=tcp:h:1", f"{65 * 'a'!r} cannot name a service {NAMES}"),
        ("tcp:port=22", f"'tcp:port' cannot name a service {NAMES}"),
        ("x=udp:22", "expected udp:HOST:PORT[:idle=SECONDS]"),
        ("x=udp::22", "expected udp:HOST:PORT[:idle=SECONDS]"),
        ("x=udp:h:0", "'0' is not a port number"),
        ("x=udp:h:1:idle=0", "idle=0 is not a number of seconds from 1 to 86400"),
        ("x=udp:h:1:interface=h", "udp endpoints have no 'interface'"),
        ("x=tcb:127.0.0.1:22", "there is no type of endpoint 'tcb'"),
        ("x=", "there is no type of endpoint ''"),
        ("x=tcp:localhost", "'tcp:localhost' is no endpoint of type 'tcp'"),
        ("x=tcp:localhost:ssh", "'tcp:localhost:ssh' is no endpoint of type 'tcp'"),
        ("x=tcp:h:1:2:3:4:5", "'tcp:h:1:2:3:4:5' is no endpoint of type 'tcp'"),
        ("x=tcp:h:1:bad=2", "'tcp:h:1:bad=2' is no endpoint of type 'tcp'"),
        ("x=tcp:h:1\\", "'tcp:h:1\\\\' is no endpoint of type 'tcp'"),
        ("x=tcp:h:70000", "70000 is not a port number"),
        ("x=stdio:", "standard input and output cannot be published"),
    ],
)
def test_badPublish(value: str, why: str) -> None:
    """
    A value that cannot be used is one sentence: option, value, reason, form.
    """
    with pytest.raises(InvalidOption) as caught:
        parsePublish(value, home)
    assert str(caught.value) == f"--publish={value}: {why}{PUBLISH}"


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("tcp:2222", "there is no '=' in it"),
        ("tcp:2222=bob", "'bob' is not PEER/NAME"),
        ("tcp:2222:interface=127.0.0.1", "'127.0.0.1' is not PEER/NAME"),
        ("bob/ssh=tcp:2222", "'tcp:2222' is not PEER/NAME"),
        ("tcp:2222=/ssh", "'' is neither a petname nor a peer id"),
        ("tcp:2222=bob/", f"'' cannot name a service {NAMES}"),
        ("tcp:2222=bob/a/b", f"'a/b' cannot name a service {NAMES}"),
        ("udp:h:1=bob/game", "expected udp:PORT[:interface=HOST][:idle=SECONDS]"),
        ("UDP:70000=bob/game", "'70000' is not a port number"),
        ("udp:1:idle=x=bob/game", "idle=x is not a number of seconds from 1 to 86400"),
        ("2222=bob/ssh", "there is no type of endpoint '2222'"),
        ("tcp:http=bob/ssh", "'tcp:http:interface=127.0.0.1' is no endpoint"),
        ("tcp:-1=bob/ssh", "-1 is not a port number"),
        ("stdio:x=bob/ssh", "'stdio:' is all that there is to say"),
    ],
)
def test_badForward(value: str, why: str) -> None:
    """
    The same for a forward.
    """
    with pytest.raises(InvalidOption) as caught:
        parseForward(value, home)
    text = str(caught.value)
    assert text.startswith(f"--forward={value}: {why}")
    assert text.endswith(FORWARD)


def test_badCertificate(tmp_path: Path) -> None:
    """
    An endpoint whose file is missing says which.
    """
    missing = tmp_path / "missing.pem"
    with pytest.raises(InvalidOption, match=r"missing\.pem: No such file") as caught:
        parseForward(f"ssl:443:privateKey={missing}=bob/web", home)
    assert str(caught.value).endswith(FORWARD)


def test_allow() -> None:
    """
    A peer is allowed everything, or one service.
    """
    assert parseAllow("bob") == Allowance("bob", None)
    assert parseAllow("bob/ssh") == Allowance("bob", "ssh")
    assert [str(parseAllow(v)) for v in ("bob", "bob/ssh")] == [
        "--allow=bob",
        "--allow=bob/ssh",
    ]


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("", "'' is neither a petname nor a peer id"),
        ("/ssh", "'' is neither a petname nor a peer id"),
        ("bob smith", "'bob smith' is neither a petname nor a peer id"),
        ("bob/", f"'' cannot name a service {NAMES}"),
        ("bob/*", f"'*' cannot name a service {NAMES}"),
    ],
)
def test_badAllow(value: str, why: str) -> None:
    """
    The same for a permission.
    """
    with pytest.raises(InvalidOption) as caught:
        parseAllow(value)
    assert str(caught.value) == f"--allow={value}: {why}{ALLOW}"


@given(st.text(max_size=40))
def test_anything(value: str) -> None:
    """
    Whatever is typed, it parses or it is that one error.
    """
    parsers: list[Any] = [
        lambda v: parsePublish(v, home),
        lambda v: parseForward(v, home),
        lambda v: parsePublish(f"x={v}", home),
        lambda v: parseForward(f"{v}=bob/x", home),
        lambda v: parseForward(f"tcp:{v}=bob/x", home),
        parseAllow,
    ]
    for parse in parsers:
        said = ""
        try:
            said = str(parse(value))
        except InvalidOption as e:
            said = str(e)
        assert said.startswith("--")


def test_publishedTwice() -> None:
    """
    One name leads to one program.
    """
    one, two = Publication("a", "tcp:h:1"), Publication("b", "tcp:h:2")
    assert checkPublications([one, two]) == {"a": one, "b": two}
    with pytest.raises(InvalidOption, match="'a' is published twice"):
        checkPublications([one, Publication("a", "tcp:h:3")])


def test_allowances() -> None:
    """
    A peer may do what was allowed to it, under its id, and nothing else.
    """
    ids = {"bob": "ID-B", "carol": "ID-C"}
    allowances = Allowances(
        [Allowance("bob", "ssh"), Allowance("bob", "web"), Allowance("carol", None)],
        ids.__getitem__,
    )
    assert [allowances.allowsPeer(p) for p in ("ID-B", "ID-C", "bob", "ID-D")] == [
        True,
        True,
        False,
        False,
    ]
    assert [allowances.allows("ID-B", s) for s in ("ssh", "web", "db")] == [
        True,
        True,
        False,
    ]
    assert allowances.allows("ID-C", "db")
    assert not allowances.allows("ID-D", "db")


def test_nobodyByDefault() -> None:
    """
    Without rules nobody may do anything; with the switch everybody may.
    """
    assert not Allowances().allowsPeer("x")
    assert not Allowances().allows("x", "ssh")
    anyone = Allowances(anyone=True)
    assert anyone.allowsPeer("x")
    assert anyone.allows("x", "ssh")


def test_replaceAllowances() -> None:
    """
    New rules replace the old ones; a name that nobody knows changes nothing.
    """

    def resolve(peer: str) -> str:
        if peer == "nobody":
            raise UnknownPeer
        return peer

    allowances = Allowances([Allowance("bob", None)], resolve)
    with pytest.raises(UnknownPeer):
        allowances.replace([Allowance("carol", None), Allowance("nobody", None)])
    assert allowances.allowsPeer("bob")
    assert not allowances.allowsPeer("carol")
    allowances.replace([Allowance("carol", "ssh")])
    assert not allowances.allowsPeer("bob")
    assert allowances.allows("carol", "ssh")

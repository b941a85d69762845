"""
Tests for L{punchd.tap.relays}, and for what C{punch-client} makes of it.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from punchd.errors import InvalidOption
from punchd.net.ways import RelayCredentials, Way
from punchd.tap.client import Options
from punchd.tap.relays import parseRelay, withCredentials


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("turn:t.example", Way("udp", ("t.example", 3478))),
        ("turn:T.example:99", Way("udp", ("t.example", 99))),
        ("turn:192.0.2.1:99?transport=udp", Way("udp", ("192.0.2.1", 99))),
        ("turn:192.0.2.1?transport=tcp", Way("tcp", ("192.0.2.1", 3478))),
        ("turns:t.example", Way("tls", ("t.example", 5349))),
        ("turns:t.example:443?transport=tcp", Way("tls", ("t.example", 443))),
        ("turn:[2001:DB8:0::1]:9", Way("udp", ("2001:db8::1", 9))),
    ],
)
def test_uri(text: str, expected: Way) -> None:
    """
    RFC 7065.
    """
    assert parseRelay(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "stun:h",
        "turn:",
        "turn://h",
        "turn:me@h",
        "turn:h:0",
        "turn:h:70000",
        "turn:h?transport=sctp",
        "turns:h?transport=udp",
        "turn:300.1.1.1",
        "turn:[::g]",
        "turn:2001:db8::1",
    ],
)
def test_noURI(text: str) -> None:
    """
    A sentence names the option, the value and what was expected.
    """
    with pytest.raises(InvalidOption) as caught:
        parseRelay(text)
    assert str(caught.value).startswith(f"--relay={text}: ")
    assert "expected turn:HOST[:PORT]" in str(caught.value)


def test_credentials(tmp_path: Path) -> None:
    """
    A line for one host counts before that for all.
    """
    path = tmp_path / "file"
    path.write_text("# all\n\nme:se cret\n[2001:db8::1] you:a:b\nT.example  he:x\n")
    relays = ["turn:h", "turn:[2001:db8::1]", "turns:t.example"]
    found = [way.credentials for way in withCredentials(relays, str(path))]
    assert found == [
        RelayCredentials("me", "se cret"),
        RelayCredentials("you", "a:b"),
        RelayCredentials("he", "x"),
    ]
    assert "cret" not in repr(found)
    assert withCredentials([], None) == []


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "there is nothing for turn:h; expected a line NAME:PASSWORD"),
        ("me", "line 1 cannot be used; expected NAME:PASSWORD"),
        ("\nsecret:", "line 2 cannot be used"),
        (None, "No such file or directory."),
    ],
)
def test_wrongCredentials(tmp_path: Path, text: str | None, why: str) -> None:
    """
    A sentence, without what may be a secret.
    """
    path = tmp_path / "file"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InvalidOption) as caught:
        withCredentials(["turn:h"], str(path))
    sentence = str(caught.value)
    assert sentence.startswith(f"--relay-credentials={path}: ")
    assert why in sentence
    assert "secret" not in sentence.replace(str(path), "")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--relay=turn:h"], "--relay=turn:h: expected --relay-credentials=FILE, too."),
        (["--relay=h"], "--relay=h: that is not the URI of a TURN server"),
        (["--proxy=ftp://me:secret@h"], "--proxy=ftp://...@h: only proxies"),
    ],
)
def test_options(arguments: list[str], complaint: str) -> None:
    """
    What is wrong with an option is one sentence.
    """
    with pytest.raises(SystemExit) as caught:
        Options().parseOptions(["--rendezvous=punch://192.0.2.1", *arguments])
    assert complaint in str(caught.value.code)
    assert "secret" not in str(caught.value.code)

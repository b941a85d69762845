"""
Tests for what C{docs/} promises to explain.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from twisted.python import usage

from punchd.cli.main import COMMANDS
from punchd.tap import client, rendezvous
from punchd.traversal.verdict import Outcome, Reason, Verdict
from punchd.traversal.words import Cause

DOCS = Path(__file__).parents[1] / "docs"


@pytest.mark.parametrize("reason", Reason)
def test_everyReasonIsExplained(reason: Reason) -> None:
    """
    Each reason that a verdict may have stands in C{docs/verdicts.rst}, by the name
    that C{punchd status --json} prints.
    """
    name = Verdict("checks", Outcome.FAILED, reason).toDict()["reason"]
    assert f"``{name}``" in (DOCS / "verdicts.rst").read_text()


@pytest.mark.parametrize("cause", Cause)
def test_everyCauseIsExplained(cause: Cause) -> None:
    """
    Each cause that C{punchd why} may name stands in C{docs/verdicts.rst}.
    """
    assert f"\n``{cause.value}``" in (DOCS / "verdicts.rst").read_text()


@pytest.mark.parametrize("options", [client.Options, rendezvous.Options])
def testEveryOptionIsExplained(options: type[usage.Options]) -> None:
    """The page of a program has every option that it takes, and no other."""
    page = options.__module__.rpartition(".")[2]
    text = (DOCS / "howto" / f"{page}.rst").read_text()
    heads = [line for line in text.splitlines() if line.startswith("``--")]
    told = {name for line in heads for name in re.findall(r"``--([a-z-]+)", line)}
    known = {name.rstrip("=") for name in options().longOpt}
    assert told == known - {"help", "version"}


def testEveryCommandIsExplained() -> None:
    """The page of the client has every command of `punchd`."""
    text = (DOCS / "howto" / "client.rst").read_text()
    assert [row[0] for row in COMMANDS if f"\n``punchd {row[0]}" not in text] == []


def testIndexHasEveryPage() -> None:
    """Every page can be reached from the first one."""
    text = (DOCS / "index.rst").read_text()
    pages = [
        str(path.relative_to(DOCS).with_suffix(""))
        for folder in (DOCS, DOCS / "howto")
        for path in folder.glob("*.rst")
    ]
    assert [page for page in pages if page != "index" and page not in text] == []

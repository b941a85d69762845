"""
Two clients become peers by a code, through the rendezvous.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from punchd.errors import PairingFailed
from punchd.forward.rules import Allowance
from punchd.services.nameplates import TERM
from punchd.services.pairing import PairingDesk
from punchd.services.state import StateFolder
from punchd.testing.pair import Pair

from .talk import product


class Desks:
    """
    The desks of both clients, each with a state folder.
    """

    def __init__(self, pair: Pair, path: Path) -> None:
        self.pair = pair
        self.folders: dict[str, StateFolder] = {}
        self.desks: dict[str, PairingDesk] = {}
        self.changes: list[str] = []
        for letter, host in (("a", pair.scenario.hostA), ("b", pair.scenario.hostB)):
            client = getattr(pair, letter)
            folder = self.folders[letter] = StateFolder(str(path / letter))
            self.desks[letter] = PairingDesk(
                folder,
                client.links,
                client.context.identity.peerId,
                host.entropy,
                partial(self.changes.append, letter),
            )

    def run(self, waiting: Deferred[Any], seconds: float = 30.0) -> Any:
        """
        @return: the result, once it is there.
        """
        return self.pair.network.runUntil(waiting, seconds)

    def failure(self, waiting: Deferred[Any], seconds: float = 60.0) -> str:
        """
        @return: why it failed.
        """
        with pytest.raises(PairingFailed) as caught:
            self.run(waiting, seconds)
        return str(caught.value)


def test_pairing(tmp_path: Path) -> None:
    """
    Both have the other's id, a name for it, and what it may use.
    """
    with product("portrestricted", "symmetric") as pair:
        both = Desks(pair, tmp_path)
        a, b = both.desks["a"], both.desks["b"]
        told = both.run(a.invite(["ssh", "web"], False, "laptop", ""))
        assert told["url"] == str(pair.rendezvous.url)
        waiting = a.invited(told["code"])
        there = both.run(b.accept(told["code"].replace("-", " "), [], True, "tv", ""))
        here = both.run(waiting)
        ids = [pair.identityA.peerId, pair.identityB.peerId]
        assert here == {"name": "tv", "peer": ids[1], "services": None}
        assert there == {"name": "laptop", "peer": ids[0], "services": ["ssh", "web"]}
        assert both.folders["a"].petnames.all() == {"tv": ids[1]}
        assert both.folders["b"].petnames.all() == {"laptop": ids[0]}
        assert both.folders["a"].permissions.all() == [
            Allowance(ids[1], "ssh"),
            Allowance(ids[1], "web"),
        ]
        assert both.folders["b"].permissions.all() == [Allowance(ids[0], None)]
        assert sorted(both.changes) == ["a", "b"]


def test_wrongWords(tmp_path: Path) -> None:
    """
    One wrong guess, and the code is worth nothing, on either side.
    """
    with product("portrestricted", "portrestricted") as pair:
        both = Desks(pair, tmp_path)
        a, b = both.desks["a"], both.desks["b"]
        code = both.run(a.invite([], True, "laptop", ""))["code"]
        waiting = a.invited(code)
        number = code.split("-")[0]
        guess = b.accept(f"{number}-zoo-zoo", [], False, "thief", "")
        assert "other side has gone" in both.failure(guess)
        assert "not the right ones" in both.failure(waiting)
        again = b.accept(code, [], False, "thief", "")
        assert "no such invitation" in both.failure(again)
        assert both.folders["a"].permissions.all() == []
        assert both.folders["a"].petnames.all() == {}


def test_nobodyComes(tmp_path: Path) -> None:
    """
    After ten minutes the code is over, and whoever waits is told.
    """
    with product("portrestricted", "portrestricted") as pair:
        both = Desks(pair, tmp_path)
        code = both.run(both.desks["a"].invite([], False, "laptop", ""))["code"]
        waiting = both.desks["a"].invited(code)
        assert both.failure(waiting, TERM + 60.0) == "The invitation is over."


def test_takenBack(tmp_path: Path) -> None:
    """
    Who does not wait any more takes the code back.
    """
    with product("portrestricted", "portrestricted") as pair:
        both = Desks(pair, tmp_path)
        a, b = both.desks["a"], both.desks["b"]
        code = both.run(a.invite([], False, "laptop", ""))["code"]
        waiting = a.invited(code)
        waiting.addErrback(lambda failure: None)
        waiting.cancel()
        pair.network.advance(1.0)
        assert "no such invitation" in both.failure(b.accept(code, [], False, "x", ""))
        other = both.run(a.invite([], False, "laptop", ""))["code"]
        a.stop()
        pair.network.advance(1.0)
        assert "no such invitation" in both.failure(b.accept(other, [], False, "x", ""))


def test_names(tmp_path: Path) -> None:
    """
    A name that is taken gets a number; the one that the user wants must be free; a
    peer that has a name keeps it.
    """
    with product("portrestricted", "portrestricted") as pair:
        both = Desks(pair, tmp_path)
        a, b = both.desks["a"], both.desks["b"]
        names = both.folders["a"].petnames
        names.add("tv", "z" * 52)
        for _ in range(2):
            waiting = a.invited(code := both.run(a.invite([], False, "x", ""))["code"])
            both.run(b.accept(code, [], False, "tv", ""))
            assert both.run(waiting)["name"] == "tv-2"
        assert len(names.all()) == 2

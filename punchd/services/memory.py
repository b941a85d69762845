"""
What was learned about networks and kept for the next time, in the state folder:
how long their NATs keep a binding, and what got through between two of them.

It only makes things faster.  A file that cannot be read is worth one sentence, and
is begun anew; one that cannot be written, too.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Final, TypeVar

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from punchd.errors import StateError
from punchd.nat.keepalive import Lifetime

#: The file's version; others are begun anew.
VERSION: Final = 1

#: How much is remembered, and for how many seconds since it was last of use.
MOST_NETWORKS: Final = 64
MOST_PAIRS: Final = 256
AGE: Final = 30 * 86400.0

#: Words of others in the file have at most so many characters.
_MOST_TEXT: Final = 200
#: What earlier programs did not write.
_LATER: Final = ("openerTtl", "relay")
_SAVE: Final = 2.0

_T = TypeVar("_T", "Network", "Lesson")


@dataclass(slots=True)
class Network:
    """
    One network: a public prefix, behind one kind of NAT.

    @ivar prefix: see L{punchd.stun.address.prefixOf}.
    @ivar nat: its NAT in a few words, empty if that is not known.
    @ivar seen: when it was last of use, in seconds since the epoch.
    @ivar twoWay: the lifetime of bindings that were answered.
    @ivar oneWay: the lifetime of those that were not.
    @ivar measured: when that was measured; 0 for never.
    @ivar model: the port model, as
        L{PortModel.toDict<punchd.nat.model.PortModel.toDict>} has it.
    @ivar modelled: when that was measured.
    @ivar openerTtl: the hop limit of packets that open its NATs only; 0 if it is not
        known.
    @ivar relay: how a relay was reached from there, as
        L{Way.kind<punchd.net.ways.Way.kind>} has it; empty if none was.
    """

    prefix: str
    nat: str = ""
    seen: float = 0.0
    twoWay: Lifetime | None = None
    oneWay: Lifetime | None = None
    measured: float = 0.0
    model: dict[str, Any] = field(default_factory=dict)
    modelled: float = 0.0
    openerTtl: int = 0
    relay: str = ""

    @property
    def key(self) -> tuple[str, ...]:
        """
        What tells it from others.
        """
        return (self.prefix, self.nat)


@dataclass(slots=True)
class Lesson:
    """
    What got through between two networks.

    @ivar ours: the prefix of ours.
    @ivar theirs: of the peer's.
    @ivar ourNat: how our NAT chooses ports, in a word.
    @ivar theirNat: the peer's.
    @ivar strategy: the name of what was successful.
    @ivar seconds: how long it took from the dial.
    @ivar times: how often that was so.
    @ivar seen: when it was last so, in seconds since the epoch.
    @ivar openerTtl: the hop limit of our openers then; 0 for none.
    @ivar relay: how our relay was reached meanwhile, empty without one.
    """

    ours: str
    theirs: str
    ourNat: str = ""
    theirNat: str = ""
    strategy: str = ""
    seconds: float = 0.0
    times: int = 0
    seen: float = 0.0
    openerTtl: int = 0
    relay: str = ""

    @property
    def key(self) -> tuple[str, ...]:
        """
        What tells it from others.
        """
        return (self.ours, self.theirs, self.ourNat, self.theirNat)


class Memory:
    """
    I remember.
    """

    log = Logger()

    def __init__(
        self,
        wallClock: Callable[[], float],
        load: Callable[[], bytes | None] = lambda: None,
        save: Callable[[bytes], object] = lambda content: None,
    ) -> None:
        """
        @param load: gives what was saved, L{None} if nothing was.
        @param save: replaces what was saved at once.
        """
        self._wallClock = wallClock
        self._save = save
        self._networks: dict[tuple[str, ...], Network] = {}
        self._lessons: dict[tuple[str, ...], Lesson] = {}
        self._saving: IDelayedCall | None = None
        self._changed = False
        try:
            self._load(load())
        except (StateError, ValueError) as e:
            self.log.warn("What was learned about networks is lost: {why}", why=str(e))

    # --- networks

    def network(self, prefix: str, nat: str = "") -> Network:
        """
        @param nat: the NAT, if it is known.

        @return: what is known of a network; the latest of several with that
            prefix if the NAT is not known.
        """
        found = [each for each in self._networks.values() if each.prefix == prefix]
        if nat:
            found = [each for each in found if each.nat == nat]
        elif found:
            return max(found, key=lambda each: (each.seen, bool(each.nat)))
        return found[0] if found else Network(prefix, nat)

    def noteNetwork(self, network: Network) -> None:
        """
        Remember what is known of a network.
        """
        if network.prefix and (network.nat or network.openerTtl or network.relay):
            network.seen = self._wallClock()
            # Of one whose NAT was not known yet this is the rest.
            self._networks.pop((network.prefix, ""), None)
            self._networks[network.key] = network
            _bound(self._networks, MOST_NETWORKS)
            self._changed = True

    # --- pairs of networks

    def lesson(self, ours: str, theirs: str) -> Lesson | None:
        """
        @return: the latest that was learned about two networks.
        """
        found = [
            each
            for each in self._lessons.values()
            if each.ours == ours and each.theirs == theirs
        ]
        return max(found, key=lambda each: each.seen, default=None)

    def noteLesson(self, lesson: Lesson) -> None:
        """
        This got through.
        """
        if not lesson.ours or not lesson.theirs:
            return
        before = self._lessons.get(lesson.key)
        same = before is not None and before.strategy == lesson.strategy
        lesson.times = 1 + (before.times if before is not None and same else 0)
        lesson.seen = self._wallClock()
        self._lessons[lesson.key] = lesson
        _bound(self._lessons, MOST_PAIRS)
        self._changed = True

    def unlearn(self, lesson: Lesson) -> None:
        """
        It did not get through this time.
        """
        if self._lessons.pop(lesson.key, None) is not None:
            self._changed = True

    # --- the file

    def saveSoon(self, clock: IReactorTime) -> None:
        """
        Save what has changed, when there is nothing better to do.
        """
        if self._changed and self._saving is None:
            self._saving = clock.callLater(_SAVE, self.save)

    def save(self) -> None:
        """
        Save what has changed.
        """
        if self._saving is not None and self._saving.active():
            self._saving.cancel()
        self._saving = None
        if not self._changed:
            return
        self._changed = False
        content = {
            "version": VERSION,
            "networks": [_toDict(each) for each in self._networks.values()],
            "pairs": [_toDict(each) for each in self._lessons.values()],
        }
        try:
            self._save(json.dumps(content, indent=1).encode() + b"\n")
        except StateError as e:
            self.log.warn("What was learned cannot be saved: {why}", why=str(e))

    def _load(self, content: bytes | None) -> None:
        """
        @raise ValueError: it is not what L{save} wrote.
        """
        if content is None:
            return
        try:
            found = json.loads(content)
        except RecursionError as e:
            raise ValueError("nested too deeply") from e
        if not isinstance(found, dict) or found.get("version") != VERSION:
            raise ValueError("the file is of another version of punchd")
        networks = _entries(found.get("networks"), Network)
        lessons = _entries(found.get("pairs"), Lesson)
        now = self._wallClock()
        self._networks = {e.key: e for e in networks if _isFresh(e.seen, now)}
        self._lessons = {e.key: e for e in lessons if _isFresh(e.seen, now)}
        _bound(self._networks, MOST_NETWORKS)
        _bound(self._lessons, MOST_PAIRS)


def _isFresh(seen: float, now: float) -> bool:
    # A clock that was wrong for a while must not make it immortal.
    return -86400.0 < now - seen < AGE


def _bound(known: dict[tuple[str, ...], _T], most: int) -> None:
    """
    Forget what was of no use for the longest time.
    """
    while len(known) > most:
        known.pop(min(known, key=lambda key: known[key].seen))


def _toDict(entry: Network | Lesson) -> dict[str, Any]:
    found = asdict(entry)
    if isinstance(entry, Network):
        for name in ("twoWay", "oneWay"):
            value = getattr(entry, name)
            found[name] = None if value is None else value.toList()
    return found


def _entries(value: object, kind: type[_T]) -> list[_T]:
    """
    @raise ValueError: these are no entries of that kind.
    """
    if not isinstance(value, list):
        raise ValueError("a list is missing")
    return [_entry(each, kind) for each in value]


def _entry(value: object, kind: type[_T]) -> _T:
    if not isinstance(value, dict):
        raise ValueError("an entry is not an object")
    given: dict[str, Any] = {}
    for each in fields(kind):
        if each.name not in value and each.name in _LATER:
            continue
        found = value.get(each.name)
        if each.type in ("str", str):
            good = isinstance(found, str) and len(found) <= _MOST_TEXT
        elif each.type in ("int", int):
            good = type(found) is int and 0 <= found < 1_000_000
        elif each.type == "dict[str, Any]":
            good = isinstance(found, dict)
        elif each.type == "Lifetime | None":
            found = None if found is None else Lifetime.fromList(found)
            good = True
        else:
            good = isinstance(found, int | float) and not isinstance(found, bool)
            good = good and abs(found or 0) < 1e12
        if not good:
            raise ValueError(f"{each.name} is {found!r:.40}")
        given[each.name] = found
    return kind(**given)

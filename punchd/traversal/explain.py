"""
Why a path is what it is, in plain words, and what the user could change.

One L{Cause} is picked, the first of a list that fits; it comes with a sentence
and advice.  What was tried is told besides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from .verdict import Outcome, Reason, Verdict
from .words import (
    ADVICE,
    ATTEMPTS,
    BETWEEN,
    FIREWALL,
    OPENED,
    PORTS,
    REASONS,
    STRATEGIES,
    TCP,
    Cause,
)

__all__ = ["Cause", "Explanation", "Situation", "explain"]


@dataclass(frozen=True, kw_only=True)
class Situation:
    """
    All that an explanation may follow from.

    @ivar state: the state of the session's machine.
    @ivar kind: C{"direct"}, C{"relayed"} or L{None} without a path.
    @ivar strategy: what made the path possible.
    @ivar transport: what it goes by: C{"udp"}, C{"tcp"}, C{"tls"}.
    @ivar mapping: our NAT's mapping behaviour in RFC 4787's words, if known.
    @ivar verdicts: how the attempts ended, oldest first.
    @ivar ended: why the session is over, if it is.
    @ivar offline: whether that is because the peer could not be reached.
    @ivar exhausted: whether that is because no path to it worked.
    @ivar left: whether the rendezvous saw the peer leave.
    @ivar connected: whether a rendezvous knows us now.
    @ivar mode: C{--path}.
    @ivar ourUdp: whether the rendezvous answers us over UDP.
    @ivar theirUdp: whether it has seen the peer over UDP.
    @ivar sameNat: whether the rendezvous sees the peer at an address of ours.
    @ivar hairpin: whether our NAT does hairpinning, if known.
    @ivar proxied: whether nothing but an HTTP proxy leads us to it.
    @ivar sprays: whether we may spray.
    @ivar trying: whether something is being tried now.
    @ivar nextAttempt: seconds until something will be, if that is known.
    """

    state: str
    kind: str | None = None
    strategy: str | None = None
    transport: str = "udp"
    mapping: str | None = None
    verdicts: Sequence[Verdict] = ()
    ended: str | None = None
    offline: bool = False
    exhausted: bool = False
    left: bool = False
    connected: bool = True
    mode: str = "auto"
    ourUdp: bool = True
    theirUdp: bool = True
    sameNat: bool = False
    hairpin: bool | None = None
    proxied: bool = False
    sprays: bool = True
    trying: bool = False
    nextAttempt: float | None = None
    last: dict[str, Verdict] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.last.update({verdict.strategy: verdict for verdict in self.verdicts})

    def failed(self, strategy: str) -> Reason | None:
        """
        @return: why the last attempt of a strategy was in vain, if it was.
        """
        verdict = self.last.get(strategy)
        if verdict is None or verdict.outcome is not Outcome.FAILED:
            return None
        return verdict.reason


@dataclass(frozen=True)
class Explanation:
    """
    @ivar headline: how it is.
    @ivar reason: a sentence on the cause, empty where there is no need.
    @ivar tried: what was tried in vain, a sentence each.
    @ivar advice: what the user could change, a sentence each.
    @ivar outlook: what happens next.
    """

    cause: Cause
    headline: str
    reason: str = ""
    tried: tuple[str, ...] = ()
    advice: tuple[str, ...] = ()
    outlook: str = ""

    @property
    def lines(self) -> list[str]:
        """
        All of it, the answer first.
        """
        found = [self.headline, self.reason, *self.tried, *self.advice, self.outlook]
        return [line for line in found if line]


def explain(peer: str, situation: Situation) -> Explanation:
    """
    @param peer: what the user calls the other side.
    """
    cause = causeOf(situation)
    headline = _headline(peer, cause, situation)
    if cause in (Cause.DIRECT, Cause.ENDED):
        return Explanation(cause, headline)
    reason = REASONS[cause]
    if cause in _BLOCKED:
        reason += TCP.get(situation.failed("tcp"), "")
    if cause in _BY_NATS:
        reason = f"{reason} {_describeNats(situation)}".strip()
    tried = [
        _sentence(verdict)
        for verdict in situation.last.values()
        if verdict.outcome is Outcome.FAILED
    ]
    return Explanation(
        cause,
        headline,
        reason,
        () if cause is Cause.RELAY_WANTED else tuple(tried),
        tuple(_adviceFor(cause, situation)),
        _outlook(cause, situation),
    )


def causeOf(situation: Situation) -> Cause:
    """
    @return: what decides.
    """
    # First what is so whatever was tried.
    if situation.ended is not None and not situation.exhausted:
        return Cause.PEER_OFFLINE if situation.offline else Cause.ENDED
    if situation.kind == "direct":
        return Cause.DIRECT
    if situation.left and situation.kind is None:
        return Cause.PEER_LEFT
    if not situation.connected and situation.kind is None:
        return Cause.RENDEZVOUS_DOWN
    if situation.mode == "relay":
        return Cause.RELAY_WANTED
    if situation.state == "signaling":
        return Cause.TRYING
    blocked = _blocked(situation)
    if blocked is not None:
        return blocked
    unanswered = situation.failed("checks") is Reason.NO_ANSWER
    if situation.sameNat and unanswered and not situation.hairpin:
        return Cause.NO_HAIRPIN
    # Then what the most thorough attempt says.
    found = {
        Reason.BUSY: Cause.BUSY,
        Reason.OUT_OF_REACH: Cause.OUT_OF_REACH,
        Reason.NOT_HIT: Cause.NOT_HIT,
        Reason.PEER_SILENT: Cause.PEER_SILENT,
    }
    thorough = situation.failed("traversal")
    if _wouldSpray(situation) and (
        not situation.sprays
        or thorough is Reason.OUT_OF_REACH
        or situation.failed("spray") is Reason.NOT_WANTED
    ):
        return Cause.NO_SPRAY
    if thorough in found:
        return found[thorough]
    checks = situation.failed("checks")
    if checks is Reason.ONE_WAY:
        return Cause.ONE_WAY
    if checks is Reason.NO_CANDIDATES:
        return Cause.NO_CANDIDATES
    if situation.kind is None and situation.failed("relay") is Reason.NO_RELAY:
        return Cause.NO_RELAY
    if thorough is Reason.NOT_MEASURED:
        return Cause.NOT_MEASURED
    return Cause.TRYING if checks is None else Cause.UNANSWERED


def _blocked(situation: Situation) -> Cause | None:
    ours, theirs = situation.ourUdp, situation.theirUdp
    if situation.failed("traversal") is Reason.NOT_MEASURED:
        # No server answered a side's sockets, whatever it did before.
        unknown = [kind == "unknown" for kind in natsOf(situation)]
        ours, theirs = ours and not unknown[0], theirs and not unknown[1]
    if not ours:
        if situation.proxied:
            return Cause.PROXY_ONLY
        return Cause.UDP_BLOCKED_HERE if theirs else Cause.UDP_BLOCKED_BOTH
    return None if theirs else Cause.UDP_BLOCKED_THERE


_RANDOM: Final = ("random", "block", "parity")
_FIXED: Final = ("endpoint-independent", "preserving")


def natsOf(situation: Situation) -> tuple[str, str]:
    """
    @return: how our NAT and the peer's choose ports, as far as that was measured.
    """
    verdict = situation.last.get("traversal")
    evidence = {} if verdict is None else verdict.evidence
    return str(evidence.get("ours", "")), str(evidence.get("theirs", ""))


def _wouldSpray(situation: Situation) -> bool:
    ours, theirs = natsOf(situation)
    return (ours in _RANDOM and theirs in _FIXED) or (
        theirs in _RANDOM and ours in _FIXED
    )


# --- in words


def _headline(peer: str, cause: Cause, situation: Situation) -> str:
    if situation.ended is not None:
        return f"There is no session with {peer}: {situation.ended}"
    if situation.kind == "direct":
        how = STRATEGIES.get(situation.strategy or "host", situation.strategy)
        return f"The path to {peer} is direct ({how})."
    if situation.kind == "relayed":
        way = situation.transport.upper()
        over = "" if way == "UDP" else f", which is reached over {way}"
        return f"The path to {peer} goes through the relay{over}."
    return f"There is no path to {peer} yet ({situation.state})."


#: Causes for which TCP was tried.
_BLOCKED: Final = (
    Cause.UDP_BLOCKED_BOTH,
    Cause.UDP_BLOCKED_HERE,
    Cause.UDP_BLOCKED_THERE,
)

#: Causes that lie in what the NATs do.
_BY_NATS: Final = (Cause.OUT_OF_REACH, Cause.NOT_HIT, Cause.NO_SPRAY)


#: What the evidence about TCP counts, where its name says too little.
_TRIED: Final = {"syns": "attempts"}


def _describeNats(situation: Situation) -> str:
    ours, theirs = natsOf(situation)
    text = (
        f"Your NAT {PORTS.get(ours, 'chooses ports in an unknown way')}, the"
        f" peer's {PORTS.get(theirs, 'chooses them in an unknown way')}."
    )
    if causeOf(situation) is Cause.OUT_OF_REACH:
        text += " Two such NATs cannot be opened by guessing."
    elif ours in _FIXED and theirs in _FIXED:
        text += FIREWALL
    return text


def _sentence(verdict: Verdict) -> str:
    evidence = verdict.evidence
    seconds = evidence.get("seconds", 0)
    # What a plugin says is its own.
    took = f"{seconds:.1f} s" if isinstance(seconds, (int, float)) else str(seconds)
    detail = ""
    if verdict.strategy == "checks":
        pairs = evidence.get("directPairs", 0)
        detail = (
            f" ({evidence.get('checksSent', 0)} checks in {took} on"
            f" {pairs} {'pair' if pairs == 1 else 'pairs'} of addresses; the peer's"
            f" checks arrived on {evidence.get('heardFrom', 0)})"
        )
    elif isinstance(attempts := evidence.get("attempts"), Mapping):
        counts = ", ".join(
            f"{count} {_TRIED.get(what, what)}" for what, count in attempts.items()
        )
        detail = f" ({counts or 'none tried'}, in {took})"
    elif evidence.get("text"):
        detail = f" ({evidence['text']})"
    elif "probes" in evidence:
        detail = f" ({evidence['probes']} packets in {took})"
    name = ATTEMPTS.get(verdict.strategy, verdict.strategy)
    return f"{name}: {verdict.reason.value}{detail}."


def _outlook(cause: Cause, situation: Situation) -> str:
    if cause is Cause.RELAY_WANTED:
        return ""
    if situation.trying:
        return "Direct paths are being tried; ask again in some seconds."
    if situation.nextAttempt is None:
        return ""
    return f"The next attempt begins in {situation.nextAttempt:.0f} s."


def _adviceFor(cause: Cause, situation: Situation) -> list[str]:
    found = [ADVICE[cause]] if cause in ADVICE else []
    if cause in _BY_NATS:
        sides = [
            where
            for kind, where in zip(natsOf(situation), ("here", "at the peer"))
            if kind not in _FIXED
        ]
        if not sides:
            found.append(BETWEEN)
        else:
            found.append(OPENED.format(where=" or ".join(sides)))
    elif cause is Cause.UNANSWERED:
        found += _guess(situation)
    return found


def _guess(situation: Situation) -> list[str]:
    mapping = situation.mapping
    if mapping is not None and mapping.startswith("address"):
        return [
            "Your NAT gives every destination another port (mapping"
            f" {mapping}), so the port that the rendezvous sees is not the one that"
            " the peer has to send to.",
            OPENED.format(where="here"),
        ]
    if situation.last["checks"].evidence.get("heardFrom"):
        return [
            "The peer's packets arrive here but no answers do: a firewall on one"
            " side lets only one direction pass."
        ]
    if mapping is None:
        return [
            "One of the two sides has a NAT that gives every destination another"
            " port, or a firewall that drops UDP; which of them is not known,"
            " because the rendezvous has one address only."
        ]
    return [
        "Your side keeps one port for all destinations, so the cause is probably at"
        " the peer: a NAT that gives every destination another port, or a firewall"
        " that drops UDP. Ask there for `punchd why`."
    ]

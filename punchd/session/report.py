"""
What can be told of a session, for C{punchd status} and C{punchd why}.
"""

from __future__ import annotations

from typing import Any

from punchd.core import Address
from punchd.errors import PathsExhausted, PeerUnavailable
from punchd.ice.candidate import CandidateType
from punchd.ice.pair import CandidatePair
from punchd.traversal.explain import Situation, explain, natsOf

from .session import Session

_NO_PATH = str(PathsExhausted())[:20]


def describe(session: Session) -> dict[str, Any]:
    """
    @return: one entry of C{sessions} in C{punchd status --json}; times in
        seconds, sizes in bytes.
    """
    pair = session.paths.current
    agent = session.carrier.agent
    path: dict[str, Any] = {
        "kind": None,
        "transport": "udp",
        "strategy": "",
        "local": "",
        "remote": "",
        "rtt": None,
    }
    if pair is not None:
        path |= {
            "kind": pair.kind,
            "transport": _transportOf(session, pair),
            "strategy": _strategyOf(session, pair),
            "local": textOf(pair.local.base),
            "remote": textOf(pair.remote.address),
            "rtt": pair.rtt,
        }
    return {
        "peer": session.peerId,
        "state": session.state,
        "path": path,
        "secondsToFirstByte": session.secondsToFirstByte,
        "secondsToDirect": session.secondsToDirect,
        "probesSent": 0 if agent is None else agent.checksSent,
        "bindingsUsed": len(session.context.socket.families())
        + session.attempts.traversal.flows,
        "keepaliveInterval": round(session.context.keepalive, 3),
        "bytesSent": session.carrier.sent,
        "bytesReceived": session.carrier.received,
        "pathChanges": session.paths.changes,
        "pathChangeReason": session.paths.reason,
        "learnt": session.attempts.learning.toDict(),
        "verdicts": [verdict.toDict() for verdict in session.verdicts],
    }


def why(
    session: Session,
    name: str,
    mapping: str | None,
    *,
    hairpin: bool | None = None,
    connected: bool = True,
) -> dict[str, Any]:
    """
    @param name: what the user calls the peer.
    @param mapping: our NAT's mapping behaviour, if known.
    @param hairpin: whether it does hairpinning, if known.
    @param connected: whether a rendezvous knows us now.

    @return: what C{punchd why --json} prints: the C{cause} by its name, all of it
        as C{text}, the C{path} of L{describe}, and what else there is.
    """
    situation = _situationOf(session, mapping, hairpin, connected)
    found = explain(name, situation)
    lines = [
        *found.lines,
        *_changes(session),
        *session.attempts.learning.sentences(),
    ]
    ours, theirs = natsOf(situation)
    return {
        "peer": session.peerId,
        "state": session.state,
        "cause": found.cause.value,
        "text": "\n".join(lines),
        "advice": list(found.advice),
        "trying": situation.trying,
        "nextAttempt": situation.nextAttempt,
        "nat": {"ours": ours or None, "theirs": theirs or None},
        "path": describe(session)["path"],
        "verdicts": [verdict.toDict() for verdict in session.verdicts],
    }


def _changes(session: Session) -> list[str]:
    """
    @return: how often the path was changed, and why the last time.
    """
    paths = session.paths
    if session.reason is not None or not paths.changes or paths.reason is None:
        return []
    times = "once" if paths.changes == 1 else f"{paths.changes} times"
    last = "" if paths.changes == 1 else " the last time"
    return [f"The path was changed {times},{last} because {paths.reason}."]


def _situationOf(
    session: Session, mapping: str | None, hairpin: bool | None, connected: bool
) -> Situation:
    context, attempts, over = session.context, session.attempts, session.reason
    pair = session.paths.current if over is None else None
    retry = session.core.held.calls.get("retry")
    wait = None
    if retry is not None and retry.active() and over is None:
        wait = max(0.0, retry.getTime() - context.clock.seconds())
    return Situation(
        state=session.state,
        kind=None if pair is None else pair.kind,
        strategy=None if pair is None else _strategyOf(session, pair),
        transport="udp" if pair is None else _transportOf(session, pair),
        mapping=mapping,
        verdicts=session.verdicts,
        ended=None if over is None else over.getErrorMessage(),
        offline=over is not None and over.check(PeerUnavailable) is not None,
        # The peer may have been the first to give up, and has said so.
        exhausted=over is not None and _NO_PATH in over.getErrorMessage(),
        left=session.core.peerIsGone,
        connected=connected,
        mode=context.mode,
        ourUdp=bool(context.gathering.mapped),
        theirUdp=bool(session.exchange.hosts),
        sameNat=not session.exchange.hosts.isdisjoint(
            host for host, _ in context.gathering.mapped.values()
        ),
        hairpin=hairpin,
        proxied=context.proxied,
        sprays=any(each.name == "spray" for each in context.strategies),
        trying=over is None and (attempts.checks.running or attempts.traversal.running),
        nextAttempt=wait,
    )


def _strategyOf(session: Session, pair: CandidatePair) -> str:
    """
    @return: what made the path possible; the port that our router opened, if it is
        there that the peer sees us.
    """
    opened = pair.kind == "direct" and pair.mapped in session.context.gathering.opened
    return "mapped" if opened else pair.strategy


def _transportOf(session: Session, pair: CandidatePair) -> str:
    """
    @return: what our datagrams travel by to where they leave for the peer.
    """
    if pair.local.type is CandidateType.RELAY:
        return session.context.socket.transportOf(pair.local.base)
    return pair.transport


def textOf(address: Address) -> str:
    """
    @return: C{host:port}, with brackets around an IPv6 host.
    """
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

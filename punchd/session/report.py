"""
What can be told of a session, for C{punchd status} and C{punchd why}.
"""

from __future__ import annotations

from typing import Any

from punchd.core import Address
from punchd.ice.candidate import CandidateType
from punchd.ice.pair import CandidatePair
from punchd.traversal.explain import explain

from .session import Session


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
        "keepaliveInterval": session.context.keepalive,
        "bytesSent": session.carrier.sent,
        "bytesReceived": session.carrier.received,
        "pathChanges": session.paths.changes,
        "learnt": session.attempts.learning.toDict(),
        "verdicts": [verdict.toDict() for verdict in session.verdicts],
    }


def why(session: Session, name: str, mapping: str | None) -> dict[str, Any]:
    """
    @param name: what the user calls the peer.
    @param mapping: our NAT's mapping behaviour, if known.

    @return: the C{path} of L{describe}, and C{text}: sentences, one a line.
    """
    pair = session.paths.current
    over = session.reason
    kind = None if pair is None or over is not None else pair.kind
    lines = explain(
        name,
        session.state,
        kind,
        None if pair is None else _strategyOf(session, pair),
        mapping,
        session.verdicts,
        None if over is None else over.getErrorMessage(),
    )
    lines += session.attempts.learning.sentences()
    if over is None and kind != "direct" and session.attempts.checks.running:
        lines.append("Direct paths are being tried; ask again in some seconds.")
    return {
        "path": describe(session)["path"],
        "verdicts": [verdict.toDict() for verdict in session.verdicts],
        "text": "\n".join(lines),
    }


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

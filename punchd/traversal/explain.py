"""
Why a path is what it is, in plain words, and what the user could change.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .verdict import Outcome, Reason, Verdict


def explain(
    peer: str,
    state: str,
    kind: str | None,
    strategy: str | None,
    mapping: str | None,
    verdicts: Sequence[Verdict],
    ended: str | None = None,
) -> list[str]:
    """
    @param state: the state of the session's machine.
    @param kind: C{"direct"}, C{"relayed"} or L{None} without a path.
    @param strategy: what made the path possible.
    @param mapping: our NAT's mapping behaviour in RFC 4787's words, if known.
    @param verdicts: how the attempts ended, oldest first.
    @param ended: why the session is over, if it is.

    @return: sentences, the answer first.
    """
    lines = []
    if ended is not None:
        lines.append(f"There is no session with {peer}: {ended}")
    elif kind == "direct":
        lines.append(
            f"The path to {peer} is direct ({_STRATEGIES[strategy or 'host']})."
        )
    elif kind == "relayed":
        lines.append(f"The path to {peer} goes through the relay.")
    else:
        lines.append(f"There is no path to {peer} yet ({state}).")
    if kind == "direct":
        return lines
    last = {verdict.strategy: verdict for verdict in verdicts}
    for verdict in last.values():
        if verdict.outcome is Outcome.FAILED:
            lines.append(_sentence(verdict))
    checks, relay = last.get("checks"), last.get("relay")
    traversal = last.get("traversal")
    silent = relay is not None and relay.outcome is Outcome.FAILED
    if silent and mapping is None:
        lines.append(
            "Neither the relay nor the peer answers over UDP: a firewall on your side"
            " probably drops it."
        )
    elif traversal is not None and traversal.reason in _UNPREDICTABLE:
        lines.append(_odds(traversal))
    elif traversal is not None and traversal.reason is Reason.NOT_MEASURED:
        lines.append(_filtered(traversal, last.get("tcp")))
    elif checks is not None and checks.reason is Reason.NO_ANSWER:
        lines.append(_advice(checks, mapping))
    return lines


_UNPREDICTABLE = (Reason.OUT_OF_REACH, Reason.NOT_HIT)

_STRATEGIES = {
    "host": "both sides reach each other without any NAT in between",
    "srflx": "through a hole that both sides punched",
    "prflx": "through a hole that both sides punched",
    "mapped": "through a port that a router opened on request",
    "ipv6": "over IPv6, past the firewalls",
    "opener": "through a hole, after a packet that only our own router saw",
    "predicted": "through a hole at a port that was predicted",
    "spray": "through a hole found by trying many ports",
    "tcp": "over TCP, opened from both sides at once",
    "relay": "through the relay",
}


def _sentence(verdict: Verdict) -> str:
    evidence = verdict.evidence
    detail = ""
    if verdict.strategy == "checks":
        detail = (
            f" ({evidence.get('checksSent', 0)} checks in"
            f" {evidence.get('seconds', 0)} s on {evidence.get('directPairs', 0)}"
            f" address pairs; the peer's checks arrived on"
            f" {evidence.get('heardFrom', 0)})"
        )
    elif isinstance(attempts := evidence.get("attempts"), Mapping):
        counts = ", ".join(f"{count} {what}" for what, count in attempts.items())
        detail = f" ({counts or 'none tried'}, in {evidence.get('seconds', 0)} s)"
    elif evidence.get("text"):
        detail = f" ({evidence['text']})"
    elif "probes" in evidence:
        detail = f" ({evidence['probes']} packets in {evidence.get('seconds', 0)} s)"
    name = _ATTEMPTS.get(verdict.strategy, verdict.strategy)
    return f"{name}: {verdict.reason.value}{detail}."


_ATTEMPTS = {
    "checks": "Direct path",
    "relay": "Relay",
    "restart": "Asking the peer for new paths",
    "traversal": "Getting through both NATs",
    "predicted": "Predicting the NATs' next ports",
    "spray": "Trying many ports",
    "tcp": "TCP opened from both sides",
}

_PORTS = {
    "endpoint-independent": "keeps one outside port for all destinations",
    "preserving": "keeps the port of the socket",
    "sequential": "gives every destination the next port",
    "parity": "gives every destination another port at random",
    "random": "gives every destination another port at random",
    "block": "gives every destination another port of a block, at random",
}


def _filtered(traversal: Verdict, tcp: Verdict | None) -> str:
    """
    Whose UDP does not get out, and why TCP does not help.
    """
    names = (("ours", "on your side"), ("theirs", "at the peer"))
    evidence = traversal.evidence
    sides = [where for name, where in names if evidence.get(name) == "unknown"]
    where = " and ".join(sides) or "on one side"
    text = f"No server answered over UDP {where}: a firewall probably drops it."
    if tcp is not None and tcp.reason is Reason.OUT_OF_REACH:
        text += (
            " Over TCP there is no way either, because both NATs give every"
            " connection another port."
        )
    elif tcp is not None and tcp.reason is Reason.NOT_CONNECTED:
        text += (
            " Connections over TCP did not come through either: a firewall lets out"
            " only what goes to known ports, or refuses what comes from the other side."
        )
    return f"{text} To let UDP out {where} would make a direct path possible."


def _odds(traversal: Verdict) -> str:
    """
    What both NATs do, and whose change would help.
    """
    evidence = traversal.evidence
    ours, theirs = str(evidence.get("ours")), str(evidence.get("theirs"))
    text = (
        f"Your NAT {_PORTS.get(ours, 'chooses ports in an unknown way')}, the"
        f" peer's {_PORTS.get(theirs, 'chooses them in an unknown way')}."
    )
    sides = []
    for kind, where in ((ours, "here"), (theirs, "at the peer")):
        if not kind.endswith(("independent", "preserving")):
            sides.append(where)
    if traversal.reason is Reason.OUT_OF_REACH:
        text += " Two such NATs cannot be opened by guessing."
    if sides:
        text += (
            f" A port forwarding to a fixed --port, UPnP on the router, or IPv6"
            f" {' or '.join(sides)} would make a direct path possible."
        )
    return text


def _advice(checks: Verdict, mapping: str | None) -> str:
    if mapping is not None and mapping.startswith("address"):
        return (
            "Your NAT gives every destination another port (mapping"
            f" {mapping}), so the port that the rendezvous sees is not the one that"
            " the peer has to send to. A port forwarding to a fixed --port, UPnP on"
            " the router, or IPv6 would make a direct path possible."
        )
    if not checks.evidence.get("heardFrom") and mapping is None:
        return (
            "One of the two sides has a NAT that gives every destination another"
            " port, or a firewall that drops UDP; which of them is not known,"
            " because the rendezvous has one address only."
        )
    if not checks.evidence.get("heardFrom"):
        return (
            "Your side keeps one port for all destinations, so the cause is"
            " probably at the peer: a NAT that gives every destination another"
            " port, or a firewall that drops UDP. Ask there for `punchd status`."
        )
    return (
        "The peer's packets arrive here but no answers do: a firewall on one side"
        " lets only one direction pass."
    )

"""
What two peers tell each other, through the rendezvous or the session itself,
so that they can find paths: offers, answers and updates.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from punchd.core import Address
from punchd.ice.agent import Agent
from punchd.ice.candidate import (
    Candidate,
    CandidateType,
    isPairable,
    reflexiveCandidate,
)
from punchd.ice.credentials import Credentials, makeCredentials
from punchd.ice.timing import Limits
from punchd.signaling.admission import admissibleCandidates
from punchd.signaling.offer import Answer, Offer, Role, Update, hashOf

from .context import Context

#: The refusal of an answer to an offer that wants to resume.
NO_SUCH_SESSION = "no-such-session"


def makeAgent(context: Context, controlling: bool) -> Agent:
    """
    @return: an ICE agent that has our candidates.
    """
    agent = Agent(
        controlling=controlling,
        credentials=makeCredentials(context.entropy),
        tieBreaker=int.from_bytes(context.entropy(8), "big"),
        entropy=context.entropy,
        limits=Limits(relayedOnly=context.mode == "relay"),
    )
    # The session's machine keeps the time of keepalives.
    agent.setKeepalive(float("inf"))
    now = context.clock.seconds()
    for candidate in context.gathering.candidates():
        agent.addLocalCandidate(candidate, now)
    return agent


def makeOffer(
    context: Context, peerId: str, dialId: str, agent: Agent, resume: str = ""
) -> bytes:
    """
    @return: a sealed offer of our candidates.
    """
    return Offer(
        sender=context.identity.peerId,
        recipient=peerId,
        dialId=dialId,
        time=context.wallClock(),
        candidates=ourCandidates(context),
        incarnation=context.incarnation,
        ufrag=agent.credentials.ufrag,
        password=agent.credentials.password,
        rtt=context.rtt or 0.0,
        resume=resume,
    ).seal(context.identity)


def makeAnswer(
    context: Context,
    peerId: str,
    dialId: str,
    agent: Agent | None,
    offer: bytes,
    nonce: bytes,
) -> bytes:
    """
    @param agent: L{None} to refuse to resume a session that is not known.

    @return: a sealed answer.
    """
    credentials = makeCredentials(context.entropy) if agent is None else None
    if agent is not None:
        credentials = agent.credentials
    assert credentials is not None
    return Answer(
        sender=context.identity.peerId,
        recipient=peerId,
        dialId=dialId,
        time=context.wallClock(),
        candidates=[] if agent is None else ourCandidates(context),
        incarnation=context.incarnation,
        ufrag=credentials.ufrag,
        password=credentials.password,
        nonce=nonce.hex(),
        offerHash=hashOf(offer),
        rtt=context.rtt or 0.0,
        refusal=NO_SUCH_SESSION if agent is None else "",
    ).seal(context.identity)


def makeUpdate(
    context: Context,
    peerId: str,
    dialId: str,
    role: Role,
    sequence: int,
    candidates: Iterable[Candidate],
) -> bytes:
    """
    @return: sealed further candidates.
    """
    return Update(
        sender=context.identity.peerId,
        recipient=peerId,
        dialId=dialId,
        time=context.wallClock(),
        role=role,
        sequence=sequence,
        candidates=[candidate.toDict() for candidate in candidates],
    ).seal(context.identity)


def ourCandidates(context: Context) -> list[dict[str, object]]:
    """
    @return: our candidates as signaling carries them; with C{--path=relay} no
        other address of ours is the peer's business.
    """
    found = context.gathering.candidates()
    if context.mode == "relay":
        found = [each for each in found if each.type is CandidateType.RELAY]
    return [each.toDict() for each in found]


def theirCandidates(
    told: Sequence[Mapping[str, Any]], observed: Sequence[Address]
) -> list[Candidate]:
    """
    @param told: what the peer says of itself.
    @param observed: where the rendezvous saw its packets come from.

    @return: the candidates that may be checked.
    """
    found: list[Candidate] = []
    for each in admissibleCandidates(told, observed):
        try:
            candidate = Candidate.fromDict(each)
        except ValueError:
            continue
        if isPairable(candidate.address):
            found.append(candidate)
    known = {candidate.address for candidate in found}
    for address in observed:
        if address not in known and isPairable(address):
            found.append(reflexiveCandidate(address, address))
    return found


def credentialsOf(signed: Offer | Answer) -> Credentials:
    """
    @return: the peer's ICE credentials.

    @raise ValueError: they are none.
    """
    return Credentials(signed.ufrag, signed.password)

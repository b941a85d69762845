"""
What the two sides of one session tell each other about paths, by whichever way
there is: through the rendezvous at first, inside the session later.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from punchd.core import Address
from punchd.errors import AuthenticationFailed, OfferError, PeerUnavailable
from punchd.ice.candidate import Candidate, CandidateType
from punchd.ice.credentials import Credentials
from punchd.signaling.offer import Answer, Offer, Role, Update

from .carrier import Carrier
from .context import Context, DialAnswer
from .negotiation import (
    credentialsOf,
    makeAgent,
    makeAnswer,
    makeOffer,
    makeUpdate,
    theirCandidates,
)

if TYPE_CHECKING:
    from .session import Session

_NONCE = 16
#: The answerer's first check comes in vain: the dialler's NAT opens as the
#: answer gets there, in theory together with the second check.  It has to come
#: just after that.
_AFTER_THE_ANSWER = 1.2


class Exchange:
    """
    I speak for one session.

    @ivar peerIncarnation: which run of the peer's program this is.
    @ivar dialId: the latest dial between the two, for updates.
    @ivar hosts: where the rendezvous has observed the peer.
    @ivar offering: whether an offer of ours to resume is on its way.
    """

    log = Logger()

    def __init__(self, context: Context, session: Session, carrier: Carrier) -> None:
        self.context = context
        self.session = session
        self.carrier = carrier
        self.peerIncarnation: str | None = None
        self.dialId = session.dialId
        self.offering = False
        self._restarts = 0
        self._stopped = False
        self._answered = False
        self._credentials: Credentials | None = None
        self._sequence = 0
        self._told: set[Address] = set()
        self.hosts: set[str] = set()
        context.gathering.subscribe(self.localLearned, self.localLost)

    def stop(self) -> None:
        """
        There is nothing more to say.
        """
        self._stopped = True
        context = self.context
        context.gathering.unsubscribe(self.localLearned, self.localLost)
        if context.relay is not None:
            context.relay.forget(self)

    # --- offers and answers

    def offer(self) -> bytes:
        """
        @return: the sealed offer for a new session; checks begin as its answer
            comes.
        """
        context, session = self.context, self.session
        agent = makeAgent(context, controlling=True)
        self.carrier.useAgent(agent)
        self._tell()
        return makeOffer(context, session.peerId, session.dialId, agent)

    def takeAnswer(
        self, sealedOffer: bytes, sealed: bytes, observed: Sequence[Address]
    ) -> bytes:
        """
        @return: the nonce in the answer.

        @raise OfferError: it is not the peer's answer to our offer.
        """
        answer = self._open(sealedOffer, sealed, self.session.dialId)
        if answer.refusal:
            raise PeerUnavailable()
        self.peerIncarnation = answer.incarnation
        self._takeRemote(answer, observed)
        return bytes.fromhex(answer.nonce)

    def answer(
        self, offer: Offer, sealed: bytes, observed: Sequence[Address]
    ) -> tuple[bytes, bytes]:
        """
        Take the peer's offer, for a new session or for new paths.

        @return: the sealed answer and the nonce in it.
        """
        context, session = self.context, self.session
        controlling = session.role == "dialler"
        self.peerIncarnation = offer.incarnation
        # An offer of ours that is on its way is void.
        self._restarts += 1
        self.dialId = offer.dialId
        self._sequence = 0
        agent = makeAgent(context, controlling)
        # The peer begins when it has our answer.
        agent.setOpener(context.openerTtl)
        self.carrier.useAgent(agent)
        self._tell()
        self._takeRemote(offer, observed)
        nonce = context.entropy(_NONCE)
        return (
            makeAnswer(context, session.peerId, offer.dialId, agent, sealed, nonce),
            nonce,
        )

    def offerAgain(self) -> Deferred[None]:
        """
        Ask the peer for new paths through the rendezvous.

        @return: fires when its answer was taken.
        """
        context, session = self.context, self.session
        agent = makeAgent(context, session.role == "dialler")
        dialId = context.entropy(12).hex()
        sealed = makeOffer(
            context, session.peerId, dialId, agent, resume=session.dialId
        )
        self.offering = True
        self._restarts = restart = self._restarts + 1

        def answered(got: DialAnswer) -> None:
            answer = self._open(sealed, got.answer, dialId)
            if answer.refusal:
                session.disowned(answer.incarnation != self.peerIncarnation)
                raise PeerUnavailable("The peer knows nothing of this session.")
            if self._restarts != restart:
                raise PeerUnavailable("The peer asked for new paths itself.")
            self.dialId = dialId
            self._sequence = 0
            self.carrier.useAgent(agent)
            self._tell()
            self._takeRemote(answer, got.observed)
            self.carrier.speculate()
            self.beginChecks()

        def over(result: object) -> object:
            self.offering = False
            return result

        dialled = context.link.dial(session.peerId, dialId, sealed, [])
        return dialled.addCallback(answered).addBoth(over)

    def _open(self, sealedOffer: bytes, sealed: bytes, dialId: str) -> Answer:
        return Answer.open(
            sealed,
            expectedSender=self.session.peerId,
            expectedRecipient=self.context.identity.peerId,
            offer=sealedOffer,
            dialId=dialId,
        )

    def _takeRemote(self, signed: Offer | Answer, observed: Sequence[Address]) -> None:
        agent = self.carrier.agent
        assert agent is not None
        try:
            credentials = credentialsOf(signed)
        except ValueError as e:
            raise AuthenticationFailed(f"The peer's ICE credentials: {e}.") from e
        if self.context.rtt is not None and signed.rtt:
            rtt = (self.context.rtt + signed.rtt) / 2
            early = isinstance(signed, Offer)
            agent.setRtt(rtt * _AFTER_THE_ANSWER if early else rtt)
        self._credentials = credentials
        self.hosts = {host for host, _ in observed}
        self._addRemote(theirCandidates(signed.candidates, observed))
        self._answered = True

    def beginChecks(self) -> None:
        """
        Check the pairs that there are since the last offer or answer was taken.
        """
        agent, credentials = self.carrier.agent, self._credentials
        self._credentials = None
        if agent is not None and credentials is not None:
            self.carrier.ice(agent.setRemoteCredentials, credentials)
            self.context.afterReading(self._trickleLate)

    # --- candidates

    def _addRemote(self, candidates: Sequence[Candidate]) -> None:
        agent = self.carrier.agent
        if agent is None:
            return
        if self.context.mode == "direct":
            wanted = [c for c in candidates if c.type is not CandidateType.RELAY]
            self.carrier.refuse({c.address for c in candidates if c not in wanted})
            candidates = wanted
        self._permit({candidate.address[0] for candidate in candidates})
        for candidate in candidates:
            self.carrier.addRemote(candidate.address)
            self.carrier.ice(agent.addRemoteCandidate, candidate)
        # What is trickled later begins a round of its own.
        self.carrier.ice(agent.endOfCandidates)
        self.carrier.speculate()

    def _permit(self, hosts: set[str]) -> None:
        # The relay has time until the peer has heard of it.
        self.context.afterReading(lambda: self._permitted(hosts))

    def _permitted(self, hosts: set[str]) -> None:
        if self.context.relay is not None and not self._stopped:
            self.context.relay.permit(self, hosts)

    def remoteLearned(self, remote: Address) -> None:
        """
        The peer came from one more address: let it in at the relay too.
        """
        self._permit({remote[0]})

    def _tell(self) -> None:
        """
        All candidates of this moment are in the offer or answer.
        """
        self._answered = False
        self._told = {each.address for each in self.context.gathering.candidates()}

    def _trickleLate(self) -> None:
        """
        Tell what came up between an offer and its answer.
        """
        for candidate in self.context.gathering.candidates():
            self.localLearned(candidate)

    def localLearned(self, candidate: Candidate) -> None:
        """
        We have one more address: use it, and tell the peer (RFC 8838).
        """
        agent = self.carrier.agent
        if agent is None:
            return
        self.carrier.ice(agent.addLocalCandidate, candidate)
        self.carrier.speculate()
        # The dialler may speak before it is answered, the listener not.
        mayTell = self._answered or self.session.role == "dialler"
        if not mayTell or candidate.address in self._told:
            return
        self._told.add(candidate.address)
        paths = self.carrier.paths
        if paths.current is not None:
            told = json.dumps([candidate.toDict()]).encode()
            self.session.streams.sendCandidate(told)
            if not paths.inDoubt(self.context.clock.seconds()):
                return
        update = makeUpdate(
            self.context,
            self.session.peerId,
            self.dialId,
            self.session.role,
            self._sequence,
            [candidate],
        )
        self._sequence += 1
        self.context.link.trickle(self.dialId, update, [])

    def localLost(self, candidate: Candidate) -> None:
        """
        An address of ours is gone; and so are the peer's on a relay that stops, if
        there is another way.
        """
        agent = self.carrier.agent
        if agent is None:
            return
        self.carrier.ice(agent.removeLocalCandidate, candidate)
        host = self.context.gathering.deserted
        theirs = {
            pair.remote.address
            for pair in agent.pairs
            if pair.remote.type is CandidateType.RELAY
            and pair.remote.address[0] == host
        }
        if any(pair.remote.address not in theirs for pair in agent.validPairs):
            for address in theirs:
                self.carrier.ice(agent.removeRemoteCandidate, address)

    def updated(self, sealed: bytes) -> None:
        """
        The peer has more addresses, it says through the rendezvous.
        """
        role: Role = "listener" if self.session.role == "dialler" else "dialler"
        try:
            update = Update.open(
                sealed,
                expectedSender=self.session.peerId,
                expectedRecipient=self.context.identity.peerId,
                dialId=self.dialId,
                role=role,
            )
        except OfferError as e:
            self.log.debug("An update was dropped: {error}", error=str(e))
            return
        self._addRemote(theirCandidates(update.candidates, ()))

    def candidateReceived(self, data: bytes) -> None:
        """
        The peer has more addresses, it says inside the session.
        """
        try:
            told = json.loads(data)
        except ValueError:
            return
        if isinstance(told, dict) and "traversal" in told:
            self.session.attempts.traversal.told(told)
        elif isinstance(told, list):
            dicts = [each for each in told if isinstance(each, dict)]
            self._addRemote(theirCandidates(dicts, ()))

"""
Questions to STUN servers: Binding requests with a name, sent again quickly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from punchd.core import Address, Datagram, Entropy
from punchd.errors import MalformedMessage
from punchd.stun.message import (
    TRANSACTION_ID,
    Message,
    MessageClass,
    Method,
    parse,
    request,
)
from punchd.stun.transaction import Schedule, Transaction

#: The round trip in seconds that is assumed before one was measured.
INITIAL_RTT: Final = 0.1

#: Waits of a question that may well stay without an answer, in round trips:
#: six sendings, so that one in five packets may be lost.
_WAITS: Final = (1.0, 1.0, 1.5, 2.0, 3.0, 4.0)

_LEAST: Final = 0.05
_MOST: Final = 0.5


def patience(rtt: float) -> Schedule:
    """
    @return: the waits for questions whose silence is an answer, too: 12.5 round
        trips together, of which each counts for 50 to 500 ms.
    """
    unit = min(max(rtt, _LEAST), _MOST)
    return tuple(unit * wait for wait in _WAITS)


@dataclass(slots=True)
class Question:
    """
    One Binding request.

    @ivar name: what it is about.
    @ivar local: the socket that it leaves from.
    @ivar askedAt: when it left first, in seconds.
    @ivar sentAt: when it left last.
    @ivar replyPort: the local port at which the answer is expected.
    """

    name: object
    local: Address
    askedAt: float
    sentAt: float
    transaction: Transaction
    replyPort: int


@dataclass(frozen=True, slots=True)
class Reply:
    """
    What came back.

    @ivar message: the response, or L{None} when the waits are over.
    @ivar rtt: seconds, if the question was sent once.
    """

    question: Question
    message: Message | None
    local: Address
    remote: Address
    rtt: float | None

    @property
    def succeeded(self) -> bool:
        """
        Whether it is a success response.
        """
        return (
            self.message is not None
            and self.message.messageClass is MessageClass.SUCCESS
        )


class Questions:
    """
    I am those that are not answered yet.

    Sockets are known by their ports: the host of a bound address may be the
    wildcard, that of a received datagram's destination is not.
    """

    def __init__(self, entropy: Entropy) -> None:
        self._entropy = entropy
        self._open: dict[bytes, Question] = {}
        self._datagrams: list[Datagram] = []
        self._seen: dict[bytes, object] = {}

    def __len__(self) -> int:
        return len(self._open)

    def ask(
        self,
        name: object,
        local: Address,
        server: Address,
        schedule: Schedule,
        now: float,
        *attributes: tuple[int, object],
        replyTo: Address | None = None,
    ) -> None:
        """
        Ask.

        @param replyTo: the socket that the answer is sent to, if it is another
            one (RESPONSE-PORT).
        """
        transactionId = self._entropy(TRANSACTION_ID)
        message = request(Method.BINDING, transactionId, *attributes)
        transaction = Transaction(
            message.serialize(), server, transactionId, now, schedule, local
        )
        self._open[transactionId] = Question(
            name, local, now, now, transaction, (replyTo or local)[1]
        )
        self._seen[transactionId] = name
        self._send(self._open[transactionId], now)

    def _send(self, question: Question, now: float) -> bool:
        datagram = question.transaction.poll(now)
        if datagram is None:
            return False
        question.sentAt = now
        self._datagrams.append(datagram)
        return True

    def cancel(self, *names: object) -> None:
        """
        Forget the questions of these names.
        """
        self._open = {k: q for k, q in self._open.items() if q.name not in names}

    def received(
        self, data: bytes, local: Address, remote: Address, now: float
    ) -> Reply | None:
        """
        @return: the reply that this is, or L{None}.
        """
        try:
            message = parse(data)
        except MalformedMessage:
            return None
        question = self._open.get(message.transactionId)
        if (
            question is None
            or message.method != Method.BINDING
            or message.messageClass not in (MessageClass.SUCCESS, MessageClass.ERROR)
            or not _fits(message, question, local)
        ):
            return None
        del self._open[message.transactionId]
        rtt = question.transaction.finish(now)
        return Reply(question, message, local, remote, rtt)

    def own(self, data: bytes) -> object | None:
        """
        @return: the name of the question of ours that came back to us as a
            request, or L{None}.
        """
        try:
            message = parse(data)
        except MalformedMessage:
            return None
        if message.messageClass is not MessageClass.REQUEST:
            return None
        return self._seen.get(message.transactionId)

    def poll(self, now: float) -> list[Reply]:
        """
        Send again what is due.

        @return: the questions that will not be answered.
        """
        silent = []
        for key, question in list(self._open.items()):
            if not self._send(question, now) and question.transaction.timedOut:
                del self._open[key]
                where = question.transaction.destination
                silent.append(Reply(question, None, question.local, where, None))
        return silent

    def takeDatagrams(self) -> Sequence[Datagram]:
        """
        @return: what to send.
        """
        taken, self._datagrams = self._datagrams, []
        return taken

    def deadline(self) -> float | None:
        """
        @return: when L{poll} wants to be called.
        """
        due = (question.transaction.deadline for question in self._open.values())
        return min((each for each in due if each is not None), default=None)


def _fits(message: Message, question: Question, local: Address) -> bool:
    """
    @return: whether a response came to the socket where it was expected; errors
        come back to where the request came from.
    """
    if message.messageClass is MessageClass.ERROR:
        return local[1] in (question.local[1], question.replyPort)
    return local[1] == question.replyPort

"""
The client's requests, until they are answered: retransmission, integrity, and
the second try with a realm or a nonce that the server has told.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, Final

from punchd.core import Address, Datagram, Entropy
from punchd.stun.attributes import Attribute
from punchd.stun.message import TRANSACTION_ID, Message, MessageClass, Method, request
from punchd.stun.transaction import Transaction, fastSchedule

from .credentials import PasswordAlgorithm, longTermKey
from .nonce import promisesAlgorithms

Attributes = tuple[tuple[int, Any], ...]

#: Password algorithms with their parameters, as a server offers them.
Algorithms = list[tuple[int, bytes]]

_KNOWN = (PasswordAlgorithm.SHA256, PasswordAlgorithm.MD5)

#: Called with the response, or L{None} when none came, and the time.
Answered = Callable[[Message | None, float], None]

#: How often one request is made again with a fresh nonce or realm.
MAX_RETRIES: Final = 2

#: The round trip in seconds that is assumed before one is measured.
INITIAL_RTT: Final = 0.1

#: Over a stream nothing is sent twice (RFC 8489, 6.2.2): so many seconds without
#: an answer, and it has failed.
STREAM_SCHEDULE: Final = (8.0,)


class Request:
    """
    @ivar retries: how often it has been made again.
    @ivar nonce: the nonce it carries, L{None} without credentials.
    """

    __slots__ = ("answered", "attributes", "method", "nonce", "retries", "transaction")

    def __init__(
        self,
        method: int,
        attributes: Attributes,
        answered: Answered,
        transaction: Transaction,
        nonce: bytes | None,
        retries: int,
    ) -> None:
        self.method = method
        self.attributes = attributes
        self.answered = answered
        self.transaction = transaction
        self.nonce = nonce
        self.retries = retries


class Requests:
    """
    I ask the server, and bring each answer to who has asked.

    @ivar rtt: the expected round trip in seconds; it is measured on the way.
    @ivar deadline: when L{timeReached} has something to do.
    """

    def __init__(
        self,
        server: Address,
        entropy: Entropy,
        out: Callable[[Datagram], None],
        counters: Counter[str],
        *,
        reliable: bool = False,
    ) -> None:
        """
        @param out: sends a datagram.
        @param counters: what was dropped, by reason.
        @param reliable: whether what is sent arrives, as over TCP.
        """
        self._reliable = reliable
        self._server = server
        self._entropy = entropy
        self._out = out
        self._counters = counters
        self._requests: dict[bytes, Request] = {}
        self._username = ""
        self._password = ""
        self._realm = ""
        self._nonce = b""
        self._key: bytes | None = None
        self._offered: Algorithms | None = None
        self._algorithm = PasswordAlgorithm.MD5
        self.rtt = INITIAL_RTT
        self.deadline: float | None = None

    @property
    def signing(self) -> bool:
        """
        Whether requests are signed: realm and nonce are known.
        """
        return self._key is not None

    def setCredentials(
        self, username: str, password: str, realm: str, nonce: bytes
    ) -> None:
        """
        @param realm: empty when it is not known yet.
        @param nonce: likewise.
        """
        self._username, self._password = username, password
        self._realm, self._nonce = realm, nonce
        self._offered, self._algorithm = None, PasswordAlgorithm.MD5
        self._makeKey()

    def _makeKey(self) -> None:
        self._key = None
        if self._realm and self._nonce:
            self._key = longTermKey(
                self._username, self._realm, self._password, self._algorithm
            )

    def ask(
        self,
        method: int,
        attributes: Attributes,
        answered: Answered,
        now: float,
        retries: int = 0,
    ) -> None:
        """
        Make a request.
        """
        transactionId = self._entropy(TRANSACTION_ID)
        message = request(method, transactionId, *attributes)
        nonce = None
        if self._key is not None:
            nonce = self._nonce
            message.add(Attribute.USERNAME, self._username)
            message.add(Attribute.REALM, self._realm)
            message.add(Attribute.NONCE, nonce)
        if self._key is not None and self._offered is not None:
            # What we have been offered, signed: nobody took away the better one.
            message.add(Attribute.PASSWORD_ALGORITHMS, self._offered)
            message.add(Attribute.PASSWORD_ALGORITHM, (int(self._algorithm), b""))
        # A relay does not eat first packets as NATs do: one and a half round
        # trips pass before the second.
        transaction = Transaction(
            message.serialize(
                key=self._key, integrity="sha1" if self._offered is None else "sha256"
            ),
            self._server,
            transactionId,
            now,
            STREAM_SCHEDULE if self._reliable else fastSchedule(3 * self.rtt),
        )
        self._requests[transactionId] = Request(
            method, attributes, answered, transaction, nonce, retries
        )
        self._poll(transaction, now)
        self._arm()

    def expects(self, transactionId: bytes) -> bool:
        """
        @return: whether a request with that id waits for its answer.
        """
        return transactionId in self._requests

    def clear(self) -> None:
        """
        Forget all, unanswered.
        """
        self._requests.clear()
        self.deadline = None

    def responseReceived(self, message: Message, now: float) -> None:
        """
        A message came from the server.
        """
        what = self._requests.get(message.transactionId)
        if (
            what is None
            or what.method != message.method
            or message.messageClass not in (MessageClass.SUCCESS, MessageClass.ERROR)
        ):
            self._counters["stray response"] += 1
            return
        # A success must be signed.  An error is believed unsigned as it knows
        # the transaction id: it may be about our very credentials.
        signed = self._key is not None and message.checkIntegrity(self._key)
        if not signed and (
            message.messageClass is MessageClass.SUCCESS or message.hasIntegrity
        ):
            self._counters["bad integrity"] += 1
            return
        del self._requests[message.transactionId]
        rtt = what.transaction.finish(now)
        if rtt is not None:
            self.rtt = rtt
        self._arm()
        if not self._again(what, message, now):
            what.answered(message, now)

    def timeReached(self, now: float) -> None:
        """
        Retransmit, and give up where that has been done often enough.
        """
        if self.deadline is None or now < self.deadline:
            return
        failed = []
        for transactionId, what in list(self._requests.items()):
            self._poll(what.transaction, now)
            if what.transaction.timedOut:
                del self._requests[transactionId]
                failed.append(what)
        self._arm()
        for what in failed:
            what.answered(None, now)

    def _again(self, what: Request, message: Message, now: float) -> bool:
        """
        Take realm and nonce from a 401 or 438 and make the request again
        (RFC 8489, 9.2.5).

        @return: whether that was possible.
        """
        code = codeOf(message)
        nonce = message.get(Attribute.NONCE)
        realm = message.get(Attribute.REALM, self._realm)
        if code not in (401, 438) or not nonce or not realm:
            return False
        if what.retries >= MAX_RETRIES:
            return False
        if code == 401 and what.nonce is not None and realm == self._realm:
            return False  # it is the password that is wrong
        # Of several requests that met the same stale nonce, the first brings
        # a new one for all.
        if what.nonce is None or what.nonce == self._nonce:
            offered = message.get(Attribute.PASSWORD_ALGORITHMS)
            # An allocation keeps the key that it was made with.
            if what.method == Method.ALLOCATE and not self._choose(nonce, offered):
                self._counters["bid down"] += 1
                return False
            self._realm, self._nonce = realm, nonce
            self._makeKey()
        self.ask(what.method, what.attributes, what.answered, now, what.retries + 1)
        return True

    def _choose(self, nonce: bytes, offered: Algorithms | None) -> bool:
        """
        Choose a password algorithm (RFC 8489, 9.2.5).

        @return: whether there is one, and nobody has taken a better one away.
        """
        if offered is None:
            # The nonce comes back signed: who wants us to use MD5 cannot change it.
            return not promisesAlgorithms(nonce) and self._offered is None
        numbers = {number for number, parameters in offered if not parameters}
        chosen = next((each for each in _KNOWN if each in numbers), None)
        if chosen is None:
            return False
        if self._offered is not None and chosen < self._algorithm:
            return False
        self._offered, self._algorithm = offered, chosen
        return True

    def _poll(self, transaction: Transaction, now: float) -> None:
        datagram = transaction.poll(now)
        if datagram is not None:
            self._out(datagram)

    def _arm(self) -> None:
        self.deadline = min(
            (
                each.transaction.deadline
                for each in self._requests.values()
                if each.transaction.deadline is not None
            ),
            default=None,
        )


def codeOf(message: Message | None) -> int:
    """
    @return: the error code of a response; 0 without one, or without response.
    """
    if message is None or message.messageClass is not MessageClass.ERROR:
        return 0
    code: int = message.get(Attribute.ERROR_CODE, (400, ""))[0]
    return code


def reasonOf(message: Message | None) -> str:
    """
    @return: why it failed, in words.
    """
    if message is None:
        return "no answer"
    code, reason = message.get(Attribute.ERROR_CODE, (0, ""))
    # Coturn ends its reasons with a NUL.
    return f"{code} {reason}".strip("\0 ") if code else "an answer without an address"

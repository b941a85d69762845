"""
One class a cause.  The docstring of a class is the sentence that a user reads
when the error carries no text of its own.

A L{LocalError} says that the caller or the user asked for something wrong; a
L{RemoteError} says that the other side, or the network, let us down.
"""

from __future__ import annotations


class PunchError(Exception):
    """
    Something went wrong.
    """

    def __str__(self) -> str:
        text = super().__str__()
        return text or " ".join((self.__doc__ or type(self).__name__).split())


class LocalError(PunchError):
    """
    The request cannot be carried out.
    """


class RemoteError(PunchError):
    """
    The other side did not do its part.
    """


# --- the core ---------------------------------------------------------------


class MalformedMessage(RemoteError):
    """
    The bytes are not a STUN message.
    """


# --- configuration and state folder -----------------------------------------


class InvalidOption(LocalError):
    """
    An option has a value that cannot be used.
    """


class StateError(LocalError):
    """
    The state folder cannot be used.
    """


class KeyFileError(StateError):
    """
    The key file cannot be used.
    """


class InvalidURL(InvalidOption):
    """
    That is not the URL of a rendezvous.
    """


class PortUnavailable(LocalError):
    """
    A port that is to be listened on cannot be had.
    """


class UnknownPeer(LocalError):
    """
    No peer of that name is known.
    """


class ClientNotRunning(LocalError):
    """
    No client is running on this state folder.
    """


class ControlError(LocalError):
    """
    The running client did not answer as it should.
    """


class NoSuchPlugin(LocalError):
    """
    No plugin of that name is installed.
    """


class DuplicatePlugin(LocalError):
    """
    Two plugins have the same name.
    """


# --- the rendezvous and the peer --------------------------------------------


class RendezvousUnreachable(RemoteError):
    """
    The rendezvous cannot be reached.
    """


class ProxyFailed(RemoteError):
    """
    The HTTP proxy does not lead there.
    """


class FingerprintMismatch(RemoteError):
    """
    The rendezvous showed another key than the one in its URL.
    """


class RendezvousRefused(RemoteError):
    """
    The rendezvous does not take this registration.
    """


class CertificateRejected(RemoteError):
    """
    Nobody whom this machine trusts vouches for the rendezvous, and its URL
    names no fingerprint; expected --rendezvous=URL as the rendezvous printed it.
    """


class Replaced(RemoteError):
    """
    The same identity has registered from somewhere else.
    """


class PeerUnavailable(RemoteError):
    """
    The peer is offline, unknown, or does not let you in.
    """


class PairingFailed(RemoteError):
    """
    The invitation could not be used.
    """


class OfferError(RemoteError):
    """
    A signed message of the peer cannot be accepted.
    """


class MalformedOffer(OfferError):
    """
    A signed message of the peer has a form that nobody writes.
    """


class ForgedOffer(OfferError):
    """
    A message was not signed by the peer it claims to come from.
    """


class MisdirectedOffer(OfferError):
    """
    A signed message was meant for another peer or another dial.
    """


class StaleOffer(OfferError):
    """
    An offer was signed too long ago, or in the future; are both clocks right?
    """


class ReplayedOffer(OfferError):
    """
    An offer has come a second time.
    """


class NotAllowed(RemoteError):
    """
    The peer does not let you use that service.
    """


class NoSuchService(RemoteError):
    """
    The peer publishes no service of that name.
    """


class ServiceFailed(RemoteError):
    """
    The peer could not connect to the program behind the service.
    """


class AuthenticationFailed(RemoteError):
    """
    The other side could not prove to be the peer that was dialled.
    """


class ProtocolViolation(RemoteError):
    """
    The peer said something that the protocol does not allow.
    """


class DatagramTooLarge(LocalError):
    """
    The message does not fit into one datagram.
    """


class SessionLost(RemoteError):
    """
    The session to the peer ended.
    """


class PeerRestarted(SessionLost):
    """
    The peer was started anew and knows nothing of this session.
    """


class PathsExhausted(SessionLost):
    """
    No path to the peer worked for as long as patience allowed.
    """


class RelayRefused(RemoteError):
    """
    The relay refused to serve.
    """

    def __init__(self, text: str = "", code: int | None = None) -> None:
        super().__init__(*([text] if text else []))
        self.code = code

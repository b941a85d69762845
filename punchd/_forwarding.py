"""
The interfaces of what leads programs to services of peers, and peers to programs;
they are a part of L{punchd.interfaces}.
"""

from __future__ import annotations

from twisted.plugin import IPlugin
from zope.interface import Attribute, Interface


class IForwarder(IPlugin):
    """
    A plugin that serves one kind of endpoints of C{--forward} and C{--publish}.
    """

    name = Attribute(
        "The kind: what stands before the first colon of an endpoint.  A lower-case "
        "letter, then lower-case letters, digits and hyphens; no two plugins have the "
        "same.  It goes before an endpoint of Twisted's."
    )
    targeted = Attribute(
        "Whether C{=PEER/NAME} follows an endpoint of C{--forward}; if not, who "
        "connects says whom he wants to reach."
    )

    def forward(rule, home):  # type: ignore[no-untyped-def]
        """
        Lead programs here to services of peers.

        @param rule: a L{punchd.forward.rules.Forward}, with C{endpoint}, C{peer}
            and C{service}; the last two are empty if this is not C{targeted}.
        @param home: an L{IHome}.

        @return: an L{IService<twisted.application.service.IService>} that opens
            nothing before it starts; it may never be started.  Where nobody can
            listen, it raises L{punchd.errors.InvalidOption} from
            C{privilegedStartService}.  When it has stopped, all is closed.

        @raise ValueError: the endpoint cannot be used, and why, in some words that
            follow the option, its value and a colon.
        """

    def publish(rule, home):  # type: ignore[no-untyped-def]
        """
        Lead peers to a program here.

        @param rule: a L{punchd.forward.rules.Publication}, with C{name} and
            C{endpoint}.
        @param home: an L{IHome}.

        @return: a function that is called with the id of a peer that is allowed to,
            and a L{punchd.session.stream.Stream} of his, to be accepted or refused
            then or later.

        @raise ValueError: as of L{forward}.
        """


class IHome(Interface):
    """
    What forwarders work with.
    """

    network = Attribute("The L{INetwork}; its C{reactor} is the one to use.")

    def open(peer, service, datagrams=False):  # type: ignore[no-untyped-def]
        """
        Open a stream to a service of a peer, dialling the peer if need be.

        @param peer: a petname or a peer id.
        @param datagrams: whether the stream is there for datagrams.

        @return: a L{Deferred<twisted.internet.defer.Deferred>} of a
            L{punchd.session.stream.Stream}, to which may be written at once.  Its
            C{whenOpen} tells whether the peer has let it in; it may be attached to
            a protocol before.  To cancel the deferred gives the stream up.  Fails
            with a L{punchd.errors.PunchError} that says why.
        """

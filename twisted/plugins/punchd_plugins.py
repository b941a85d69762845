"""
What Twisted finds of punchd: two C{twistd} commands, the C{punch:} endpoints,
the sources of candidates, and whom a rendezvous admits.  This file is loaded by
every C{twistd} on the machine, so it imports nothing heavy.
"""

from twisted.application.service import ServiceMaker

from punchd._parsers import PunchClientParser, PunchServerParser
from punchd.forward.plugins import EndpointKind
from punchd.nat.plugins import Predictor
from punchd.net.plugins import TCP as RelayTCP
from punchd.net.plugins import TLS as RelayTLS
from punchd.net.plugins import UDP as RelayUDP
from punchd.portmap.plugins import PortMapping
from punchd.services.plugins import Admission, LogSink, Memory
from punchd.traversal.builtin import (
    TCP,
    Fresh,
    Optimistic,
    Prediction,
    Reversal,
    Spray,
)
from punchd.traversal.policy import Kind, Quality

rendezvous = ServiceMaker(
    "punchd rendezvous",
    "punchd.tap.rendezvous",
    "Introduce punchd clients to each other, and relay where no hole can be made.",
    "punch-rendezvous",
)

client = ServiceMaker(
    "punchd client",
    "punchd.tap.client",
    "Publish services to peers behind NATs, and forward ports to theirs.",
    "punch-client",
)

punchClient = PunchClientParser()
punchServer = PunchServerParser()

# The greater number is preferred: PCP can open IPv6 and tells whose a mapping is.
pcp = PortMapping("pcp", 30, (4, 6), "punchd.portmap.asking:PCPSearch")
natpmp = PortMapping("natpmp", 20, (4,), "punchd.portmap.asking:NATPMPSearch")
upnp = PortMapping("upnp", 10, (4,), "punchd.portmap.upnp:UPnPSearch")

preserving = Predictor(
    "preserving", "preserving", "The outside port is the socket's own."
)
sequential = Predictor("sequential", "sequential", "Each flow gets the next port.")
parity = Predictor(
    "parity", "parity", "Any port that is odd or even as the socket's is."
)
block = Predictor("block", "block", "Any port of a block.")
random = Predictor("random", "random", "Any port at all.")

reversal = Reversal()
fresh = Fresh()
predicted = Prediction()
spray = Spray()
optimistic = Optimistic()
tcp = TCP()

quality = Quality()
kind = Kind()

users = Admission(
    "users",
    "punchd.services.admission:users",
    "users:FILE lets users of a file use the relay.",
)
secret = Admission(
    "secret",
    "punchd.services.admission:sharedSecret",
    "secret:FILE lets those use the relay to whom a holder of the secret lends it.",
)
peers = Admission(
    "peers",
    "punchd.services.admission:peers",
    "peers:FILE lets only the peers of a file register.",
)

streams = EndpointKind(
    "tcp",
    "punchd.forward.streams",
    "Connections, at tcp: and all other endpoints of Twisted's.",
)
datagrams = EndpointKind(
    "udp", "punchd.forward.datagrams", "Datagrams, with a stream for each user."
)

memory = Memory()
log = LogSink()

relayUDP, relayTCP, relayTLS = RelayUDP, RelayTCP, RelayTLS

stdio = EndpointKind(
    "stdio", "punchd.forward.standard", "Standard input and output, as punchd connect."
)

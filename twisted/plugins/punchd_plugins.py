"""
What Twisted finds of punchd: two C{twistd} commands, the C{punch:} endpoints,
the sources of candidates, and whom a rendezvous admits.  This file is loaded by
every C{twistd} on the machine, so it imports nothing heavy.
"""

from twisted.application.service import ServiceMaker

from punchd._parsers import PunchClientParser, PunchServerParser
from punchd.nat.plugins import Predictor
from punchd.portmap.plugins import PortMapping
from punchd.services.plugins import Admission
from punchd.traversal.builtin import TCP, Prediction, Spray

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

preserving = Predictor("preserving", "preserving")
sequential = Predictor("sequential", "sequential")
parity = Predictor("parity", "parity")
block = Predictor("block", "block")
random = Predictor("random", "random")

predicted = Prediction()
spray = Spray()
tcp = TCP()

users = Admission("users", "punchd.services.admission:users")
secret = Admission("secret", "punchd.services.admission:sharedSecret")
peers = Admission("peers", "punchd.services.admission:peers")

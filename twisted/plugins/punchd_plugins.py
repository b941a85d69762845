"""
What Twisted finds of punchd: two C{twistd} commands and the C{punch:}
endpoints.  This file is loaded by every C{twistd} on the machine, so it
imports nothing heavy.
"""

from twisted.application.service import ServiceMaker

from punchd._parsers import PunchClientParser, PunchServerParser

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

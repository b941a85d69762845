"""
punchd connects two programs that both sit behind NATs or firewalls.

L{punchd.services} holds the two Twisted services, L{punchd.endpoints} the
endpoints, L{punchd.interfaces} everything that a plugin may implement.
"""

__version__ = "0.1.0.dev0"

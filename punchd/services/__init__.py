"""
The rendezvous and the client as Twisted services, and what they keep.
"""

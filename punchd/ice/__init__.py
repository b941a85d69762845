"""
ICE (RFC 8445): which pairs of addresses work.
"""

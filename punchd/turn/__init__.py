"""
TURN (RFC 8656): the relay, both sides.
"""

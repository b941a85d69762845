"""
TURN (RFC 8656): the relay's two sides, without I/O.
"""

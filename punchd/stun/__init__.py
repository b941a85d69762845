"""
STUN (RFC 8489) as values: what it says, not how it is sent.

Nothing here reads a clock, opens a socket or makes up bytes.
"""

"""
STUN (RFC 8489): the wire of checks, of observation and of the relay.
"""

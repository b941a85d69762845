"""
Port mapping: a home router that is asked in its own network opens a port to us.
"""

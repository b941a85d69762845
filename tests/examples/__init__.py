"""
Tests for C{docs/examples}: what is shown works.
"""

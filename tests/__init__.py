"""
The tests mirror C{punchd/}; C{grid}, C{lab} and C{interop} test it whole.
"""

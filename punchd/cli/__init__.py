"""
The C{punchd} command.
"""

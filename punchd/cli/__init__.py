"""
The C{punchd} command.
"""

from .main import main

__all__ = ["main"]

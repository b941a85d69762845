"""
C{punchd id}.
"""

from __future__ import annotations

from .command import Command, Console


class IdOptions(Command):
    """
    Print the peer id, alone on the last line.
    """

    synopsis = "[--state=DIR]"
    longdesc = (
        "Prints the peer id by which others know this machine; the key is made "
        "on first use. Give it to your peers, who say `punchd peers add NAME ID`."
    )

    def run(self, console: Console) -> int:
        """
        @return: 0.
        """
        console.line(self.stateFolder().identity().peerId)
        return 0

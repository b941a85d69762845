"""
C{punchd why}.
"""

from __future__ import annotations

import json

from .command import Console, PeerCommand


class WhyOptions(PeerCommand):
    """
    Say in plain words why the path to a peer is what it is.
    """

    synopsis = "PEER"

    def run(self, console: Console) -> int:
        """
        @return: 0.
        """
        peer = self.stateFolder().resolve(self["peer"])
        answer = self.askClient(console, "why", peer=peer)
        if isinstance(answer, dict) and isinstance(answer.get("text"), str):
            # The client knows peers by their ids only.
            answer = answer["text"].replace(peer, self["peer"])
        if not isinstance(answer, str):
            answer = json.dumps(answer, indent=2)
        console.line(answer.rstrip())
        return 0

"""
C{punchd why}.
"""

from __future__ import annotations

import json

from .command import Console, PeerCommand


class WhyOptions(PeerCommand):
    """
    Say in plain words why the path to a peer is what it is, and what you could
    change.
    """

    synopsis = "[--json] PEER"
    optFlags = [["json", None, "Print JSON, for programs."]]

    def run(self, console: Console) -> int:
        """
        @return: 0.
        """
        peer = self.stateFolder().resolve(self["peer"])
        answer = self.askClient(console, "why", peer=peer)
        # The client knows peers by their ids only.
        answer["text"] = answer["text"].replace(peer, self["peer"])
        if self["json"]:
            console.line(json.dumps(answer, indent=2))
        else:
            console.line(answer["text"].rstrip())
        return 0

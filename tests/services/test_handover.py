"""
Streams of programs, joined to streams of sessions.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.error import ConnectionDone

from punchd.forward.serving import Serving
from punchd.services.handover import Handover
from punchd.session.credit import INITIAL_WINDOW
from punchd.session.flow import LOW_WATER
from tests.session.pair import Recorder
from tests.session.test_tube import ALICE, BOB, Two

CLIENT: Any = None


def test_slowProgram() -> None:
    """
    A program that reads late gets all, though the stream of the session has ended
    in good order meanwhile.
    """
    session = Two()
    alice, bob = Recorder(), Recorder()
    session.a.stream.attach(alice)
    session.run()
    serving = Serving()
    handover = Handover(session.clock, bytes, BOB, CLIENT, serving)
    told: list[dict[str, str]] = []
    handover.serve("chat", [ALICE], told.append)
    serving(ALICE, "chat", session.incoming[0])
    tube = handover.take(told[0]["incoming"])
    program = Two(session.clock, tube)
    program.run()
    program.incoming[0].accept(bob)
    program.incoming[0].pauseProducing()
    program.run()
    session.run()
    bob.transport.loseWriteConnection()
    program.run()
    # More than may be under way to the program, and less than makes the peer wait.
    data = bytes(INITIAL_WINDOW + LOW_WATER)
    alice.transport.write(data)
    alice.transport.loseConnection()
    for hop in 3 * (session, program):
        hop.run()
    assert session.incoming[0].disconnected
    assert isinstance(alice.reason, ConnectionDone)
    program.incoming[0].resumeProducing()
    program.run()
    assert bytes(bob.data) == data
    assert isinstance(bob.reason, ConnectionDone)

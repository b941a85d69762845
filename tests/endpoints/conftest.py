"""
Worlds on the running reactor.
"""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred

from .world import World


@pytest.fixture(params=[False, True], ids=["own", "running"])
def world(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Generator[World, None, None]:
    """
    Alice and Bob, with clients in this process or behind control sockets.
    """
    from twisted.internet import reactor

    world = World(reactor, tmp_path, request.param)
    yield world
    pytest_twisted.blockon(Deferred.fromCoroutine(world.stop()))

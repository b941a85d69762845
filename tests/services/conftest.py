"""
What the tests of the services share.
"""

from __future__ import annotations

from collections.abc import Generator

import pytest

from tests.services.meeting import Meeting


@pytest.fixture
def meeting() -> Generator[Meeting, None, None]:
    """
    A rendezvous, stopped and clean in the end.
    """
    made = Meeting()
    yield made
    made.stop()

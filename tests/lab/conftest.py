"""
What tests in the kernel lab share.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import ExitStack
from typing import Any

import pytest

from punchd.testing.lab import Lab, whyNot


@pytest.fixture(scope="session", autouse=True)
def labRunsHere() -> None:
    """
    Skip where there can be no lab; tests/conftest.py makes a failure of that when
    PUNCHD_REQUIRE_LAB is set.
    """
    reason = whyNot()
    if reason is not None:
        pytest.skip(reason)


@pytest.fixture
def makeLab() -> Generator[Callable[..., Lab], None, None]:
    """
    C{makeLab(kindA, kindB, **options)} opens a lab that ends with the test.
    """
    with ExitStack() as stack:

        def make(*args: Any, **kwargs: Any) -> Lab:
            return stack.enter_context(Lab(*args, **kwargs))

        yield make

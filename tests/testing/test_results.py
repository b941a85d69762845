"""
What a Deferred has come to.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from twisted.internet.defer import Deferred, fail, succeed

from punchd.testing.results import assertNoResult, failureResultOf, successResultOf


def testSuccess() -> None:
    """The result is returned."""
    assert successResultOf(succeed(3)) == 3


def testSuccessOfCoroutine() -> None:
    """Coroutines do as well as Deferreds."""

    async def three() -> int:
        return await succeed(3)

    assert successResultOf(three()) == 3


def testSuccessOfFailure() -> None:
    """A failure is no success, and is shown."""
    with pytest.raises(AssertionError, match="KeyError"):
        successResultOf(fail(KeyError()))


def testSuccessOfNothing() -> None:
    """No result is no success."""
    with pytest.raises(AssertionError, match="no result yet"):
        successResultOf(Deferred())


def testFailure() -> None:
    """The failure is returned, whether its type was asked for or not."""
    assert failureResultOf(fail(KeyError("x"))).check(KeyError)
    assert failureResultOf(fail(KeyError("x")), ValueError, KeyError).check(KeyError)


def testFailureOfAnotherType() -> None:
    """The wrong failure is an error that shows it."""
    with pytest.raises(AssertionError, match="ValueError expected"):
        failureResultOf(fail(KeyError("x")), ValueError)


def testFailureOfSuccessOrNothing() -> None:
    """Neither success nor nothing is a failure."""
    with pytest.raises(AssertionError, match="succeeded instead"):
        failureResultOf(succeed(1))
    with pytest.raises(AssertionError, match="no result yet"):
        failureResultOf(Deferred())


def testNoResult() -> None:
    """A Deferred is left as it was."""
    deferred: Deferred[int] = Deferred()
    assertNoResult(deferred)
    deferred.callback(4)
    assert successResultOf(deferred) == 4


@pytest.mark.parametrize("made", [lambda: succeed(1), lambda: fail(KeyError())])
def testNoResultOfResult(made: Callable[[], Deferred[int]]) -> None:
    """Any result is one too many."""
    with pytest.raises(AssertionError, match="no result expected"):
        assertNoResult(made())

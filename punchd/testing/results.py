"""
What a Deferred has come to, as plain functions for pytest.

They do what the methods of the same names of
L{twisted.trial.unittest.SynchronousTestCase} do.
"""

from __future__ import annotations

from collections.abc import Coroutine, Generator
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

_T = TypeVar("_T")


def _results(
    deferred: Deferred[_T]
    | Coroutine[Deferred[Any], Any, _T]
    | Generator[Deferred[Any], Any, _T],
) -> tuple[Deferred[_T], list[_T | Failure]]:
    if not isinstance(deferred, Deferred):
        deferred = Deferred.fromCoroutine(deferred)
    results: list[_T | Failure] = []
    deferred.addBoth(results.append)
    return deferred, results


def successResultOf(
    deferred: Deferred[_T]
    | Coroutine[Deferred[Any], Any, _T]
    | Generator[Deferred[Any], Any, _T],
) -> _T:
    """
    @return: the result that C{deferred} has now.

    @raise AssertionError: it has none, or has failed.
    """
    deferred, results = _results(deferred)
    if not results:
        raise AssertionError(f"success expected, no result yet: {deferred!r}")
    result = results[0]
    if isinstance(result, Failure):
        raise AssertionError(
            f"success expected, failed instead:\n{result.getTraceback()}"
        )
    return result


def failureResultOf(
    deferred: Deferred[Any] | Coroutine[Deferred[Any], Any, Any],
    *expected: type[BaseException],
) -> Failure:
    """
    @param expected: the exception types that are as good as each other; none
        stands for any.

    @return: the failure that C{deferred} has now.

    @raise AssertionError: it has none, or of another type.
    """
    deferred, results = _results(deferred)
    if not results:
        raise AssertionError(f"failure expected, no result yet: {deferred!r}")
    result = results[0]
    if not isinstance(result, Failure):
        raise AssertionError(f"failure expected, succeeded instead: {result!r}")
    if expected and not result.check(*expected):
        names = " or ".join(kind.__name__ for kind in expected)
        raise AssertionError(f"{names} expected:\n{result.getTraceback()}")
    return result


def assertNoResult(deferred: Deferred[Any]) -> None:
    """
    @raise AssertionError: C{deferred} has a result already.
    """
    results: list[object] = []

    def keep(result: _T) -> _T:
        results.append(result)
        return result

    deferred.addBoth(keep)
    if results:
        # It is reported here; left in the Deferred it would be logged too.
        deferred.addErrback(lambda _: None)
        raise AssertionError(f"no result expected, got {results[0]!r}")

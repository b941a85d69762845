"""
Hygiene: a test fails when it leaves an error in the log or in a Deferred, or a
delayed call or socket on the reactor, and when it takes too long.
"""

from __future__ import annotations

import faulthandler
import gc
import os
import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, cast

import pytest
import pytest_twisted
from twisted.internet import defer, task
from twisted.internet.interfaces import IReactorFromThreads
from twisted.logger import (
    ILogObserver,
    LogEvent,
    LogLevel,
    formatEvent,
    globalLogBeginner,
    globalLogPublisher,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from tests.drawn import examples, registerProfiles

#: How long a test may take, in seconds, unless C{@pytest.mark.timeout} says more.
DEFAULT_TIMEOUT = 150.0

#: How many seconds after that a test that does not end takes its process along.
LAST_ALARM = 10

#: With this set, a test of the kernel lab or of interoperation may not be skipped.
REQUIRE_LAB = "PUNCHD_REQUIRE_LAB"

registerProfiles()

_HERE = Path(__file__).parent
_FOLDER_MARKS = ("lab", "interop")


# --- what is logged ----------------------------------------------------------


@implementer(ILogObserver)
class LoggedErrors:
    """
    The failures and critical events that were logged during one test.
    """

    def __init__(self) -> None:
        self.events: list[LogEvent] = []

    def __call__(self, event: LogEvent) -> None:
        if "log_failure" in event or event.get("log_level") is LogLevel.critical:
            self.events.append(event)

    def flush(self, *types: type[BaseException]) -> list[Failure]:
        """
        Forget the logged failures of these types, or all, and return them: the
        test expected them.
        """
        gc.collect()
        taken, kept = [], []
        for event in self.events:
            # The older twisted.python.log calls it otherwise.
            failure = event.get("log_failure", event.get("failure"))
            if failure is not None and (not types or failure.check(*types)):
                taken.append(failure)
            else:
                kept.append(event)
        self.events[:] = kept
        return taken

    def describe(self) -> str:
        """
        @return: what is left, with tracebacks.
        """
        return "\n".join(
            (formatEvent(e) or "")
            + "\n"
            + (e["log_failure"].getTraceback() if "log_failure" in e else "")
            for e in self.events
        )


@pytest.fixture(scope="session", autouse=True)
def startedReactor() -> None:
    """
    The reactor's own descriptors are there before the first test.
    """
    from twisted.internet import reactor

    pytest_twisted.blockon(task.deferLater(reactor, 0, lambda: None))


@pytest.fixture(autouse=True)
def hygiene(startedReactor: None) -> Generator[LoggedErrors, None, None]:
    """
    Watch the log and the reactor for the time of one test.
    """
    from twisted.internet import reactor

    logged = LoggedErrors()
    before = _busy(reactor)
    globalLogPublisher.addObserver(logged)
    try:
        yield logged
        leaked = _settle(reactor, before)
        gc.collect()
    finally:
        globalLogPublisher.removeObserver(logged)
    problems = [f"left on the reactor: {thing!r}" for thing in leaked]
    for thing in leaked:
        _discard(reactor, thing)
    if logged.events:
        problems.append("logged:\n" + logged.describe())
    if problems:
        pytest.fail("\n".join(problems), pytrace=False)


@pytest.fixture
def flushLoggedErrors(
    hygiene: LoggedErrors,
) -> Callable[..., list[Failure]]:
    """
    C{flushLoggedErrors(*types)}: the failures logged so far, which then do not
    fail the test.
    """
    return hygiene.flush


def _busy(reactor: Any) -> set[Any]:
    return {
        *reactor.getDelayedCalls(),
        *reactor.getReaders(),
        *reactor.getWriters(),
    }


def _settle(reactor: Any, before: set[Any]) -> list[Any]:
    """
    What is on the reactor that was not there before, once what is closing had
    a few turns, and at most 0.3 seconds, to go.
    """
    leaked: list[Any] = []
    for turn in range(33):
        leaked = [thing for thing in _busy(reactor) if thing not in before]
        if not leaked:
            break
        wait = 0.0 if turn < 3 else 0.01
        # The wait's own call is over by the next look.
        pytest_twisted.blockon(task.deferLater(reactor, wait, lambda: None))
    return leaked


def _discard(reactor: Any, thing: Any) -> None:
    """
    Take a leaked thing off the reactor, so that only its own test fails.
    """
    if hasattr(thing, "cancel"):
        if thing.active():
            thing.cancel()
        return
    reactor.removeReader(thing)
    reactor.removeWriter(thing)


# --- time-outs ---------------------------------------------------------------


class _Watch:
    """
    The time-out of the running test, by SIGALRM.
    """

    def __init__(self) -> None:
        self.running: defer.Deferred[Any] | None = None
        self.message = ""
        self.alarms = 0

    def start(self, seconds: float) -> None:
        self.alarms = 0
        self.message = f"the test took longer than {seconds:g} s"
        signal.signal(signal.SIGALRM, self._alarm)
        # Again and again after that: what is interrupted may go on all the same.
        signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)

    def stop(self) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        self.running = None

    def _alarm(self, signum: int, frame: FrameType | None) -> None:
        from twisted.internet import reactor

        self.alarms += 1
        if self.alarms > LAST_ALARM:
            # Nothing helps; xdist reports the test as the one that crashed.
            faulthandler.dump_traceback()
            os._exit(70)
        waitedFor = self.running
        if waitedFor is not None:
            cast(IReactorFromThreads, reactor).callFromThread(waitedFor.cancel)
        # An exception amid the reactor's own code may leave it in pieces, and one
        # while it waits is only logged: cancelling goes first where it can.
        if not _waits(frame) and (waitedFor is None or self.alarms > 1):
            pytest.fail(self.message)


def _waits(frame: FrameType | None) -> bool:
    """
    Whether the reactor waits for events in this stack, instead of running code.
    """
    return frame is not None and frame.f_code.co_name in (
        "doPoll",
        "doSelect",
        "doKEvent",
        "mainLoop",
        "runUntilCurrent",
    )


_watch = _Watch()
_callTest = pytest_twisted._async_pytest_pyfunc_call


def _callWatched(*args: Any) -> defer.Deferred[Any]:
    """
    Start a test as pytest-twisted does, and keep the Deferred of its end.
    """
    d: defer.Deferred[Any] = _callTest(*args)
    _watch.running = d

    def ended(result: Any) -> Any:
        if _watch.running is d:
            _watch.running = None
        if _watch.alarms and isinstance(result, Failure):
            pytest.fail(f"{_watch.message}; it ended with {result.value!r}")
        return result

    return d.addBoth(ended)


pytest_twisted._async_pytest_pyfunc_call = _callWatched


@contextmanager
def _timed(item: pytest.Item) -> Generator[None, None, None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    mark = item.get_closest_marker("timeout")
    timeout = float(mark.args[0]) if mark else DEFAULT_TIMEOUT
    # With more examples it may take longer.
    _watch.start(timeout * examples(1))
    try:
        yield
    finally:
        _watch.stop()


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, Any, Any]:
    """
    Give each test its time.
    """
    with _timed(pyfuncitem):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, None, None]:
    """
    And as much again to what it needs.
    """
    with _timed(item):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, None, None]:
    """
    And to tidy up.
    """
    with _timed(item):
        return (yield)


# --- collection and reports --------------------------------------------------


@implementer(ILogObserver)
class _Ignore:
    def __call__(self, event: LogEvent) -> None:
        pass


def pytest_configure(config: pytest.Config) -> None:
    """
    Keep Twisted from printing critical events by itself, and nohup, or a shell that
    runs us in the background, from making the programs that tests start deaf.
    """
    for number, usual in (
        (signal.SIGHUP, signal.SIG_DFL),
        (signal.SIGINT, signal.default_int_handler),
    ):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, usual)
    globalLogBeginner.beginLoggingTo(
        [_Ignore()], redirectStandardIO=False, discardBuffer=True
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """
    Mark what lies in the folders of the lab and of interoperation.
    """
    for item in items:
        for name in _FOLDER_MARKS:
            if _within(item.path, name):
                item.add_marker(name)


def pytest_collection_finish() -> None:
    """
    Make the collection after each test look only at what came since.
    """
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """
    Where the lab is required, a skipped test of it has failed.
    """
    report = yield
    if report.skipped and not hasattr(report, "wasxfail"):
        _require(report, item.path)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """
    The same for a file that skips itself whole.
    """
    report = yield
    if report.outcome == "skipped":
        _require(report, collector.path)
    return report


def _require(report: pytest.TestReport | pytest.CollectReport, path: Path) -> None:
    if os.environ.get(REQUIRE_LAB) and any(_within(path, n) for n in _FOLDER_MARKS):
        report.outcome = "failed"
        report.longrepr = f"{REQUIRE_LAB} is set, but: {report.longrepr}"


def _within(path: Path, folder: str) -> bool:
    return path.is_relative_to(_HERE / folder)

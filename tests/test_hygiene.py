"""
The hygiene of conftest.py, on small test files in a process of their own.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

_CONFTEST = Path(__file__).with_name("conftest.py")
_HEAD = """
import gc, time
import pytest, pytest_twisted
from twisted.internet import defer, protocol, reactor, task
from twisted.logger import Logger
"""

Run = Callable[..., str]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """
    Run pytest on the given source in a folder with our conftest.
    """

    def runIt(source: str, folder: str = ".", **environment: str) -> str:
        shutil.copy(_CONFTEST, tmp_path / "conftest.py")
        (tmp_path / "pytest.ini").write_text(
            "[pytest]\naddopts = --strict-markers -p no:cacheprovider -p no:xdist\n"
            "markers =\n  timeout(seconds): x\n  lab: x\n  interop: x\n"
        )
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / "test_it.py").write_text(_HEAD + source)
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-x"],
            cwd=tmp_path,
            env={**os.environ, "PUNCHD_REQUIRE_LAB": "", **environment},
            capture_output=True,
            text=True,
            timeout=50,
        )
        return done.stdout + done.stderr

    return runIt


CLEAN = """
def testSync(): assert True
@pytest_twisted.ensureDeferred
async def testAsync():
    await task.deferLater(reactor, 0.01, lambda: None)
@pytest_twisted.ensureDeferred
async def testPort():
    port = reactor.listenTCP(0, protocol.ServerFactory(), interface="127.0.0.1")
    await port.stopListening()
def testFlush(flushLoggedErrors):
    Logger().failure("oops", failure=__import__("twisted").python.failure.Failure(ValueError()))
    assert len(flushLoggedErrors(ValueError)) == 1
"""  # noqa: E501

DIRTY = {
    "failure": (
        "def testIt():\n    try: 1/0\n    except ZeroDivisionError:"
        " Logger().failure('went wrong')\n",
        "went wrong",
    ),
    "critical": ("def testIt(): Logger().critical('so bad')\n", "so bad"),
    "deferred": (
        "def testIt(): defer.fail(ValueError('nobody listens'))\n",
        "nobody listens",
    ),
    "delayed call": ("def testIt(): reactor.callLater(9, print)\n", "DelayedCall"),
    "reader": (
        "def testIt(): reactor.listenTCP(0, protocol.ServerFactory(),"
        " interface='127.0.0.1')\n",
        "left on the reactor",
    ),
    "stuck in code": (
        "@pytest.mark.timeout(0.3)\ndef testIt():\n    while True: pass\n",
        "longer than 0.3 s",
    ),
    "stuck in sleep": (
        "@pytest.mark.timeout(0.3)\ndef testIt(): time.sleep(20)\n",
        "longer than 0.3 s",
    ),
    "stuck in fixture": (
        "@pytest.fixture\ndef slow(): time.sleep(20)\n"
        "@pytest.mark.timeout(0.3)\ndef testIt(slow): pass\n",
        "longer than 0.3 s",
    ),
    "stuck in wait": (
        "@pytest.mark.timeout(0.3)\n@pytest_twisted.ensureDeferred\n"
        "async def testIt(): await defer.Deferred()\n",
        "longer than 0.3 s",
    ),
    "stuck in turns": (
        "@pytest.mark.timeout(0.3)\n@pytest_twisted.ensureDeferred\n"
        "async def testIt():\n"
        "    while True: await task.deferLater(reactor, 0, lambda: None)\n",
        "longer than 0.3 s",
    ),
}


def testCleanTestsPass(run: Run) -> None:
    """Tests that tidy up pass, also those that expect a logged failure."""
    assert "4 passed" in run(CLEAN)


@pytest.mark.parametrize("kind", DIRTY)
def testDirtyTestFails(run: Run, kind: str) -> None:
    """Each kind of thing left behind fails the test and is named."""
    source, expected = DIRTY[kind]
    output = run(source)
    assert expected in output
    assert "1 error" in output or "1 failed" in output


SKIPPED = "def testIt(): pytest.skip('no namespaces')\n"
SKIPPED_WHOLE = "pytest.skip('no namespaces', allow_module_level=True)\n"


@pytest.mark.parametrize("source", [SKIPPED, SKIPPED_WHOLE])
def testRequiredLabMayNotSkip(run: Run, source: str) -> None:
    """A skip in the lab is a failure where the lab is required, with its reason."""
    output = run(source, folder="lab", PUNCHD_REQUIRE_LAB="1")
    assert "no namespaces" in output
    assert "1 failed" in output or "1 error" in output


@pytest.mark.parametrize(
    ("folder", "required"), [("lab", ""), ("interop", ""), ("other", "1")]
)
def testSkipElsewhereStaysSkip(run: Run, folder: str, required: str) -> None:
    """Without the variable, or outside those folders, a skip stays one."""
    output = run(SKIPPED, folder=folder, PUNCHD_REQUIRE_LAB=required)
    assert "1 skipped" in output
    assert "failed" not in output

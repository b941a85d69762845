"""
What tests in the kernel lab share.
"""

from __future__ import annotations

import re
import shutil
import signal
import tempfile
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from punchd.testing.lab import Lab, whyNot
from punchd.testing.lab.product import Product

#: The products of a test, for its report.
_PRODUCTS = pytest.StashKey[list[Product]]()

#: How much of each log goes into the report of a failure, in characters.
_TAIL = 20_000

#: What no program may ever write into its log.
_DISASTER = re.compile(r"^Traceback|#(?:error|critical)\]|Unhandled", re.MULTILINE)


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


@pytest.fixture
def product(
    request: pytest.FixtureRequest, makeLab: Callable[..., Lab]
) -> Generator[Callable[..., Product], None, None]:
    """
    C{product(kindA, kindB, a=[...], b=[...], rendezvous=[...], **options)} runs
    the whole product in a new lab, with these options of the programs, and waits
    until both clients are registered.  C{prepare(lab)} is called before that.

    Everything ends with the test, whose report has the logs when it fails.  It
    fails, too, when a program does not end well or logs what it should not.
    """
    products: list[Product] = []
    request.node.stash[_PRODUCTS] = products
    folders: list[Path] = []

    def make(
        kindA: str = "portrestricted",
        kindB: str = "portrestricted",
        *,
        a: Sequence[str] = (),
        b: Sequence[str] = (),
        rendezvous: Sequence[str] = (),
        prepare: Callable[[Lab], object] | None = None,
        **options: Any,
    ) -> Product:
        lab = makeLab(kindA, kindB, **options)
        if prepare is not None:
            prepare(lab)
        # A short path: the control socket's may have 108 bytes.
        folders.append(Path(tempfile.mkdtemp(prefix="punchd-")))
        made = Product(lab, folders[-1])
        products.append(made)
        made.startRendezvous(*rendezvous)
        made.startClient("a", *a)
        made.startClient("b", *b)
        made.whenRegistered()
        return made

    try:
        yield make
        problems = [problem for each in products for problem in _end(each)]
        if problems:
            pytest.fail("\n".join(problems), pytrace=False)
    finally:
        for each in products:
            each.close()
        for folder in folders:
            shutil.rmtree(folder)


def _end(product: Product) -> list[str]:
    """
    End the programs.

    @return: what is wrong with them.
    """
    problems = []
    for name in list(product.processes):
        alive = product.processes[name].poll() is None
        status = product.end(name) if alive else product.processes.pop(name).returncode
        # Twisted lets the signal end the process once all is tidied up.
        if status not in (0, -signal.SIGTERM):
            problems.append(f"{name} ended with status {status}")
    for log in sorted(product.folder.glob("*.log")):
        text = log.read_text(errors="replace")
        for found in _DISASTER.finditer(text):
            start = text.rfind("\n", 0, found.start()) + 1
            problems.append(f"{log.name}: {text[start : start + 2000]}")
    return problems


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """
    Attach the logs of the programs to the report of a failure.
    """
    report = yield
    if report.failed and _PRODUCTS in item.stash:
        products = item.stash[_PRODUCTS]
        for number, product in enumerate(products):
            for log in sorted(product.folder.glob("*.log")):
                text = log.read_text(errors="replace")[-_TAIL:]
                title = f"{product.lab.kinds} {log.name}" if number else log.name
                report.sections.append((title, text))
    return report

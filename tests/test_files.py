"""
Rules for whole files: how long they may be, and that every test can fail.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = ("punchd", "tests", "twisted", "bench")
LIMIT = 400

#: Calls that fail a test by themselves.
_CHECKS = ("assert", "check", "expect", "verify", "raises", "warns", "fail")

FILES = sorted(
    path
    for folder in FOLDERS
    for path in (ROOT / folder).rglob("*.py")
    if "__pycache__" not in path.parts
)
TESTS = [path for path in FILES if path.name.startswith("test_")]


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", FILES, ids=_name)
def testFileIsShort(path: Path) -> None:
    """No file has more than 400 lines: cut it along its nouns before that."""
    assert len(path.read_text().splitlines()) <= LIMIT


@pytest.mark.parametrize("path", TESTS, ids=_name)
def testEveryTestCanFail(path: Path) -> None:
    """Every test says what it proves, and asserts something."""
    tree = ast.parse(path.read_text())
    helpers = {f.name for f in _functions(tree) if _asserts(f, frozenset())}
    bad = [
        f"{f.name} (line {f.lineno})"
        for f in _functions(tree)
        if _isTest(f) and not (ast.get_docstring(f) and _asserts(f, helpers))
    ]
    assert bad == []


def testMissingAssertionIsSeen() -> None:
    """The check above tells a test that asserts from one that does not."""
    tree = ast.parse(
        "def testA(): print(1)\n"
        "def testB():\n    with pytest.raises(ValueError): f()\n"
        "def testC(): helper()\n"
        "def testD(): clock.assertIdle()\n"
        "def testE(): assert True is not 1\n"
    )
    asserting = [f.name for f in _functions(tree) if _asserts(f, {"helper"})]
    assert asserting == ["testB", "testC", "testD", "testE"]


Function = ast.FunctionDef | ast.AsyncFunctionDef


def _functions(tree: ast.AST) -> Iterator[Function]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def _isTest(function: Function) -> bool:
    fixture = any("fixture" in ast.unparse(d) for d in function.decorator_list)
    return function.name.startswith("test") and not fixture


def _asserts(function: Function, helpers: set[str] | frozenset[str]) -> bool:
    for node in ast.walk(function):
        if isinstance(node, ast.Assert):
            return True
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func).rsplit(".", 1)[-1]
            if called in helpers or called.lower().lstrip("_").startswith(_CHECKS):
                return True
    return False

"""
The directions of imports that import-linter cannot express: it sees no further
than the top level of a package that is not ours.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import punchd

ROOT = Path(punchd.__file__).parent

#: Values in, values out: these decide, and know no clock and no socket.
CORE = [
    "stun",
    "nat",
    "ice",
    "turn",
    "traversal",
    "signaling/offer.py",
    "signaling/observation.py",
    "signaling/directory.py",
    "core.py",
]

FORBIDDEN = {
    "asyncio",
    "random",
    "secrets",
    "select",
    "selectors",
    "socket",
    "threading",
    "time",
    "twisted.application",
    "twisted.internet",
    "twisted.python.runtime",
}

LIGHT = ["punchd.errors", "punchd.core"]


def _files(names: list[str]) -> list[Path]:
    found = [ROOT / name for name in names]
    return sorted(
        file
        for path in found
        for file in ([path] if path.suffix else path.rglob("*.py"))
        if file.exists()
    )


def _imports(file: Path) -> Iterator[tuple[int, str]]:
    """
    Every module that C{file} imports from anywhere in it, with the line.
    """
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.lineno, node.module
            yield from (
                (node.lineno, f"{node.module}.{alias.name}") for alias in node.names
            )


def _offences(file: Path) -> list[str]:
    offences = [
        f"{file.relative_to(ROOT)}:{line} imports {name}"
        for line, name in _imports(file)
        if any(name == bad or name.startswith(bad + ".") for bad in FORBIDDEN)
    ]
    for node in ast.walk(ast.parse(file.read_text())):
        if (
            isinstance(node, ast.Attribute)
            and node.attr == "urandom"
            and isinstance(node.value, ast.Name)
            and node.value.id == "os"
        ):
            offences.append(f"{file.relative_to(ROOT)}:{node.lineno} uses os.urandom")
    return offences


@pytest.mark.parametrize("file", _files(CORE), ids=lambda f: str(f.relative_to(ROOT)))
def testCoreHasNoWorld(file: Path) -> None:
    """A core file imports no clock, no socket, no reactor and no dice."""
    assert _offences(file) == []


def testOffencesAreSeen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check above sees each way to break the rule."""
    monkeypatch.setattr("tests.test_layering.ROOT", tmp_path)
    bad = tmp_path / "bad.py"
    bad.write_text(
        "import time\nfrom twisted.internet import task\nfrom twisted import internet\n"
        "def f():\n    import os\n    from socket import AF_INET\n    os.urandom(3)\n"
    )
    lines = {int(text.split(":")[1].split()[0]) for text in _offences(bad)}
    assert lines == {1, 2, 3, 6, 7}


@pytest.mark.parametrize(
    "file", _files([p.name for p in ROOT.iterdir()]), ids=lambda f: f.name
)
def testNoRoomReachesUpByDots(file: Path) -> None:
    """A relative import stays in its room, so a border shows in the import line."""
    depth = len(file.relative_to(ROOT).parts)
    levels = [
        node.level
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ImportFrom)
    ]
    assert max(levels, default=0) <= max(1, depth - 1)

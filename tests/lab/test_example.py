"""
What the page about the lab shows.
"""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "lab.rst"


def test_example(makeLab, tmp_path, monkeypatch):
    """
    The program on the page runs as it stands there.
    """
    # Where there can be no lab, this skips.
    makeLab("open", "open")
    found = re.search(
        r"\.\. code-block:: python\n\n((?:    .*\n|\n)+)", PAGE.read_text()
    )
    assert found is not None
    program = textwrap.dedent(found[1])
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {}
    exec(compile(program, str(PAGE), "exec"), namespace)
    assert str(namespace["option"]).startswith("--rendezvous=punch://203.0.113.10:")

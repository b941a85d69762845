"""
Tests for what C{docs/} promises to explain.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from punchd.traversal.verdict import Outcome, Reason, Verdict

DOCS = Path(__file__).parents[1] / "docs"


@pytest.mark.parametrize("reason", Reason)
def test_everyReasonIsExplained(reason: Reason) -> None:
    """
    Each reason that a verdict may have stands in C{docs/verdicts.rst}, by the name
    that C{punchd status --json} prints.
    """
    name = Verdict("checks", Outcome.FAILED, reason).toDict()["reason"]
    assert f"``{name}``" in (DOCS / "verdicts.rst").read_text()

"""
How many examples Hypothesis draws.

The profile that is loaded by itself draws the same ones each time: whether a change is
taken must not depend on luck.  C{pytest --hypothesis-profile=explore} draws others each
time, and twenty times as many, in search of what nobody has thought of.
"""

from __future__ import annotations

from hypothesis import settings

#: Examples of a test that does not say how many it wants, and how many times as many
#: in search of new ones.
USUAL, MORE = 100, 20


def registerProfiles() -> None:
    """
    Have both profiles, and load the first.
    """
    # How long an example takes says more of the machine than of the code.
    settings.register_profile(
        "punchd", deadline=None, derandomize=True, max_examples=USUAL
    )
    settings.register_profile("explore", deadline=None, max_examples=USUAL * MORE)
    settings.load_profile("punchd")


def examples(count: int) -> int:
    """
    @param count: how many a test wants that is dearer than others, or cheaper.

    @return: how many it gets.
    """
    return count * settings().max_examples // USUAL

"""
The strategies that come with punchd.
"""

from __future__ import annotations

from typing import Final

from .fresh import Fresh
from .optimistic import Optimistic
from .prediction import Prediction
from .reversal import Reversal
from .spray import Spray
from .tcp import TCP

__all__ = [
    "BUILTIN",
    "TCP",
    "Fresh",
    "Optimistic",
    "Prediction",
    "Reversal",
    "Spray",
]

BUILTIN: Final = (
    Reversal(),
    Fresh(),
    Prediction(),
    Spray(),
    Optimistic(),
    TCP(),
)

"""
The strategies that come with punchd.
"""

from __future__ import annotations

from typing import Final

from .prediction import Prediction
from .spray import Spray

__all__ = ["BUILTIN", "Prediction", "Spray"]

BUILTIN: Final = (Prediction(), Spray())

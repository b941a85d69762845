"""
The strategies that come with punchd.
"""

from __future__ import annotations

from typing import Final

from .prediction import Prediction
from .spray import Spray
from .tcp import TCP

__all__ = ["BUILTIN", "TCP", "Prediction", "Spray"]

BUILTIN: Final = (Prediction(), Spray(), TCP())

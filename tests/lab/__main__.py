"""
C{python -m tests.lab KIND_A KIND_B}: the lab by hand.
"""

import sys

from punchd.testing.lab.cli import main

sys.exit(main())

"""
C{punchd}, also as C{python -m punchd}.
"""

from __future__ import annotations

import sys


def main() -> int:
    """
    @return: the exit status.
    """
    try:
        # Ctrl-C may come while this is imported, too.
        from punchd.cli import main as run

        return run()
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())

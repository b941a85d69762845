"""
Draw the session machine from its code: C{python docs/machines/draw.py} writes
C{session.dot} beside itself.

Transitions that change nothing are left out, and the inputs that lead from one
state to another stand on one arrow.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from punchd.session.machine import SessionMachine

TARGET = Path(__file__).with_name("session.dot")


def transitions() -> dict[tuple[str, str], list[str]]:
    """
    @return: the inputs by (from, to), of transitions between different states.
    """
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    # Automat gives away all transitions under no public name.
    automaton = SessionMachine.__automat_automaton__  # type: ignore[attr-defined]
    for old, name, new, _ in automaton.allTransitions():
        if old is not new:
            found[old.name, new.name].append(name)
    return found


def draw() -> str:
    """
    @return: the graph in the DOT language.
    """
    lines = [
        "// Made by docs/machines/draw.py from punchd/session/machine.py.",
        "digraph session {",
        '  node [shape=box, style=rounded, fontname="sans-serif"];',
        '  edge [fontname="sans-serif", fontsize=10];',
        "  Idle [style=bold];",
    ]
    for (old, new), names in sorted(transitions().items()):
        label = "\\n".join(sorted(names))
        lines.append(f'  {old} -> {new} [label="{label}"];')
    lines.append("}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    TARGET.write_text(draw())

"""
The lab by hand.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from typing import NoReturn

from .kinds import KINDS
from .lab import Lab, describeKinds, whyNot
from .namespaces import LabError, Namespace

_SHORT = {"a": "hostA", "b": "hostB", "r": "rendezvous", "p": "public"}

_EPILOG = """\
COMMAND runs outside of the lab; these variables tell it how to enter, so that
  python -m tests.lab open symmetric -- sh -c '$PUNCHD_HOST_A ping 203.0.113.10'
pings the rendezvous from host A:
  PUNCHD_HOST_A  PUNCHD_HOST_B  PUNCHD_RENDEZVOUS  PUNCHD_ROUTER_A  PUNCHD_ROUTER_B
and, with _ADDRESS or _PUBLIC behind each name, which addresses it has, or shows.
Without COMMAND you choose a host and get a shell in it.

kinds:
"""


class _Parser(argparse.ArgumentParser):
    """
    One sentence and status 1 for wrong input, as everywhere in punchd.
    """

    def error(self, message: str) -> NoReturn:
        self.exit(1, f"{self.prog}: {message}\n")


def _number(text: str) -> float:
    value = float(text)
    if not 0 <= value < float("inf"):
        raise ValueError(text)
    return value


def _percent(text: str) -> float:
    value = _number(text)
    if value > 100:
        raise ValueError(text)
    return value


# What argparse calls the value in its sentence.
_number.__name__, _percent.__name__ = "number of seconds", "percentage"


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m tests.lab",
        usage="%(prog)s [options] KIND_A KIND_B [-- COMMAND ...]",
        description="Two hosts behind kernel NATs, and a rendezvous.",
        epilog=_EPILOG + describeKinds(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for letter in "AB":
        parser.add_argument(f"kind{letter}", metavar=f"KIND_{letter}", choices=KINDS)
    add = parser.add_argument
    seconds = partial(add, type=_number, metavar="S")
    percent = partial(add, type=_percent, metavar="PCT", default=0.0)
    seconds("--delay", default=0.025, help="one way (0.025)")
    seconds("--jitter", default=0.0, help="up to so much more, in order")
    percent("--loss", help="packets that the public network loses")
    percent("--reorder", help="packets that overtake others")
    add("--udp-timeout", type=int, metavar="S", help="the life of a UDP binding")
    add("--same-nat", action="store_true", help="both hosts behind router A")
    add("--isolated", action="store_true", help="and kept from each other there")
    add("--overlap", action="store_true", help="the same private addresses twice")
    add("--rendezvous-nat", action="store_true", help="rendezvous behind a 1:1 NAT")
    add(
        "--foreign",
        type=_number,
        metavar="N",
        default=0.0,
        help="other people's flows a second",
    )
    add("--seed", type=int, default=0, help="of all that is random (0)")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """
    @return: the exit status: COMMAND's, or 1 when there can be no lab.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    command: list[str] = []
    if "--" in words:
        place = words.index("--")
        words, command = words[:place], words[place + 1 :]
    parser = _parser()
    options = parser.parse_args(words)
    try:
        lab = Lab(
            options.kindA,
            options.kindB,
            delay=options.delay,
            jitter=options.jitter,
            loss=options.loss,
            reorder=options.reorder,
            udpTimeout=options.udp_timeout,
            sameNat=options.same_nat,
            isolated=options.isolated,
            overlap=options.overlap,
            rendezvousNat=options.rendezvous_nat,
            foreign=options.foreign,
            seed=options.seed,
        )
    except ValueError as e:
        parser.error(str(e))
    try:
        with lab:
            return _use(lab, command)
    except LabError as e:
        print(whyNot(lab.line is not None) or e, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _use(lab: Lab, command: list[str]) -> int:
    if command:
        try:
            environment = {**lab.hostA.environment, **lab.variables()}
            return subprocess.run(command, env=environment).returncode
        except OSError as e:
            print(f"cannot run {command[0]!r}: {e}", file=sys.stderr)
            return 1
    print(describe(lab), flush=True)
    choices = {name.lower(): space for name, space in lab.spaces.items()}
    choices |= {short: lab.spaces[name] for short, name in _SHORT.items()}
    while True:
        try:
            choice = input("\na shell where? (a, b, r, p or a name; q ends) ").strip()
        except EOFError:
            return 0
        if choice.lower() in ("q", "quit", "exit"):
            return 0
        if choice.lower() in choices:
            _shell(lab, choices[choice.lower()])
        elif choice:
            print("there is", ", ".join(lab.spaces))


def _shell(lab: Lab, space: Namespace) -> None:
    """
    Let a person work in a namespace.
    """
    print(f"in {space.name} until you leave the shell")
    environment = {**space.environment, **lab.variables()}
    environment["PS1"] = f"{space.name}$ "
    try:
        space.run([os.environ.get("SHELL", "/bin/sh")], env=environment)
    except KeyboardInterrupt:
        pass


def describe(lab: Lab) -> str:
    """
    @return: who is where, and how to get there from another terminal.
    """
    lines = []
    for name, space in lab.spaces.items():
        if name == "public":
            continue
        shown = [a for a in space.public if a not in space.addresses]
        seen = f", seen as {' '.join(shown)}" if shown else ""
        lines.append(f"{name}: {' '.join(space.addresses)}{seen}\n    {space}")
    return "\n".join(lines)

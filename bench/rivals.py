"""
Bytes from one host of the kernel lab to another: a TCP forward of ours, direct and
relayed, with and without GSO and GRO, beside other systems that get through NATs and
C{ssh -L}.

    python -m bench.rivals [--rounds N] [--megabytes N] [--python PATH]
                           [--only NAME ...]

All of them on the same two hosts, with the same bytes, in turns; the first round
warms up.  The others send from memory to memory, over one stream that is open, and
need not pass a socket of a program on either side as a forward does.  Those that
cannot be had on this machine say why in a sentence; C{--python} names the interpreter
of an environment that has them.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from punchd.testing.lab.product import Product

from .forward import PATIENCE, Contender, punchd, ssh
from .peers import DHT, HERE, OTHER, SERVER, Talk, hyperdht

ROUNDS = 4
MEGABYTES = 100
#: Seconds to connect.
CONNECT = 60.0


@dataclass
class Stream(Contender):
    """
    A stream of another system that is open from A to B.

    @ivar talk: A's process.
    """

    talk: Talk | None = None

    def send(self, count: int) -> float:
        """
        @see: L{Contender.send}.
        """
        assert self.talk is not None
        self.talk.tell({"bytes": count})
        said = self.talk.line(PATIENCE)
        if said is None or "seconds" not in said:
            raise SystemExit(f"{self.name} did not send {count} bytes: {said}")
        return float(said["seconds"])


@dataclass(frozen=True)
class Rival:
    """
    @ivar whyNot: says in a sentence why it cannot be had here, or L{None}.
    @ivar command: of either side.
    @ivar dht: whether it needs nodes of a DHT.
    """

    name: str
    whyNot: Callable[[], str | None]
    command: Sequence[str]
    dht: bool = False

    @contextmanager
    def stream(self, product: Product) -> Iterator[Contender]:
        """
        Connect in the product's lab.
        """
        folder = Path(tempfile.mkdtemp(dir=product.folder))
        talks: list[Talk] = []
        try:
            if self.dht:
                script = str(HERE / "hyperdhtnodes.js")
                words = ["node", script, SERVER, OTHER, str(DHT)]
                space = product.lab.rendezvous
                talks.append(Talk(space, words, folder / "nodes.log"))
                talks[0].first()
            sides = {}
            for side in ("b", "a"):
                space = product.hosts[side]
                words = [*self.command, side, space.address]
                sides[side] = Talk(space, words, folder / f"{side}.log")
                talks.append(sides[side])
            hellos = {side: talk.first() for side, talk in sides.items()}
            sides["b"].tell(hellos["a"])
            sides["a"].tell(hellos["b"])
            if not hellos["b"]:
                # It answers an offer.
                sides["a"].tell(sides["b"].first())
            said = sides["a"].line(CONNECT)
            if not (said and said.get("connected")):
                raise RuntimeError(f"it does not connect: {said}")
            roots = {side: sides[side].process.pid for side in ("a", "b")}
            yield Stream(self.name, product.hosts["a"], 0, roots, talk=sides["a"])
        finally:
            for talk in talks:
                talk.process.kill()
                talk.process.wait()


def rivals(python: str) -> list[Rival]:
    """
    @param python: the interpreter for those of Python.
    """

    def needs(module: str, package: str) -> Callable[[], str | None]:
        def whyNot() -> str | None:
            words = [python, "-c", f"import {module}"]
            if subprocess.run(words, capture_output=True).returncode:
                return f"{package} is not installed: pip install 'punchd[bench]'."
            return None

        return whyNot

    node = ["node", str(HERE / "hyperdhtbulk.js"), SERVER, str(DHT)]
    return [
        Rival("hyperdht", hyperdht, node, dht=True),
        *(
            Rival(name, needs(module, name), [python, str(HERE / f"{script}bulk.py")])
            for name, module, script in (
                ("iroh", "iroh", "iroh"),
                ("aiortc", "aiortc", "aiortc"),
                ("magic-wormhole", "wormhole.transit", "wormhole"),
            )
        ),
    ]


def main() -> None:
    """
    Measure.
    """
    parser = argparse.ArgumentParser(prog="bench.rivals")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--megabytes", type=int, default=MEGABYTES)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--only", nargs="+", default=())
    options = parser.parse_args()
    with ExitStack() as stack:
        enter = stack.enter_context
        product, direct = enter(punchd("direct", 0.0, "direct", True))
        peer = enter(ssh(product))
        contenders = [peer, direct]
        for name, path, offload in (
            ("direct, no GSO/GRO", "direct", False),
            ("relayed", "relay", True),
            ("relayed, no GSO/GRO", "relay", False),
        ):
            contenders.append(enter(punchd(name, 0.0, path, offload))[1])
        for rival in rivals(options.python):
            if options.only and rival.name not in options.only:
                continue
            why = rival.whyNot()
            try:
                if why is None:
                    contenders.append(enter(rival.stream(product)))
            except (RuntimeError, json.JSONDecodeError) as e:
                why = str(e)
            if why is not None:
                print(f"{rival.name}: {why}", flush=True)
        count = options.megabytes * 10**6
        for _ in range(options.rounds):
            for contender in contenders:
                contender.run(count)
        for contender in contenders:
            print(contender.line(peer.rate()), flush=True)
        for contender in contenders[5:]:
            print(f"direct / {contender.name}: {direct.rate() / contender.rate():.1f}")


if __name__ == "__main__":
    main()

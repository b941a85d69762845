"""
Labs come up, go away without a trace, and say why when they cannot.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Generator, Iterable
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from punchd.testing.lab import (
    KINDS,
    Kind,
    Lab,
    LabError,
    namespaces,
    removeStale,
    waitFor,
    whyNot,
)
from punchd.testing.lab import lab as labModule
from punchd.testing.lab.cli import main
from tests.lab.probing import Observatory, punch

_ROOT = Path(__file__).parents[2]


@contextmanager
def _held(paths: Iterable[str]) -> Generator[dict[str, int], None, None]:
    """
    Hold namespaces here: the kernel gives the identity of one that is gone to the
    next that somebody makes.

    @return: their identities, and the descriptors that hold them.
    """
    held: dict[str, int] = {}
    try:
        for path in paths:
            number = os.open(path, os.O_RDONLY)
            held[f"net:[{os.fstat(number).st_ino}]"] = number
        yield held
    finally:
        for number in held.values():
            os.close(number)


def _inside(lab):
    """
    The paths of a lab's namespaces.
    """
    return [space.path for space in lab.spaces.values()]


def _users(held):
    """
    The processes that are in one of the namespaces, or hold one, but for what
    L{_held} does.
    """
    own = {Path(f"/proc/{os.getpid()}/fd/{number}") for number in held.values()}
    found = set()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        links = [entry / "ns/net"]
        try:
            links += (entry / "fd").iterdir()
        except OSError:
            continue
        for link in links:
            try:
                target = os.readlink(link)
            except OSError:
                continue
            if target in held and link not in own:
                found.add(int(entry.name))
    return found


def _zombie(pid):
    try:
        return b") Z " in Path("/proc", str(pid), "stat").read_bytes()
    except OSError:
        return False


def test_close():
    """
    Closing a lab ends what runs in it, also children of children and what does not
    listen to SIGTERM, and nobody holds its namespaces any more.
    """
    stubborn = "trap '' TERM; sleep 1000 & sleep 1000"
    with ExitStack() as stack:
        with Lab("cgnat", "open", delay=0.01) as lab:
            held = stack.enter_context(_held(_inside(lab)))
            polite = lab.hostA.popen(["sleep", "1000"])
            process = lab.hostB.popen(["sh", "-c", stubborn])
            waitFor(lambda: len(_users(held)) >= 5, what="all of them to run")
            deaf = lab.rendezvous.popen(["setsid", "-f", "sleep", "1000"])
            assert deaf.wait(10) == 0
        assert polite.returncode == -signal.SIGTERM
        assert process.returncode is not None
        assert {pid for pid in _users(held) if not _zombie(pid)} == set()
        lab.close()


def test_exception():
    """
    A failure inside of the with statement takes the lab down as well.
    """
    with ExitStack() as stack:
        with pytest.raises(ZeroDivisionError):
            with Lab(delay=0) as lab:
                held = stack.enter_context(_held(_inside(lab)))
                1 / 0  # noqa: B018
        assert _users(held) == set()


def test_halfBuilt(monkeypatch):
    """
    A lab that cannot be built says why, and leaves nothing.
    """
    monkeypatch.setitem(KINDS, "broken", Kind("broken", (lambda gate: "nonsense",)))
    made = []
    start = namespaces.startHelper

    def remember(*args):
        made.append(start(*args))
        return made[-1]

    monkeypatch.setattr(namespaces, "startHelper", remember)
    monkeypatch.setattr(labModule, "startHelper", remember)
    with pytest.raises(LabError, match="routerA: .*syntax error"):
        Lab("broken", "open").open()
    assert len(made) == 2
    assert all(process.returncode is not None for process, _ in made)


_OWNER = """
import sys
from punchd.testing.lab import Lab
lab = Lab(delay=0.01).open()
lab.hostA.popen(["setsid", "sh", "-c", "sleep 1000 & sleep 1000"])
print(*(space.path for space in lab.spaces.values()), flush=True)
sys.stdin.read()
"""


@contextmanager
def _started() -> Generator[tuple[Any, dict[str, int]], None, None]:
    """
    A program that owns a lab until its input ends.

    @return: it, and the lab's namespaces.
    """
    owner = subprocess.Popen(
        [sys.executable, "-c", _OWNER],
        cwd=_ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert owner.stdout is not None
    with owner, _held(owner.stdout.readline().split()) as held:
        waitFor(lambda: len(_users(held)) > 3, what="all of them to run")
        yield owner, held


@pytest.mark.parametrize("killed", [True, False])
def test_ownerDies(killed):
    """
    When the owner is killed, or just ends, the lab goes with it.
    """
    with _started() as (owner, held):
        if killed:
            owner.kill()
        else:
            owner.stdin.close()
        owner.wait(20)
        waitFor(lambda: not _users(held), what="the lab to vanish")


def test_removeStale():
    """
    Should the keeper have been killed, too, what still runs in the lab is found.
    """
    with _started() as (owner, held):
        keeper = [
            pid
            for pid in _users(held)
            if b"keeper.py" in Path("/proc", str(pid), "cmdline").read_bytes()
        ]
        assert len(keeper) == 1
        os.kill(keeper[0], signal.SIGKILL)
        owner.kill()
        owner.wait(20)
        assert _users(held)
        removeStale()
        waitFor(lambda: not _users(held), what="the rest to vanish")


def test_rootless(monkeypatch, makeLab):
    """
    Without root a lab works in a user namespace of its own.
    """
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    delay = 0.001 if os.access("/dev/net/tun", os.R_OK | os.W_OK) else 0
    try:
        lab = makeLab("portrestricted", "fullcone", delay=delay, udpTimeout=30)
    except LabError as e:
        pytest.skip(f"no user namespaces here: {e}")
    assert "--preserve-credentials" in lab.hostA.enter
    mine = os.readlink("/proc/self/ns/user")
    theirs = lab.hostA.run(["readlink", "/proc/self/ns/user"], capture_output=True)
    assert theirs.stdout.strip() not in ("", mine)
    assert punch(lab, Observatory(lab))


def test_whyNot(monkeypatch):
    """
    What is missing is said in one sentence.
    """
    assert whyNot() is None
    monkeypatch.setattr(labModule, "program", _missing)
    whyNot.cache_clear()
    try:
        reason = whyNot()
    finally:
        whyNot.cache_clear()
    assert reason == "the kernel lab cannot be built here: no such program: ip"


def _missing(name):
    raise LabError(f"no such program: {name}")


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        (("lan", "open"), {}),
        (("open", "symmetric"), {"sameNat": True}),
        (("nonsense", "open"), {}),
        (("open", "open"), {"udpTimeout": 0}),
    ],
)
def test_wrong(arguments, options):
    """
    Kinds that do not exist or do not go together are refused at once.
    """
    with pytest.raises(ValueError):
        Lab(*arguments, **options)


def test_everyPair(makeLab):
    """
    Every kind can be built with every other that it goes with.
    """
    near = [name for name, kind in KINDS.items() if not kind.sameNat]
    for a in near:
        lab = makeLab(a, near[-1 - near.index(a)], rendezvousNat=True, udpTimeout=20)
        assert lab.hostA.public
        assert lab.hostB.public


# --- by hand -----------------------------------------------------------------


def _byHand(*arguments, text=""):
    return subprocess.run(
        [sys.executable, "-m", "tests.lab", *arguments],
        cwd=_ROOT,
        input=text,
        capture_output=True,
        text=True,
        timeout=30,
    )


def test_command():
    """
    A command is told how to enter the hosts, and its status is returned.
    """
    script = (
        '$PUNCHD_HOST_B ip -br address; echo "public $PUNCHD_HOST_B_PUBLIC";'
        ' $PUNCHD_HOST_A ping -c 1 -W 5 "${PUNCHD_RENDEZVOUS_PUBLIC%% *}" || exit 9;'
        " exit 7"
    )
    options = ["--delay", "0.001", "--udp-timeout", "20", "--loss", "0"]
    done = _byHand(*options, "cgnat", "symmetric", "--", "sh", "-c", script)
    assert done.returncode == 7, done.stdout + done.stderr
    assert "192.168.2.2/24" in done.stdout
    assert "public 192.0.2.10" in done.stdout


def test_shell():
    """
    Without a command a person gets an overview and a choice of shells.
    """
    text = "b\nip -br address\nexit\nnobody\nq\n"
    done = _byHand("portrestricted", "open", "--delay", "0", text=text)
    assert done.returncode == 0
    assert "hostA: 192.168.1.2, seen as 198.51.100.10" in done.stdout
    assert "in hostB until you leave" in done.stdout


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["open"], "the following arguments are required: KIND_B"),
        (["open", "shut"], "argument KIND_B: invalid choice: 'shut'"),
        (["open", "open", "--delay", "-1"], "invalid number of seconds value: '-1'"),
        (["open", "open", "--loss", "101"], "invalid percentage value: '101'"),
        (["open", "lan"], "one NAT cannot be both open and lan"),
        (["open", "open", "--", "/no/such"], "cannot run '/no/such'"),
    ],
)
def test_wrongWords(words, sentence, capsys):
    """
    Wrong words get one sentence and status 1.
    """
    try:
        status: object = main(words)
    except SystemExit as e:
        status = e.code
    assert status == 1
    said = capsys.readouterr().err
    assert sentence in said
    assert said.count("\n") == 1

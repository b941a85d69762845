"""
The trials of the grid, one by one: in the simulator or in the kernel lab.
"""

from __future__ import annotations

import shutil
import signal
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from punchd._plugins import pluginNamed
from punchd.interfaces import ITraversalStrategy
from punchd.testing.grid import Trouble, grid
from punchd.testing.lab import Lab, Router
from punchd.testing.trial import Outcome, inLab, simulated

from .peers import PEERS
from .results import OURS, Row, Trial

#: Seconds in which what is to stay relayed could have become direct: the first checks
#: and a first attempt take a bit.
SETTLED = 4.0
#: Seconds for a lab, the programs in it and their end, beside the patience.
OVERHEAD = 120


@dataclass(frozen=True)
class Setting:
    """
    What is the same for all trials.

    @ivar delay: seconds one way.
    @ivar loss: the share of lost packets.
    @ivar patience: seconds to wait for a direct path.
    @ivar strategies: the names of the only ones, all if there are none.
    @ivar logs: where logs of our programs are kept if a claim is contradicted.
    """

    delay: float
    loss: float
    patience: float
    strategies: Sequence[str] = ()
    logs: Path | None = None


def tryAll(
    trials: Iterable[Trial], setting: Setting, processes: int, *, inOrder: bool
) -> Iterator[tuple[Trial, Outcome]]:
    """
    @param processes: how many trials at a time.
    @param inOrder: keep what ends early until its turn comes.

    @return: what came of each, as they end.
    """
    run = partial(tryOnce, setting=setting)
    with get_context("fork").Pool(processes) as pool:
        each = pool.imap if inOrder else pool.imap_unordered
        yield from each(run, trials)


def tryOnce(trial: Trial, setting: Setting) -> tuple[Trial, Outcome]:
    """
    @return: the trial, and what came of it; where nothing did, the error.
    """
    if trial.where == "simulator":
        return trial, _simulate(trial, setting)
    outcome = _guarded(trial, setting)
    if outcome.error:
        # A machine may be too busy for once.
        outcome = _guarded(trial, setting)
    return trial, outcome


# --- the simulator


def _simulate(trial: Trial, setting: Setting) -> Outcome:
    cell = grid().named(trial.cell)
    options = {}
    if setting.strategies:
        options["strategies"] = tuple(
            pluginNamed(ITraversalStrategy, each) for each in setting.strategies
        )
    return simulated(
        cell,
        trial.run + 1,
        delay=setting.delay,
        foreign=trial.foreign,
        trouble=Trouble("loss", {"loss": setting.loss}),
        patience=setting.patience,
        settle=SETTLED,
        **options,
    )


# --- the kernel lab


def _late(signum: int, frame: object) -> None:
    raise TimeoutError("it did not end")


def _guarded(trial: Trial, setting: Setting) -> Outcome:
    before = signal.signal(signal.SIGALRM, _late)
    signal.alarm(int(setting.patience) + OVERHEAD)
    try:
        return _inLab(trial, setting)
    except Exception as e:
        # Whatever it is, the other trials go on.
        last = (str(e).strip().splitlines() or [""])[-1]
        return Outcome(error=f"{type(e).__name__}: {last}")
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def _inLab(trial: Trial, setting: Setting) -> Outcome:
    cell = grid().named(trial.cell)
    # A short path: the control socket's may have 108 bytes.
    folder = Path(tempfile.mkdtemp(prefix="punchd-"))
    outcome = Outcome(error="it did not end")
    try:
        with Lab(
            *cell.kinds,
            sameNat=cell.sameNat,
            isolated=cell.isolated,
            delay=setting.delay,
            loss=100 * setting.loss,
            foreign=trial.foreign,
            seed=trial.run,
        ) as lab:
            if trial.contender != OURS:
                dial = PEERS[trial.contender].dial
                outcome = dial(lab, folder, setting.patience)
                return metered(lab, outcome)
            outcome = inLab(
                lab, folder, cell, patience=setting.patience, settle=SETTLED
            )
            return metered(lab, outcome)
    finally:
        if setting.logs is not None and not _isFine(trial, outcome):
            name = f"{trial.cell}+{trial.foreign:g}-{trial.contender}-{trial.run}"
            _keep(folder, setting.logs / name)
        shutil.rmtree(folder, ignore_errors=True)


def _isFine(trial: Trial, outcome: Outcome) -> bool:
    cell = grid().named(trial.cell)
    row = Row(cell, trial.where, trial.foreign, {OURS: [outcome]})
    return trial.contender == OURS and not row.contradictions()


def _keep(folder: Path, kept: Path) -> None:
    """
    Copy the logs, and nothing secret.
    """
    kept.mkdir(parents=True, exist_ok=True)
    for log in (*folder.glob("*.log"), *folder.glob("*.out")):
        shutil.copy(log, kept)


def metered(lab: Lab, outcome: Outcome) -> Outcome:
    """
    @return: the outcome, with the packets that the routers sent to the other side,
        and the UDP flows that the busier one remembers of its own side.
    """
    routers = lab.outermost
    packets = sum(router.sentTo(host) for router in routers for host in router.peers)
    return replace(outcome, packets=packets, bindings=max(map(_flows, routers)))


def _flows(router: Router) -> int:
    done = router.run(["conntrack", "-L", "-p", "udp"], capture_output=True)
    # Not those of other people.
    return sum("dst=203.0.113.1 " not in line for line in done.stdout.splitlines())

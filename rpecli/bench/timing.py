"""Times cases in turn, A B C A B C ..., so that a machine that slows down slows all of them alike."""

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field

LEAST = 0.03  # seconds that one measurement lasts at least; shorter calls are repeated
Call = Callable[[], object]


@dataclass
class Timing:
    """Seconds of one call in each round; a note instead where a case could not be timed, or only once."""

    name: str
    calls: int = 1
    rounds: list[float] = field(default_factory=list)
    note: str = ""

    @property
    def median(self) -> float:
        return statistics.median(self.rounds) if self.rounds else math.nan


def nothing() -> None:
    """Stands for a device's synchronize where there is nothing to wait for."""


def interleave(
    cases: dict[str, Call],
    rounds: int,
    wait: Call = nothing,
    slowest: float = math.inf,
    least: float = LEAST,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Timing]:
    """Every case warmed up, then all of them once a round. A case whose call takes over `slowest` seconds is timed once."""
    found = {name: _warm_up(name, call, wait, slowest, least, clock) for name, call in cases.items()}
    ready = [name for name in cases if not found[name].note]
    for _ in range(rounds):
        for name in ready:
            found[name].rounds.append(_seconds(cases[name], found[name].calls, wait, clock))
    return found


def _warm_up(name: str, call: Call, wait: Call, slowest: float, least: float, clock: Callable[[], float]) -> Timing:
    """The first call sets up threads and memory, so the second, where it is quick, says how many calls make a measurement."""
    seconds = _seconds(call, 1, wait, clock)
    if seconds > slowest:
        return Timing(name, rounds=[seconds], note=f"a call takes {seconds:.0f} s: timed once")
    seconds = _seconds(call, 1, wait, clock) if seconds < 1 else seconds
    return Timing(name, calls=max(1, math.ceil(least / max(seconds, 1e-9))) if seconds < least else 1)


def _seconds(call: Call, calls: int, wait: Call, clock: Callable[[], float]) -> float:
    wait()
    start = clock()
    for _ in range(calls):
        call()
    wait()
    return (clock() - start) / calls


def ratios(of: Timing, to: Timing) -> list[float]:
    """`of` over `to`, round by round; a case that was timed once is held against the median."""
    if len(of.rounds) == len(to.rounds):
        return [a / b for a, b in zip(of.rounds, to.rounds, strict=True)]
    return [seconds / to.median for seconds in of.rounds]


def ratio(of: Timing, to: Timing) -> float:
    """Median of the rounds' ratios; NaN where one of them was not timed."""
    found = ratios(of, to) if to.rounds else []
    return statistics.median(found) if found else math.nan

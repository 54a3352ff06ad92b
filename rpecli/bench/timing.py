"""Times cases in turn, A B C A B C ..., so that a machine that slows down slows all of them alike."""

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field

MIN_SECONDS = 0.03  # that one measurement lasts; shorter calls are repeated
UNTIMED = "not timed: no time was left"
Call = Callable[[], object]


@dataclass
class Timing:
    """Seconds of one call in each round; `note` says why a case was timed only once, or not at all."""

    calls: int = 1  # per round
    rounds: list[float] = field(default_factory=list)
    note: str = ""
    warm: float = math.nan  # seconds of the last call of the warm-up

    @property
    def median(self) -> float:
        """NaN if the case was not timed."""
        return statistics.median(self.rounds) if self.rounds else math.nan


@dataclass(frozen=True)
class Stopwatch:
    """How to time a call: for how long at least, and what to wait for on a device that works asynchronously."""

    min_seconds: float = MIN_SECONDS
    slowest: float = math.inf  # a case whose first call takes longer is timed once
    synchronize: Call = lambda: None
    clock: Callable[[], float] = time.perf_counter

    def interleave(self, cases: dict[str, Call], rounds: int, is_over: Callable[[], bool] = lambda: False) -> dict[str, Timing]:
        """Warms up every case, then times all of them once per round.

        Once `is_over` says so, which is asked before each measurement, no other begins: the rounds that are whole count, or
        without any the warm-up, and a case that was not warmed up is not timed.
        """
        timings = {}
        for name, call in cases.items():
            timings[name] = Timing(note=UNTIMED) if is_over() else self._warm_up(call)
        timed = {name: timing for name, timing in timings.items() if not timing.note}
        for _ in range(rounds):
            seconds = self._round({name: (cases[name], timing.calls) for name, timing in timed.items()}, is_over)
            if len(seconds) < len(timed):
                break
            for name, timing in timed.items():
                timing.rounds.append(seconds[name])
        for timing in timed.values():
            timing.rounds = timing.rounds or [timing.warm]
        return timings

    def _round(self, cases: dict[str, tuple[Call, int]], is_over: Callable[[], bool]) -> dict[str, float]:
        """Seconds of each case, up to the one before which the time is over."""
        seconds = dict[str, float]()
        for name, (call, calls) in cases.items():
            if is_over():
                break
            seconds[name] = self._seconds(call, calls)
        return seconds

    def _warm_up(self, call: Call) -> Timing:
        """The first call starts threads and allocates, so the number of calls of a short case follows from the second."""
        seconds = self._seconds(call, 1)
        if seconds > self.slowest:
            return Timing(rounds=[seconds], note=f"a call takes {seconds:.0f} s: timed once")
        seconds = self._seconds(call, 1) if seconds < 1 else seconds
        calls = max(1, math.ceil(self.min_seconds / max(seconds, 1e-9))) if seconds < self.min_seconds else 1
        return Timing(calls, warm=seconds)

    def _seconds(self, call: Call, calls: int) -> float:
        """Mean seconds of one of several calls."""
        self.synchronize()
        start = self.clock()
        for _ in range(calls):
            call()
        self.synchronize()
        return (self.clock() - start) / calls


def ratios(case: Timing, base: Timing) -> list[float]:
    """`case` over `base`, round by round; a case that was timed once is compared with the median of the base."""
    if len(case.rounds) == len(base.rounds):
        return [a / b for a, b in zip(case.rounds, base.rounds, strict=True)]
    return [seconds / base.median for seconds in case.rounds]


def ratio(case: Timing, base: Timing) -> float:
    """The median of the rounds' ratios; NaN if one of the two was not timed."""
    return statistics.median(ratios(case, base)) if case.rounds and base.rounds else math.nan

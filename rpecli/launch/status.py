"""How far runs are, read from their directories alone: what changed is read again, the rest is kept in memory.

Runs look the same from wherever they were started: by this command, by another one, or on another machine.
"""

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from statistics import fmean
from typing import Any

from rpecli.config.ranges import parse_lengths
from rpecli.launch.job import GONE
from rpecli.run.directory import Run, Status
from rpecli.run.files import RunError
from rpecli.run.liveness import QUIET_SECONDS, has_process
from rpecli.run.problems import Message, folded
from rpecli.table import duration, plural

Stamp = tuple[int, int]  # time of the last change in ns, size


class State(StrEnum):
    """What a run is doing: the status of its record, and what the record cannot say."""

    WAITING = "waiting"
    TRAINING = "training"
    EVALUATING = "evaluating"
    TRAINED = "trained"
    STOPPED = "stopped"
    FAILED = "failed"
    INTERRUPTED = "interrupted"  # the process that trained it has ended without a word
    NOT_STARTED = "not started"  # the command that was to start it has ended
    UNREADABLE = "unreadable"


AT_WORK = (State.TRAINING, State.EVALUATING)


class RunStatus:
    """One run as it was when its files last changed."""

    def __init__(self, run: Run, queued: bool = False):
        self.run = run
        self.record: dict[str, Any] = {}
        self.metrics: dict[str, Any] = {}  # the latest line of metrics.jsonl
        self.evaluations: dict[int, Any] = {}  # the latest line per length, of the run's own encoding and current weights
        self.problem: str | None = None  # why the record cannot be read
        self.queued = queued  # a job of this command waits for it, or
        self.active = False  # works on it
        self.taken_up = 0.0  # the Unix time when it began to
        self.shown: State | None = None  # when it was last looked at
        self._lengths: list[int] | None = None  # that its recipe evaluates; read when needed
        self._stamps: dict[Path, Stamp] = {}

    def refresh(self) -> bool:
        """Reads the files that changed; returns whether any did. A file that is damaged for a moment counts as unchanged."""
        reads = {
            self.run.record_file: self._read_record,
            self.run.metrics_file: self._read_metrics,
            self.run.evaluations_file: self._read_evaluations,
        }
        has_changed = False
        for file, read in reads.items():
            if self._has_changed(file):
                has_changed = True
                with suppress(RunError, OSError):
                    read()
        return has_changed

    def _has_changed(self, file: Path) -> bool:
        try:
            stat = file.stat()
        except OSError:
            if self.record and not self.run.path.is_dir():
                self.problem = f"{self.run} {GONE}"
            return False
        stamp, before = (stat.st_mtime_ns, stat.st_size), self._stamps.get(file)
        self._stamps[file] = stamp
        return stamp != before

    def _read_record(self) -> None:
        before = self.record.get("weights")
        try:
            self.record, self.problem = self.run.record, None
        except RunError as error:
            self.problem = None if self.record else str(error)
        if self.record.get("weights") != before:  # what was measured of others no longer counts
            self.evaluations = {}
            self._stamps.pop(self.run.evaluations_file, None)

    def _read_metrics(self) -> None:
        self.metrics = self.run.last_metrics() or self.metrics

    def _read_evaluations(self) -> None:
        self.evaluations = {**self.run.latest_evaluations()}

    @property
    def state(self) -> State:
        if self.problem:
            return State.UNREADABLE
        status = self.record.get("status", Status.CREATED)
        if self.active:
            return State.EVALUATING if status == Status.TRAINED else State.TRAINING
        if self.queued:
            return State.WAITING
        if status == Status.TRAINED and self._is_being_evaluated():
            return State.EVALUATING
        if status in (Status.CREATED, Status.TRAINING):
            lives = has_process(self.record, self.last_change)
            if status == Status.CREATED:
                return State.WAITING if lives else State.NOT_STARTED
            return State.TRAINING if lives else State.INTERRUPTED
        return State(status)

    @property
    def last_change(self) -> float:
        """The Unix time of the last change to its files."""
        return max((stamp[0] for stamp in self._stamps.values()), default=0) / 1e9

    @property
    def seconds_quiet(self) -> float:
        """Since the last change to its files, or since a job of this command began to work on it."""
        return max(0.0, time.time() - max(self.last_change, self.taken_up))

    def _is_being_evaluated(self) -> bool:
        """Whether lengths are missing, and the process that trained the run lives and goes on writing."""
        if "started" not in self.record or self.seconds_quiet > QUIET_SECONDS or not has_process(self.record, self.last_change):
            return False
        if self._lengths is None:
            config = self.run.config
            self._lengths = parse_lengths(config.eval.lengths, config.length)
        return any(length not in self.evaluations for length in self._lengths)

    @property
    def has_ended(self) -> bool:
        return self.state not in (State.WAITING, *AT_WORK)

    @property
    def steps(self) -> tuple[int, int | None]:
        """Steps done, and all steps: None until training has started."""
        total = self.record.get("steps")
        done = total if self.record.get("status") == Status.TRAINED else self.metrics.get("step", 0)
        return int(done or 0), total

    @property
    def exact_match_by_factor(self) -> dict[float, float]:
        """Exact match by multiple of the training length, where it is known."""
        if not (length := self.record.get("length")):
            return {}
        return {n / length: line["exact_match"] for n, line in self.evaluations.items() if "exact_match" in line}


class SweepStatus:
    """All runs that `find` returns, new ones included."""

    def __init__(self, find: Callable[[], Iterable[Run]], queued: bool = False, now: Callable[[], float] = time.monotonic):
        self.find, self.queued = find, queued
        self.runs: dict[Run, RunStatus] = {}
        self.now, self.start = now, now()
        self.first: tuple[int, int] | None = None  # steps done and runs ended when this command began

    def refresh(self, only: Collection[Run] | None = None) -> list[str]:
        """Reads what changed and returns one line per run that changed its state or was evaluated at another length.

        The first call returns no lines but those of runs that cannot be read. With `only`, these runs are looked at.
        """
        if only is None:
            self.runs = {run: self.runs.get(run) or RunStatus(run, self.queued) for run in self.find()}
        first, news, problems = self.first is None, list[str](), list[Message]()
        for status in self.runs.values() if only is None else [self.runs[run] for run in only]:
            before, lengths = status.shown, set(status.evaluations)
            status.refresh()
            status.shown = status.state
            if status.problem and first:
                problems += [(status.run.path, line) for line in _news(status, before, lengths)]
            elif not first:
                news += _news(status, before, lengths)
        news += folded(problems)
        self.first = self.first or (self.steps()[0], self.n_ended)
        return news

    @property
    def n_ended(self) -> int:
        return sum(status.has_ended for status in self.runs.values())

    @property
    def at_work(self) -> list[RunStatus]:
        return [status for status in self.runs.values() if status.state in AT_WORK]

    def steps(self) -> tuple[int, float]:
        """Steps done and all steps, over all runs; a run that has not started counts as the mean of those that have."""
        pairs = [status.steps for status in self.runs.values()]
        totals = [total for _, total in pairs if total]
        return sum(done for done, _ in pairs), sum(total or (fmean(totals) if totals else 0) for _, total in pairs)

    def summary(self) -> str:
        """All runs in one line: how many there are of every state, the share of steps, and the time left."""
        counts = Counter(status.state for status in self.runs.values())
        states = ", ".join(f"{counts[state]} {state}" for state in State if counts[state])
        done, total = self.steps()
        share = f", {done / total:.0%} of the steps".replace("%", " %") if done < total else ""
        seconds = self.seconds_left()
        left = f", about {duration(seconds)} left" if seconds else ""
        return f"{plural(len(self.runs), 'run')}: {states}{share}{left}"

    def seconds_left(self) -> float | None:
        """Extrapolated from the steps since the start, or from the runs where only evaluations are left; None: not known yet."""
        first_step, first_ended = self.first or (0, 0)
        done, total = self.steps()
        gained, rest = done - first_step, total - done
        if rest <= 0:
            gained, rest = self.n_ended - first_ended, len(self.runs) - self.n_ended
        return (self.now() - self.start) * rest / gained if gained > 0 else None


def _news(status: RunStatus, before: State | None, lengths: set[int]) -> list[str]:
    state, parts = status.state, list[str]()
    if state != before:
        error = {State.FAILED: status.record.get("error"), State.UNREADABLE: status.problem}.get(state)
        parts.append(f"{state}: {error}" if error else state)
        if state == State.TRAINED and "token_accuracy" in status.metrics:
            parts.append(f"token accuracy {status.metrics['token_accuracy']:.3f}")
    for length in sorted(set(status.evaluations) - lengths):
        parts.append(f"exact match {status.evaluations[length]['exact_match']:.3f} at {length}")
    return [f"{status.run.name}  {'  '.join(parts)}"] if parts else []


def directories_with_record(folder: Path) -> list[Run]:
    """The directories under a folder that have a record, which is not read."""
    runs = [Run(path) for path in sorted(folder.iterdir())] if folder.is_dir() else []
    return [run for run in runs if run.record_file.is_file()]

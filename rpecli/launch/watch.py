"""A sweep followed from its run directories alone, whoever runs it: what changed is read again, the rest is kept.

It has ended when no run is created or training, and none that is trained is still being evaluated by a process of this machine.
"""

import os
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from statistics import fmean
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from rpecli.config import ranges as config_ranges
from rpecli.run import provenance as run_provenance
from rpecli.run.directory import Run
from rpecli.run.files import RunError
from rpecli.run.records import EvalLine

PENDING = ("created", "training")
WORDS = {"created": "waiting", "training": "training", "evaluating": "evaluating", "trained": "trained", "stopped": "stopped",
         "failed": "failed"}  # fmt: skip
QUIET = 1800.0  # seconds without a word after which a process counts as another one that was given its number
PLAIN = 10.0  # seconds between two plain lines about the whole
SHOWN = 8  # runs at work that a screen lists
Stamp = tuple[int, int]  # time of the last change in ns, size


class Watched:
    """One run as it stood when its files last changed."""

    def __init__(self, run: Run):
        self.run = run
        self.info: dict[str, Any] = {}
        self.last: dict[str, Any] = {}  # line of metrics.jsonl
        self.lines: dict[int, EvalLine] = {}  # of eval.jsonl, the last of each length
        self.lengths: list[int] | None = None  # that its recipe asks for; read when wanted
        self._stamps: dict[str, Stamp | None] = {}

    def look(self) -> bool:
        """Reads what changed; whether anything did. A record that is damaged or half gone is left as it was."""
        changed = [name for name in ("run.json", "metrics.jsonl", "eval.jsonl") if self._changed(name)]
        for name in changed:
            with suppress(RunError, OSError):
                self._read(name)
        return bool(changed)

    def _changed(self, name: str) -> bool:
        with suppress(OSError):
            found = (self.run.path / name).stat()
            stamp = (found.st_mtime_ns, found.st_size)
            known = self._stamps.get(name)
            self._stamps[name] = stamp
            return stamp != known
        return False

    def _read(self, name: str) -> None:
        if name == "run.json":
            self.info = self.run.record
        elif name == "metrics.jsonl":
            self.last = self.run.last_metrics() or self.last
        else:
            lines = [line for line in self.run.evaluations() if not line.get("encoding_override")]
            newest = [line for line in lines if line.get("weights") == lines[-1].get("weights")]
            self.lines = {line["length"]: line for line in newest if "length" in line}

    @property
    def state(self) -> str:
        """Its status, or `evaluating`."""
        status = str(self.info.get("status", "created"))
        return "evaluating" if status == "trained" and self._evaluating() else status

    def _evaluating(self) -> bool:
        spoke = max((stamp[0] for stamp in self._stamps.values() if stamp), default=0) / 1e9
        if time.time() - spoke > QUIET or not self._alive():
            return False
        if self.lengths is None:
            config = self.run.config
            self.lengths = config_ranges.parse_lengths(config.eval.lengths, config.length)
        return any(length not in self.lines for length in self.lengths)

    def _alive(self) -> bool:
        """Whether the process that trained it still lives; only asked of runs of this machine."""
        pid = self.info.get("pid")
        if not isinstance(pid, int) or self.info.get("machine") != run_provenance.machine():
            return False
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:  # it lives, and is not ours
            return True
        return True

    @property
    def at_work(self) -> bool:
        return self.state in (*PENDING, "evaluating")

    @property
    def steps(self) -> tuple[int, int | None]:
        """Done and wanted; wanted is known once it has started."""
        wanted = self.info.get("steps")
        done = wanted if self.info.get("status") == "trained" else self.last.get("step", 0)
        return int(done or 0), wanted


class Watch:
    """All runs that `find` gives, new ones too."""

    def __init__(self, find: Callable[[], Iterable[Run]]):
        self.find, self.runs, self.start = find, dict[Run, Watched](), time.monotonic()
        self.first: int | None = None  # steps done when the watch began

    def look(self) -> list[str]:
        """Reads what changed and says it, a sentence a run that came to another state or was measured at another length."""
        self.runs = {run: self.runs.get(run) or Watched(run) for run in self.find()}
        said = []
        for each in self.runs.values():
            before, lengths = (each.state if each.info else None), set(each.lines)
            if each.look() or before == "evaluating":
                said += self._news(each, before, lengths)
        if self.first is None:
            self.first = self.steps()[0]
            return []
        return said

    def _news(self, each: Watched, before: str | None, lengths: set[int]) -> list[str]:
        now = each.state
        told = [f"exact match {each.lines[n]['exact_match']:.3f} at {n}" for n in sorted(set(each.lines) - lengths)]
        moved = [] if now == before else [WORDS.get(now, now) + (f": {each.info['error']}" if now == "failed" else "")]
        if now == "trained" and before != "trained" and "token_accuracy" in each.last:
            moved.append(f"token accuracy {each.last['token_accuracy']:.3f}")
        return [f"{each.run.name}  {'  '.join([*moved, *told])}"] if moved or told else []

    @property
    def ended(self) -> bool:
        return not any(each.at_work for each in self.runs.values())

    def steps(self) -> tuple[int, float]:
        """Done and wanted over all runs; one that has not started yet counts as the mean of those that have."""
        both = [each.steps for each in self.runs.values()]
        known = [wanted for _, wanted in both if wanted]
        return sum(done for done, _ in both), sum(wanted or (fmean(known) if known else 0) for _, wanted in both)

    def line(self) -> str:
        """The whole in one line."""
        counts = Counter(each.state for each in self.runs.values())
        told = ", ".join(f"{counts[state]} {word}" for state, word in WORDS.items() if counts[state])
        done, wanted = self.steps()
        share = f", {done / wanted:.0%} of the steps" if wanted else ""
        return f"{len(self.runs)} run{'s' * (len(self.runs) != 1)}: {told}{share}{self._left(done, wanted)}"

    def _left(self, done: int, wanted: float) -> str:
        spent, gained = time.monotonic() - self.start, done - (self.first or 0)
        if gained <= 0 or done >= wanted:
            return ""
        seconds = int(spent * (wanted - done) / gained)
        return f", about {seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02} left"

    def view(self) -> Group:
        """What a terminal shows: the whole, the runs at work, what is known of each encoding so far."""
        working = [each for each in self.runs.values() if each.state in ("training", "evaluating")]
        more = [Text(f"and {len(working) - SHOWN} more")] if len(working) > SHOWN else []
        return Group(Text(self.line(), style="bold"), _working(working[:SHOWN]), *more, Text(), _so_far(list(self.runs.values())))


def _columns(*names: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for place, name in enumerate(names):
        table.add_column(name, justify="left" if place < 2 else "right", no_wrap=True)
    return table


def _working(runs: list[Watched]) -> Table:
    table = _columns("at work", "", "step", "loss", "token acc.", "exact")
    for each in runs:
        done, wanted = each.steps
        numbers = [f"{each.last[key]:.3f}" if key in each.last else "-" for key in ("loss", "token_accuracy", "exact_match")]
        table.add_row(each.run.name, WORDS.get(each.state, each.state), f"{done}/{wanted or '?'}", *numbers)
    return table


def _so_far(runs: list[Watched]) -> Table:
    """A row a task and encoding: runs that ended, validation, and exact match by multiple of the training length."""
    rows: dict[tuple[str, str], list[Watched]] = defaultdict(list)
    for each in runs:
        rows[str(each.info.get("task")), str(each.info.get("encoding"))].append(each)
    factors = sorted({factor for each in runs for factor in _factors(each)})
    table = _columns("task", "encoding", "ended", "failed", "token acc.", *(f"exact {factor:.3g}x" for factor in factors))
    for (task, encoding), members in sorted(rows.items()):
        ended = sum(not each.at_work for each in members)
        failed = sum(each.info.get("status") == "failed" for each in members)
        validated = [each.last["token_accuracy"] for each in members if "token_accuracy" in each.last]
        cells = [_mean([found[factor] for each in members if factor in (found := _factors(each))]) for factor in factors]
        table.add_row(task, encoding, f"{ended}/{len(members)}", str(failed or ""), _mean(validated), *cells)
    return table


def _factors(each: Watched) -> dict[float, float]:
    """Exact match by multiple of the training length, where that is known."""
    trained = each.info.get("length")
    return {n / trained: line["exact_match"] for n, line in each.lines.items() if "exact_match" in line} if trained else {}


def _mean(values: list[float]) -> str:
    return f"{fmean(values):.2f}" if values else "-"


def follow(watch: Watch, console: Console, every: float, sleep: Callable[[float], None] = time.sleep) -> None:
    """Shows the watch until the sweep has ended: a screen that stays in place, or plain lines where there is none."""
    if console.is_terminal:
        with Live(console=console, auto_refresh=False, transient=True, vertical_overflow="ellipsis") as live:
            while True:
                watch.look()
                live.update(watch.view(), refresh=True)
                if watch.ended:
                    return
                sleep(every)
    spoke = -PLAIN
    while True:
        said = watch.look()
        if time.monotonic() - spoke >= PLAIN or watch.ended:
            said.append(watch.line())
            spoke = time.monotonic()
        for text in said:
            console.print(text, highlight=False, markup=False, soft_wrap=True)
        if watch.ended:
            return
        sleep(every)


def directories(folder: Path) -> list[Run]:
    """The directories under a folder that have a record, which is not read."""
    runs = [Run(path) for path in sorted(folder.iterdir())] if folder.is_dir() else []
    return [run for run in runs if run.record_file.is_file()]

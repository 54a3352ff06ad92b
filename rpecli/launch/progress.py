"""What people see while runs go on and after: bars in a terminal, one plain line an interval elsewhere."""

import time
from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from rpecli import table as tables
from rpecli.launch.job import INTERRUPTED, SAVED
from rpecli.launch.pool import Event
from rpecli.launch.worker import failure_reason
from rpecli.run.directory import Run

INTERVAL = 10.0  # seconds between plain lines of a run


def clock(seconds: float) -> str:
    """125 -> `2:05`."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def follow(events: Iterable[Event], console: Console, runs: list[Run]) -> dict[Run, int]:
    """Shows runs until all have ended; returns their exit codes."""
    show = _Bars(console, runs) if console.is_terminal else _Lines(console, runs)
    with show:
        for event in events:
            show.on(event)
    return show.codes


def _status(run: Run, steps: int) -> dict[str, Any]:
    """Where a run stands, from its directory alone."""
    line = run.last_metrics() or {}
    seconds, step = line.get("seconds") or 0.0, line.get("step", 0)
    evaluated = len(run.evaluations()) if step >= steps else 0
    return {"step": step, "steps": steps, "loss": line.get("loss"), "accuracy": line.get("token_accuracy"),
            "rate": line.get("tokens", 0) / seconds if seconds else None, "evaluated": evaluated,
            "left": seconds * (steps - step) / step if step else None}  # fmt: skip


def _words(status: dict[str, Any]) -> str:
    if status["step"] >= status["steps"]:
        return f"evaluating, {status['evaluated']} lengths done"
    if status["loss"] is None:
        return "starting"
    return (
        f"loss {status['loss']:.3f}  acc {status['accuracy']:.2f}  {status['rate'] / 1000:.0f}k tok/s  "
        f"{clock(status['left'] or 0)} left"
    )


class _Screen:
    """Shared by both ways of showing: what ended, how, and how long the rest may take."""

    def __init__(self, console: Console, runs: list[Run]):
        self.console, self.runs, self.codes, self.start = console, runs, dict[Run, int](), time.monotonic()
        self.steps = {run: run.config.steps for run in runs}

    def ended(self, event: Event) -> str:
        run = event.run
        assert run
        self.codes[run] = event.code
        seconds = run.record.get("seconds") or 0
        line = run.last_metrics() or {}
        how = {0: "done", SAVED: "stopped", INTERRUPTED: "stopped"}.get(
            event.code
        ) or f"FAILED: {failure_reason(run, event.code)}"
        numbers = f"acc {line['token_accuracy']:.3f}  {clock(seconds)}" if "token_accuracy" in line else ""
        return f"[{len(self.codes)}/{len(self.runs)}] {run.name}  {how}  {numbers}".rstrip()

    def total(self) -> str:
        spent = time.monotonic() - self.start
        share = len(self.codes) / len(self.runs)
        rest = f", about {clock(spent * (1 - share) / share)} left" if 0 < share < 1 else ""
        return f"{len(self.codes)}/{len(self.runs)} runs, {clock(spent)}{rest}"


class _Lines(_Screen):
    """Not a terminal: a line when a run starts and ends, and one an interval in between."""

    def __enter__(self) -> "_Lines":
        self.last = dict[Run, float]()
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def on(self, event: Event) -> None:
        if event.kind == "ended":
            self._print(self.ended(event))
        for run in event.active:
            if time.monotonic() - self.last.setdefault(run, time.monotonic()) >= INTERVAL:
                self.last[run] = time.monotonic()
                status = _status(run, self.steps[run])
                self._print(f"{run.name}  step {status['step']}/{status['steps']}  {_words(status)}")

    def _print(self, text: str) -> None:
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)


class _Bars(_Screen):
    """A terminal: a bar a run at work and one for the whole."""

    def __enter__(self) -> "_Bars":
        columns = (TextColumn("{task.description}", markup=False), BarColumn(bar_width=20), TextColumn("{task.fields[words]}"))
        self.progress = Progress(*columns, console=self.console, transient=True)
        self.whole = self.progress.add_task("all", total=sum(self.steps.values()), words="")
        self.bars = dict[Run, Any]()
        self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()

    def on(self, event: Event) -> None:
        if event.kind == "started" and event.run and event.run not in self.bars:  # a run of a stack starts twice
            self.bars[event.run] = self.progress.add_task(event.run.name, total=self.steps[event.run], words="starting")
        if event.kind == "ended" and event.run:
            self.progress.remove_task(self.bars.pop(event.run))
            self.progress.console.print(self.ended(event), highlight=False, markup=False)
        done = sum(self.steps[run] for run in self.codes)
        for run in event.active:
            status = _status(run, self.steps[run])
            done += status["step"]
            self.progress.update(self.bars[run], completed=status["step"], words=_words(status))
        self.progress.update(self.whole, completed=done, words=self.total())


def plain(table: Table) -> str:
    """A rich table as Markdown, for pipes and files."""
    head = [str(column.header) for column in table.columns]
    rows = zip(*(map(str, column.cells) for column in table.columns), strict=True)
    align = "".join("r" if column.justify == "right" else "l" for column in table.columns)
    return tables.Table(str(table.title or ""), head, align, list(map(list, rows))).markdown()

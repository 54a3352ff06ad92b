"""What people see while runs go on and after: bars in a terminal, one plain line an interval elsewhere."""

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from rpecli import table as tables
from rpecli.launch import pool as sweep
from rpecli.launch import worker as work
from rpecli.launch.job import INTERRUPTED, SAVED
from rpecli.run import directory as run
from rpecli.run.files import last_line, read_lines

INTERVAL = 10.0  # seconds between plain lines of a run


def clock(seconds: float) -> str:
    """125 -> `2:05`."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def follow(events: Iterable[sweep.Event], console: Console, paths: list[Path]) -> dict[Path, int]:
    """Shows runs until all have ended; returns their exit codes."""
    show = _Bars(console, paths) if console.is_terminal else _Lines(console, paths)
    with show:
        for event in events:
            show.on(event)
    return show.codes


def _status(path: Path, steps: int) -> dict[str, Any]:
    """Where a run stands, from its directory alone."""
    line = last_line(path / "metrics.jsonl") or {}
    seconds, step = line.get("seconds") or 0.0, line.get("step", 0)
    evaluated = len(read_lines(path / "eval.jsonl")) if step >= steps else 0
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

    def __init__(self, console: Console, paths: list[Path]):
        self.console, self.paths, self.codes, self.start = console, paths, dict[Path, int](), time.monotonic()
        self.steps = {path: run.config_of(path).steps for path in paths}

    def ended(self, event: sweep.Event) -> str:
        assert event.path
        self.codes[event.path] = event.code
        seconds = run.read(event.path).get("seconds") or 0
        line = last_line(event.path / "metrics.jsonl") or {}
        how = {0: "done", SAVED: "stopped", INTERRUPTED: "stopped"}.get(
            event.code
        ) or f"FAILED: {work.why(event.path, event.code)}"
        numbers = f"acc {line['token_accuracy']:.3f}  {clock(seconds)}" if "token_accuracy" in line else ""
        return f"[{len(self.codes)}/{len(self.paths)}] {event.path.name}  {how}  {numbers}".rstrip()

    def total(self) -> str:
        spent = time.monotonic() - self.start
        share = len(self.codes) / len(self.paths)
        rest = f", about {clock(spent * (1 - share) / share)} left" if 0 < share < 1 else ""
        return f"{len(self.codes)}/{len(self.paths)} runs, {clock(spent)}{rest}"


class _Lines(_Screen):
    """Not a terminal: a line when a run starts and ends, and one an interval in between."""

    def __enter__(self) -> "_Lines":
        self.last = dict[Path, float]()
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def on(self, event: sweep.Event) -> None:
        if event.kind == "ended":
            self._print(self.ended(event))
        for path in event.active:
            if time.monotonic() - self.last.setdefault(path, time.monotonic()) >= INTERVAL:
                self.last[path] = time.monotonic()
                status = _status(path, self.steps[path])
                self._print(f"{path.name}  step {status['step']}/{status['steps']}  {_words(status)}")

    def _print(self, text: str) -> None:
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)


class _Bars(_Screen):
    """A terminal: a bar a run at work and one for the whole."""

    def __enter__(self) -> "_Bars":
        columns = (TextColumn("{task.description}", markup=False), BarColumn(bar_width=20), TextColumn("{task.fields[words]}"))
        self.progress = Progress(*columns, console=self.console, transient=True)
        self.whole = self.progress.add_task("all", total=sum(self.steps.values()), words="")
        self.bars = dict[Path, Any]()
        self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()

    def on(self, event: sweep.Event) -> None:
        if event.kind == "started" and event.path and event.path not in self.bars:  # a run of a stack starts twice
            self.bars[event.path] = self.progress.add_task(event.path.name, total=self.steps[event.path], words="starting")
        if event.kind == "ended" and event.path:
            self.progress.remove_task(self.bars.pop(event.path))
            self.progress.console.print(self.ended(event), highlight=False, markup=False)
        done = sum(self.steps[path] for path in self.codes)
        for path in event.active:
            status = _status(path, self.steps[path])
            done += status["step"]
            self.progress.update(self.bars[path], completed=status["step"], words=_words(status))
        self.progress.update(self.whole, completed=done, words=self.total())


def plain(table: Table) -> str:
    """A rich table as Markdown, for pipes and files."""
    head = [str(column.header) for column in table.columns]
    rows = zip(*(map(str, column.cells) for column in table.columns), strict=True)
    align = "".join("r" if column.justify == "right" else "l" for column in table.columns)
    return tables.Table(str(table.title or ""), head, align, list(map(list, rows))).markdown()

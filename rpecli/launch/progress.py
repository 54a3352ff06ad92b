"""The progress of many runs on a console: a view that stays in place in a terminal, plain lines in a pipe."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from statistics import fmean

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table as RichTable
from rich.text import Text

from rpecli.escape import visible
from rpecli.launch.job import STOPPED, Ending
from rpecli.launch.pool import Event
from rpecli.launch.status import RunStatus, State, SweepStatus
from rpecli.run.directory import Run
from rpecli.run.files import RunError
from rpecli.table import Table, duration, evenly, multiple, plural, whole_percent
from rpecli.titles import display, display_trained

INTERVAL = 10.0  # seconds between plain reports
EVERYWHERE = 5.0  # seconds between looks at all runs, in between at those at work: a look at 1,000 takes 25 ms
VIEW = 0.001  # the same in a terminal, per run: a view of 1,000 takes 13 ms
MAX_LISTED = 8  # runs at work that are listed
USUAL = 76  # columns of a terminal that has room for the exact match at MAX_LENGTHS lengths
WIDE = 110  # columns of a terminal that has room for the tokens per second of a run
MAX_LENGTHS = 6  # whose exact match is shown
RESULTS = "Per cent. valid.: tokens right in the last validation. 1x: whole strings right at the training length."
QUIET = 120.0  # seconds without a change to its files after which a run at work is said to make no progress


def follow(events: Iterable[Event], console: Console, runs: list[Run], interval: float = INTERVAL) -> dict[Run, Ending]:
    """Shows the jobs of a pool until all have ended; returns how every run ended."""
    endings: dict[Run, Ending] = {}
    sweep = SweepStatus(lambda: runs, queued=True)
    with Display(console, sweep, interval) as display:
        display.show(sweep.refresh())
        before, told = {run: Before.of(run) for run in runs}, set[str]()
        active, looked = set[Run](), time.monotonic()
        for event in events:
            messages = [event.text] if event.text else []
            if event.run and event.ending:
                endings[event.run] = event.ending
                sweep.runs[event.run].active = sweep.runs[event.run].queued = False
                what = _end_of(event.run, event.ending, before[event.run], told)
                messages = [f"[{len(endings)}/{len(runs)}] {what}"]
            if event.kind == "tick" and active != set(event.active):
                _take_up(sweep, active, set(event.active), endings)
                active = set(event.active)
            if time.monotonic() - looked > EVERYWHERE:
                looked = time.monotonic()
                sweep.refresh()
            else:
                sweep.refresh(active | ({event.run} if event.run else set()))
            display.show(messages)
        sweep.refresh()
        display.show([], last=True)
    return endings


def _take_up(sweep: SweepStatus, before: set[Run], active: set[Run], endings: dict[Run, Ending]) -> None:
    """Notes which runs the jobs of this command have begun to work on, and have left."""
    for run in before ^ active:
        status = sweep.runs[run]
        status.active = run in active
        status.taken_up = time.time() if status.active else status.taken_up
        status.queued = run not in endings and not status.active


@dataclass(frozen=True)
class Before:
    """What a run had before this command."""

    trained: bool
    evaluations: int  # of lengths
    cells: int  # of grids

    @classmethod
    def of(cls, run: Run) -> "Before":
        with suppress(RunError):
            return cls(run.is_trained, len(run.evaluations()), len(run.grid_evaluations()))
        return cls(False, 0, 0)


def _end_of(run: Run, ending: Ending, before: Before, told: set[str]) -> str:
    """`copy-rope-s0-...  evaluated at 4 lengths, 3 s`: what this command did to a run, and how that ended.

    `told` holds the reasons of failures that were told before.
    """
    if ending.code in STOPPED:
        return f"{run.name}  stopped"
    if ending.code:
        reason = ending.reason_of(run)
        again = reason in told
        told.add(reason)
        return f"{run.name}  {'FAILED as before' if again else f'FAILED: {ending.reason}'}"
    try:
        parts = [] if before.trained else [_training(run)]
        lines, cells = run.evaluations()[before.evaluations :], run.grid_evaluations()[before.cells :]
    except RunError as error:
        return f"{run.name}  done, but its record cannot be read: {error}"
    if lines or cells:
        counts = {"length": len({line["length"] for line in lines}), "cell": len(cells)}
        places = " and ".join(plural(number, noun) for noun, number in counts.items() if number)
        parts.append(f"evaluated at {places}, {duration(sum(line['seconds'] for line in [*lines, *cells]))}")
    return f"{run.name}  {'; '.join(parts) or 'already evaluated'}"


def _training(run: Run) -> str:
    accuracy = (run.last_metrics() or {}).get("token_accuracy")
    reached = "" if accuracy is None else f", {accuracy:.0%} of tokens right in validation"
    return f"trained in {duration(run.record.get('seconds') or 0)}{reached}".replace("%", " %")


def watch(
    find: Callable[[], Iterable[Run]], console: Console, interval: float, sleep: Callable[[float], None] = time.sleep
) -> None:
    """Shows the runs that `find` returns, looking every `interval` seconds, until no run is waiting, training or evaluated."""
    sweep = SweepStatus(find)
    with Display(console, sweep) as display:
        while True:
            messages = sweep.refresh()
            ended = sweep.n_ended == len(sweep.runs)
            display.show(messages, last=ended)
            if ended:
                return
            sleep(interval)


class Display:
    """Shows messages as they come and the state of a sweep: always in a terminal, every `interval` seconds in a pipe."""

    def __init__(self, console: Console, sweep: SweepStatus, interval: float = INTERVAL):
        self.console, self.sweep, self.interval = console, sweep, interval
        self.last_report = -float("inf")
        live = Live(console=console, auto_refresh=False, transient=True, vertical_overflow="ellipsis")
        self.live = live if console.is_terminal else None

    def __enter__(self) -> "Display":
        if self.live:
            self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.live:
            self.live.stop()

    def show(self, messages: list[str], last: bool = False) -> None:
        lines = list(messages)
        interval = VIEW * len(self.sweep.runs) if self.live else self.interval
        due = last or time.monotonic() - self.last_report >= interval
        if due:
            self.last_report = time.monotonic()
        if self.live and due:
            self.live.update(view(self.sweep, self.console.width), refresh=True)
        elif due:
            lines += [self.sweep.summary(), *(f"{status.run.name}  {describe(status)}" for status in _listed(self.sweep))]
        for line in lines:
            self.console.print(visible(line), highlight=False, markup=False, soft_wrap=True)


def _listed(sweep: SweepStatus) -> list[RunStatus]:
    return sweep.at_work[:MAX_LISTED]


def describe(status: RunStatus, rate: bool = True) -> str:
    """How far a run at work is, in words; without `rate`, not how many tokens it does in a second."""
    done, total = status.steps
    if status.seconds_quiet > QUIET:
        return f"step {done}/{total or '?'}  nothing written for {duration(status.seconds_quiet)}"
    if status.state == State.EVALUATING:
        return f"evaluating, {plural(len(status.evaluations), 'length')} done"
    if not status.metrics or not total:
        return "starting"
    line, seconds = status.metrics, status.metrics.get("seconds")
    parts = [f"step {done}/{total}", f"loss {line['loss']:.3f}", f"acc {line['token_accuracy']:.2f}"]
    if seconds and done:
        parts += [f"{line['tokens'] / seconds / 1000:.0f}k tok/s"] if rate else []
        parts += [f"{duration(seconds * (total - done) / done)} left"]
    return "  ".join(parts)


def view(sweep: SweepStatus, width: int) -> Group:
    """What a terminal of so many columns shows: all runs in a line and a bar, those at work, and the results so far."""
    n_hidden = len(sweep.at_work) - MAX_LISTED
    more = [Text(f"and {n_hidden} more")] if n_hidden > 0 else []
    lines = Text(sweep.summary(), style="bold"), _bar(sweep), _at_work(sweep, width)
    return Group(*lines, *more, Text(), _results(sweep, MAX_LENGTHS if width >= USUAL else 2))


def _bar(sweep: SweepStatus) -> RichTable:
    grid = RichTable(box=None, pad_edge=False, show_header=False)
    done, total = sweep.steps()
    grid.add_row(ProgressBar(total=total or 1, completed=done, width=40), Text(f"{sweep.n_ended}/{len(sweep.runs)} ended"))
    return grid


def _at_work(sweep: SweepStatus, width: int) -> RichTable:
    """A line for each run at work; its name is cut where there is no room, how far it is never."""
    rows = [(_title(status), describe(status, rate=width >= WIDE)) for status in _listed(sweep)]
    grid = RichTable(box=None, pad_edge=False, show_header=False)
    grid.add_column(no_wrap=True, max_width=max(1, width - 2 - max((len(how_far) for _, how_far in rows), default=0)))
    grid.add_column(no_wrap=True)
    for name, how_far in rows:
        grid.add_row(Text(visible(name)), Text(how_far))
    return grid


def _title(status: RunStatus) -> str:
    """`RoPE, seed 0, Copy`: what tells runs apart comes first, for the end is cut where there is no room."""
    task, encoding = _names(status)
    return f"{encoding}, seed {status.record.get('seed')}, {task}"


def _names(status: RunStatus) -> tuple[str, str]:
    """The task and the encoding of a run as people know them."""
    record = status.record
    return _titles(str(record.get("task")), str(record.get("encoding")), str(record.get("positions", "start")))


@cache  # each looks through the folders
def _titles(task: str, encoding: str, positions: str) -> tuple[str, str]:
    return display("tasks", task), display_trained(encoding, positions)


def _results(sweep: SweepStatus, most: int) -> Table:
    """One row per task and encoding: runs that ended, validation, and exact match by multiple of the training length."""
    groups: dict[tuple[str, str], list[RunStatus]] = defaultdict(list)
    for status in sweep.runs.values():
        groups[_names(status)].append(status)
    factors = evenly(sorted({factor for status in sweep.runs.values() for factor in status.exact_match_by_factor}), most)
    columns = ["task", "encoding", "ended", "valid.", *map(multiple, factors)]
    rows = []
    for names, statuses in sorted(groups.items()):
        failed = sum(status.state == State.FAILED for status in statuses)
        ended = f"{sum(status.has_ended for status in statuses)}/{len(statuses)}" + (f", {failed} failed" if failed else "")
        validations = [status.metrics["token_accuracy"] for status in statuses if "token_accuracy" in status.metrics]
        by_run = [status.exact_match_by_factor for status in statuses]
        exact = [[values[factor] for values in by_run if factor in values] for factor in factors]
        rows.append([*names, ended, *(whole_percent(fmean(shares) if shares else None) for shares in (validations, *exact))])
    return Table("", columns, "ll" + "r" * (len(columns) - 2), rows, caption=RESULTS)

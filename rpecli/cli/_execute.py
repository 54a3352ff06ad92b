"""Runs jobs, each in a process of its own or one after another in this process, and reports which failed and why."""

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import typer

from rpecli import process
from rpecli.cli import _flags as flags
from rpecli.cli._exit import FAILURE, USAGE, stop, warn
from rpecli.cli._inputs import check_device
from rpecli.cli._output import new_console, say
from rpecli.launch.job import Ending, Job
from rpecli.run.directory import Run
from rpecli.run.files import last_log_lines
from rpecli.run.problems import about
from rpecli.signals import INTERRUPTED, TERMINATED, Interrupted, Terminated
from rpecli.table import plural

if TYPE_CHECKING:
    from rpecli.evaluate.request import EvalRequest
    from rpecli.launch.place import Place

LOG_LINES = 5  # that are shown of the log of a crash
GO_ON = "start the same command again to go on"


@dataclass(frozen=True)
class Workplace:
    """Where and how the jobs of a command are done: on this machine or elsewhere, so many at a time, as these flags say."""

    device: str
    jobs: int | None  # at a time, on this machine
    nproc: int = 1
    trackers: tuple[str, ...] = ()
    stack: str = "off"
    place: "Place | None" = None

    @classmethod
    def of(cls, on: str | None, device: str, jobs: int | None, nproc: int, track: str | None, stack: str) -> "Workplace":
        """The workplace of these flags; stops for what cannot be used, before a run is created."""
        place = parse_place(on)
        if place is None:
            check_device(device)
        parse_stack(stack, "cpu", nproc)
        return cls(device, jobs, nproc, parse_track(track), stack, place)

    def open(self) -> None:
        """Lets the process that starts the others load torch while this one checks the recipe."""
        if self.place is None and self.jobs != 0 and process.size() == 1:
            from rpecli.launch import pool

            pool.SERVER.open()

    def job(self, run: Run, request: "EvalRequest | None" = None, train: bool = True, probe: bool = False) -> Job:
        return Job(run, train, request, probe, self.device, self.nproc, self.trackers)

    def do(self, jobs: list[Job], stop_on_failure: bool = False) -> bool:
        """Does jobs, reports those that failed, and returns whether there are any."""
        if not jobs:
            return False
        return execute(stack_jobs(jobs, parse_stack(self.stack, self.device)), self.jobs, stop_on_failure, self.place)


def parse_stack(stack: str, device: str, nproc: int = 1) -> int:
    """How many runs may train as one batched program, from `--stack`; 1: none are combined."""
    if stack == "off":
        return 1
    if nproc > 1 and stack != "auto":
        stop(f"--stack {stack} trains several runs in one process, --nproc {nproc} one run in several: give one of them", USAGE)
    from rpecli.launch import stacking

    try:
        return stacking.max_stack(stack, device)
    except ValueError as error:
        stop(str(error), USAGE)


def stack_jobs(jobs: list[Job], max_stack: int) -> list[Job]:
    """The jobs, with up to `max_stack` of those that can train together combined into one."""
    if max_stack == 1:
        return jobs
    from rpecli.launch import stacking

    return stacking.group_stackable(jobs, max_stack)


def parse_track(text: str | None) -> tuple[str, ...]:
    """The trackers that `--track` names; stops for one that cannot be used."""
    from rpecli.launch import track

    try:
        return track.parse(text)
    except ValueError as error:
        stop(str(error), USAGE)


def check_torchrun(n_runs: int) -> None:
    """Stops where torchrun has started this command for what its processes cannot share."""
    if process.size() == 1:
        return
    flags.refuse(flags.given("--nproc", "--jobs", "--on", "--stack"), "torchrun decides how many processes train the run")
    if n_runs != 1:
        stop(f"under torchrun a command trains one run, and these are {n_runs}: name one, or use --nproc without torchrun", USAGE)


def follow_first_process(run: Run, device: str) -> NoReturn:
    """The part of a process of torchrun that is not the first: it ends here."""
    from rpecli.train import parallel

    parallel.follow(run, device)


def parse_place(text: str | None) -> "Place | None":
    """Where `--on` says; stops where nothing can be started there, before a run is created."""
    if text is None:
        return None
    from rpecli.launch import place
    from rpecli.launch.command import PlaceError

    flags.refuse(flags.given("--jobs"), f"--on {text} decides how many runs work at a time")
    try:
        where = place.parse(text)
        where.check()
    except PlaceError as error:
        stop(str(error), USAGE)
    return where


def left_to_do(work: Mapping[str, Job], created: Iterable[Run], done: Set[str]) -> list[Job]:
    """The jobs, by the name of their run, of the created runs that are not done; how many are done is said."""
    if done:
        say(f"{len(done)} of {len(work)} runs are already trained and evaluated.", err=True)
    return [replace(work[run.name], train=not run.is_trained) for run in created if run.name not in done]


def execute(jobs: list[Job], workers: int | None, stop_on_failure: bool = True, place: "Place | None" = None) -> bool:
    """Runs jobs and reports the failed runs.

    Args:
        jobs: What to do.
        workers: Processes at a time; 0: in this process; None: as many as have a core for each of their threads.
        stop_on_failure: End the command if a run failed.
        place: Another place than this machine; `workers` does not count there.

    Returns:
        Whether a run failed.
    """
    if not jobs:
        return False
    workers = 0 if process.size() > 1 else workers
    go_on = place.after_interrupt if place else GO_ON
    try:
        endings = _elsewhere(jobs, place) if place else _in_this_process(jobs) if workers == 0 else _in_processes(jobs, workers)
    except Interrupted:
        raise Interrupted(go_on) from None
    except Terminated:
        raise Terminated(go_on) from None
    codes = {ending.code for ending in endings.values()}
    if INTERRUPTED in codes:
        raise Interrupted(GO_ON)
    if TERMINATED in codes:
        raise Terminated(GO_ON)
    failed = [run for run, ending in endings.items() if ending.code]
    _print_failures({run: endings[run] for run in failed})
    _print_failures({run: ending for run, ending in endings.items() if not ending.code and ending.reason}, "yellow")
    if failed and stop_on_failure:
        count = sum(len(job.runs) for job in jobs)
        stop(f"{len(failed)} of {count} runs failed; fix the cause and rerun the same command", FAILURE)
    return bool(failed)


def _in_processes(jobs: list[Job], workers: int | None) -> dict[Run, Ending]:
    """How jobs ended that have processes of their own, with progress on stderr."""
    from rpecli.launch import pool, progress

    runs = [run for job in jobs for run in job.runs]
    processes = workers or pool.default_processes(runs, max(job.nproc for job in jobs))
    return progress.follow(pool.execute(jobs, processes, warn), new_console(stderr=True), runs)


def _elsewhere(jobs: list[Job], place: "Place") -> dict[Run, Ending]:
    """How jobs ended on other machines, with progress on stderr."""
    from rpecli.launch import progress
    from rpecli.launch.command import PlaceError

    runs = [run for job in jobs for run in job.runs]
    try:
        return progress.follow(place.execute(jobs), new_console(stderr=True), runs)
    except PlaceError as error:
        stop(str(error), FAILURE)


def _in_this_process(jobs: list[Job]) -> dict[Run, Ending]:
    from rpecli.launch import pool

    endings = {}
    for event in pool.execute(jobs, 0, say=lambda text: typer.echo(text, err=True)):
        if event.text:
            warn(event.text)
        if event.run and event.ending:
            endings[event.run] = event.ending
    return endings


def _print_failures(endings: dict[Run, Ending], color: str = "red") -> None:
    """The reason of every failed run, or the warning of one that is done; one that many have in common once."""
    by_reason: dict[str, list[Run]] = {}
    for run, ending in endings.items():
        by_reason.setdefault(ending.reason_of(run), []).append(run)
    for runs in by_reason.values():
        run, others = runs[0], len(runs) - 1
        log = f"  ({run.log_file})" if _has_text(run.log_file) else ""
        more = f"; and the same for {plural(others, 'other run')}" if others else ""
        warn(f"{about(run, endings[run].reason)}{log}{more}", color)
        if endings[run].crashed:
            warn("\n".join(f"  {line}" for line in last_log_lines(run.log_file, LOG_LINES) or []), "red")


def _has_text(log: Path) -> bool:
    return log.is_file() and log.stat().st_size > 0

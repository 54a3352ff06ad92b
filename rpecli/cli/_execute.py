"""Runs jobs, each in a process of its own or one after another in this process, and reports which failed and why."""

import typer

from rpecli.cli._exit import FAILURE, USAGE, Interrupted, Terminated, signals_as_exceptions, stop, warn
from rpecli.cli._output import new_console
from rpecli.launch.job import INTERRUPTED, SAVED, Job
from rpecli.run.directory import Run


def parse_stack(stack: str, device: str) -> int:
    """How many runs may train as one batched program, from `--stack`; 1: none are combined."""
    if stack == "off":
        return 1
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


def execute(jobs: list[Job], workers: int | None, stop_on_failure: bool = True) -> bool:
    """Runs jobs and reports the failed runs.

    Args:
        jobs: What to do.
        workers: Processes at a time; 0: in this process; None: as many as have a core for each of their threads.
        stop_on_failure: End the command if a run failed.

    Returns:
        Whether a run failed.
    """
    if not jobs:
        return False
    with signals_as_exceptions():
        codes = _in_this_process(jobs) if workers == 0 else _in_processes(jobs, workers)
    if INTERRUPTED in codes.values():
        raise Interrupted
    if SAVED in codes.values():
        raise Terminated
    failed = [run for run, code in codes.items() if code]
    for run in failed:
        _print_failure(run, codes[run], has_log=workers != 0)
    if failed and stop_on_failure:
        count = sum(len(job.runs) for job in jobs)
        stop(f"{len(failed)} of {count} runs failed; fix the cause and rerun the same command", FAILURE)
    return bool(failed)


def _in_processes(jobs: list[Job], workers: int | None) -> dict[Run, int]:
    """Exit codes of jobs in processes of their own, with progress on stderr."""
    from rpecli.launch import pool, progress

    runs = [run for job in jobs for run in job.runs]
    processes = workers or pool.default_processes(runs)
    return progress.follow(pool.execute(jobs, processes), new_console(stderr=True), runs)


def _in_this_process(jobs: list[Job]) -> dict[Run, int]:
    from rpecli.launch import pool

    events = pool.execute(jobs, 0, say=lambda text: typer.echo(text, err=True))
    return {event.run: event.code for event in events if event.run}


def _print_failure(run: Run, code: int, has_log: bool) -> None:
    from rpecli.launch.worker import failure_reason

    log = f"  ({run.log_file})" if has_log else ""
    warn(f"{run.name}: {failure_reason(run, code)}{log}", "red")

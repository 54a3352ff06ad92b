"""Jobs done, each in a process of its own or one by one in this one, with what failed and why."""

import typer

from rpecli.cli._exit import FAILURE, USAGE, Interrupted, Terminated, signals_end_it, stop, warn
from rpecli.cli._output import new_console
from rpecli.launch.job import INTERRUPTED, SAVED, Job
from rpecli.run.directory import Run


def most_together(how: str, device: str) -> int:
    """How many runs may train as one, from `--stack`; 1: each alone."""
    if how == "off":
        return 1
    from rpecli.launch import stacking as launch_stacking

    try:
        return launch_stacking.max_stack(how, device)
    except ValueError as error:
        stop(str(error), USAGE)


def together(todo: list[Job], most: int) -> list[Job]:
    """The jobs, those that can train as one made one."""
    if most == 1:
        return todo
    from rpecli.launch import stacking as launch_stacking

    return launch_stacking.group_stackable(todo, most)


def execute(todo: list[Job], jobs: int | None, end: bool = True) -> bool:
    """Does the jobs, in this process for `--jobs 0`; says what failed. Returns whether any did, or ends the command."""
    if not todo:
        return False
    with signals_end_it():
        codes = _in_this_process(todo) if jobs == 0 else _in_processes(todo, jobs)
    if INTERRUPTED in codes.values():
        raise Interrupted
    if SAVED in codes.values():
        raise Terminated
    failed = [run for run, code in codes.items() if code]
    for run in failed:
        _say_why(run, codes[run], has_log=jobs != 0)
    if failed and end:
        count = sum(len(job.runs) for job in todo)
        stop(f"{len(failed)} of {count} runs failed; start the same command again once that is mended", FAILURE)
    return bool(failed)


def _in_processes(todo: list[Job], jobs: int | None) -> dict[Run, int]:
    """Exit codes of jobs in processes of their own, shown while they go on."""
    from rpecli.device import n_cores
    from rpecli.launch import pool, progress

    runs = [run for job in todo for run in job.runs]
    return progress.follow(pool.execute(todo, jobs or min(len(runs), n_cores())), new_console(stderr=True), runs)


def _in_this_process(todo: list[Job]) -> dict[Run, int]:
    from rpecli.launch import pool

    events = pool.execute(todo, 0, say=lambda text: typer.echo(text, err=True))
    return {event.run: event.code for event in events if event.run}


def _say_why(run: Run, code: int, has_log: bool) -> None:
    from rpecli.launch.worker import failure_reason

    log = f"  ({run.log_file})" if has_log else ""
    warn(f"{run.name}: {failure_reason(run, code)}{log}", "red")

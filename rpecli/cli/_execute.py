"""Jobs done, each in a process of its own or one by one in this one, with what failed and why."""

from pathlib import Path

import typer

from rpecli.cli._exit import FAILURE, USAGE, Interrupted, Terminated, signals_end_it, stop, warn
from rpecli.cli._output import new_console
from rpecli.launch.job import INTERRUPTED, SAVED, Job


def most_together(how: str, device: str) -> int:
    """How many runs may train as one, from `--stack`; 1: each alone."""
    if how == "off":
        return 1
    from rpecli.launch import stacking as launch_stacking

    try:
        return launch_stacking.most(how, device)
    except ValueError as error:
        stop(str(error), USAGE)


def together(todo: list[Job], most: int) -> list[Job]:
    """The jobs, those that can train as one made one."""
    if most == 1:
        return todo
    from rpecli.launch import stacking as launch_stacking

    return launch_stacking.together(todo, most)


def execute(todo: list[Job], jobs: int | None, end: bool = True) -> bool:
    """Does the jobs, in this process for `--jobs 0`; says what failed. Returns whether any did, or ends the command."""
    if not todo:
        return False
    with signals_end_it():
        codes = _one_by_one(todo) if jobs == 0 else _side_by_side(todo, jobs)
    if INTERRUPTED in codes.values():
        raise Interrupted
    if SAVED in codes.values():
        raise Terminated
    failed = [path for path, code in codes.items() if code]
    for path in failed:
        _say_why(path, codes[path], has_log=jobs != 0)
    if failed and end:
        count = sum(len(job.paths) for job in todo)
        stop(f"{len(failed)} of {count} runs failed; start the same command again once that is mended", FAILURE)
    return bool(failed)


def _side_by_side(todo: list[Job], jobs: int | None) -> dict[Path, int]:
    """Exit codes of jobs in processes of their own, shown while they go on."""
    from rpecli.device import n_cores
    from rpecli.launch import pool as sweep
    from rpecli.launch import progress as screen

    paths = [path for job in todo for path in job.paths]
    return screen.follow(sweep.execute(todo, jobs or min(len(paths), n_cores())), new_console(stderr=True), paths)


def _one_by_one(todo: list[Job]) -> dict[Path, int]:
    """Exit codes of jobs in this process, until one of them was asked to stop."""
    from rpecli.launch import worker as work

    codes: dict[Path, int] = {}
    waiting = list(todo)
    while waiting:
        job = waiting.pop(0)
        code = work.do(job, say=lambda text: typer.echo(text, err=True))
        if job.others and code not in (INTERRUPTED, SAVED):
            waiting = job.each() + waiting
            continue
        codes |= dict.fromkeys(job.paths, code)
        if code in (INTERRUPTED, SAVED):
            break
    return codes


def _say_why(path: Path, code: int, has_log: bool) -> None:
    from rpecli.launch import worker as work

    log = f"  ({path / 'log.txt'})" if has_log else ""
    warn(f"{path.name}: {work.why(path, code)}{log}", "red")

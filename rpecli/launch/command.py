"""Jobs as commands, `rpe work RUN`: what another machine does with run directories on a shared disk."""

import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from rpecli import catalog, trust
from rpecli.choice import canonical
from rpecli.launch.job import DONE, FAILED, Ending, Job
from rpecli.launch.receipt import is_done, receipt
from rpecli.run.directory import Run
from rpecli.run.files import RunError, last_log_lines

LAST_LINES = 2  # of a log, in a message


def install_extra(name: str) -> str:
    """What to type for a library that rpe needs only in part: an extra of pyproject.toml."""
    return f"in the clone of rpe, .venv/bin/pip install -c constraints.txt -e '.[{name}]'"


class PlaceError(ValueError):
    """Jobs cannot be started in another place; says what to do."""


def words(jobs: list[Job]) -> list[str]:
    """The command that does jobs with the same `flags` one after another; the runs of a job that is stacked train as one."""
    runs = [str(run) for job in jobs for run in job.runs]
    return [sys.executable, "-P", "-m", catalog.PACKAGE.name, "work", *runs, *flags(jobs[0])]


def flags(job: Job) -> list[str]:
    """The settings of a job as flags of `rpe work`."""
    stack = ["--stack", str(len(job.runs))] if job.stacked_with else []
    request = job.request
    if request is None:
        wanted = ["--train-only"]
    else:
        own = request.settings is None or request.settings == job.run.config.eval
        wanted = [] if own or request.settings is None else ["--eval", request.settings.model_dump_json()]
        wanted += [] if job.probe else ["--no-probe"]
        wanted += ["--data", str(request.folder)] if request.folder else []
        override = request.encoding_override and canonical(request.encoding_override, job.run.path)
        wanted += ["--swap-encoding", override] if override else []
    nproc = ["--nproc", str(job.nproc)] if job.nproc > 1 else []
    track = ["--track", ",".join(job.track)] if job.track else []
    return ["--device", job.device, *nproc, *track, *stack, *wanted]


def environment() -> dict[str, str]:
    """What the command needs of this process's environment: the code that runs, and which of the user's files may."""
    package = str(catalog.PACKAGE.parent)
    paths = [package, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    installed = Path(package).name == "site-packages" and "PYTHONPATH" not in os.environ
    values = {} if installed else {"PYTHONPATH": os.pathsep.join(dict.fromkeys(paths))}
    return values | {name: os.environ[name] for name in (trust.VARIABLE,) if name in os.environ}


def batches(jobs: list[Job], size: int) -> Iterator[list[Job]]:
    """The jobs in lists of at most `size` that one command does; a stack has a command of its own."""
    alike: dict[tuple[str, ...], list[Job]] = {}
    for job in jobs:
        if job.stacked_with:
            yield [job]
        else:
            alike.setdefault(tuple(flags(job)), []).append(job)
    for group in alike.values():
        yield from (group[start : start + size] for start in range(0, len(group), size))


def ending_of(run: Run, job: Job, what: str, log: Path) -> Ending:
    """How a job ended for a run whose command has ended. `what` names the command in a message."""
    try:
        done = run.is_trained and _is_answered(job.of(run))
        error = run.record.get("error")
    except RunError as problem:
        return Ending(FAILED, str(problem))
    if done:
        return Ending(DONE)
    return Ending(FAILED, error or f"{what} ended before its work was done{_last_lines(log)}: start the same command again")


def _is_answered(job: Job) -> bool:
    """Whether all is measured that a job asks for."""
    if job.request is None or is_done(job, job.run.config):
        return True
    if receipt(job):
        return False
    from rpecli.evaluate.asked import is_answered  # where files decide, there is no receipt

    return is_answered(job.run, job.request)


def _last_lines(log: Path) -> str:
    lines = last_log_lines(log, LAST_LINES)
    if lines is None:
        return ""
    return f" ({log}: {' / '.join(line.strip() for line in lines)})" if lines else f" ({log})"


def new_folder(parent: Path) -> Path:
    """A folder that is not there yet, named by the time."""
    parent.mkdir(parents=True, exist_ok=True)
    stamp, number = datetime.now().strftime("%Y%m%d-%H%M%S"), 0
    while True:
        folder = parent / (f"{stamp}-{number}" if number else stamp)
        with suppress(FileExistsError):
            folder.mkdir()
            return folder
        number += 1

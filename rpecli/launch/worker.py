"""What one process does for one job: train, evaluate, and leave everything there is to report in the run directory."""

import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from rpecli.evaluate.request import EvalRequest
from rpecli.launch.job import BUSY, FAILED, INTERRUPTED, SAVED, Job
from rpecli.run.directory import Run, Status, Stopped
from rpecli.run.files import RunError, RunInUse

Say = Callable[[str], None]


def child_main(job: Job) -> None:
    """Entry point of a child process: its prints go to the run's log.txt, its exit code tells how the job ended."""
    log = os.open(job.run.log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    _end_with_the_parent()
    sys.stdout = open(1, "w", encoding="utf-8", buffering=1, closefd=False)  # noqa: SIM115 - for the life of the process
    sys.exit(run_job(job, say=print))


def _end_with_the_parent() -> None:
    """A command that is killed stops no child: without this its children would go on training and hold their runs."""
    parent = multiprocessing.parent_process()
    assert parent

    def wait() -> None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()


def run_job(job: Job, say: Say) -> int:
    """Does a job and returns its exit code. A failure is recorded in run.json.

    A job of several runs only trains them; afterwards every run has a job of its own, so a failure here is no failure of a run.
    """
    problems: list[str] = []
    try:
        if job.stacked_with:
            _train_stack(job, say)
        else:
            problems = _train_and_evaluate(job, say)
    except Stopped as stop:
        return SAVED if stop.signal == signal.SIGTERM else INTERRUPTED
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:
        say(traceback.format_exc())
        if job.stacked_with:
            return 0
        try:
            record_failure(job.run, f"{type(error).__name__}: {error}".splitlines()[0])
        except RunInUse:
            return BUSY
        return FAILED
    if job.request is not None and not job.stacked_with:
        job.run.update(error="; ".join(problems) or None)
    return FAILED if problems else 0


def _train_and_evaluate(job: Job, say: Say) -> list[str]:
    """Returns what could not be evaluated, and why."""
    from rpecli.evaluate.measure import evaluate
    from rpecli.train.loop import train

    if job.train:
        train(job.run, job.device, progress=lambda line: say(f"train {line}"))
    if job.request is None:
        return []
    problems = evaluate(job.run, job.request, job.device, progress=lambda line: say(f"eval {line}"))
    if job.probe:
        _probe(job, job.request, say)
    return problems


def _probe(job: Job, request: EvalRequest, say: Say) -> None:
    """Shifts and attention, for claims and reasons in a report; what does not fit in memory is left out."""
    from rpecli.probes.inspect import LENGTHS, inspect_run
    from rpecli.probes.invariance import probe

    try:
        probe(job.run, device=job.device, request=request)
        inspect_run(job.run, LENGTHS, job.device, request)
    except RunError as error:
        say(str(error))


def _train_stack(job: Job, say: Say) -> None:
    from rpecli.train import stacked

    def log(run: Run, line: Mapping[str, Any]) -> None:
        with open(run.log_file, "a", encoding="utf-8") as file:
            file.write(f"train {line}\n")

    try:
        stacked.train_together(job.runs, job.device, progress=log)
    except stacked.NotStackable as reason:
        say(f"{len(job.runs)} runs train one by one: {reason}")


def record_failure(run: Run, error: str) -> None:
    """Writes an error to a run's record, and that the run failed unless it is trained. Raises RunInUse."""
    with run.lock(), suppress(RunError):
        failed = {"status": Status.FAILED} if run.record["status"] != Status.TRAINED else {}
        run.update(**failed, error=error)


def failure_reason(run: Run, code: int) -> str:
    """How a job failed, from its exit code and the record of its run."""
    if code == BUSY:
        return "another process works on it: wait for it, or stop it"
    return str(run.record.get("error") or f"exit code {code}")

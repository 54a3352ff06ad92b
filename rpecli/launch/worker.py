"""What one process does for one job: train, evaluate, and leave everything there is to report in the run directory."""

import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, NoReturn

from rpecli import catalog, signals
from rpecli.evaluate.request import EvalRequest
from rpecli.launch.job import BUSY, FAILED, GONE, Ending, Job
from rpecli.launch.receipt import receipt
from rpecli.launch.track import Trackings, tracked
from rpecli.run.directory import Run, Status, Stopped
from rpecli.run.files import NotWritten, RunError, RunInUse, reason
from rpecli.signals import INTERRUPTED, TERMINATED, Interrupted, Terminated
from rpecli.table import whole_percent

Say = Callable[[str], None]
OUTPUT, ERRORS = 1, 2  # file descriptors
MAX_REASON = 1000  # characters


def in_child(job: Job, alive: int) -> Ending:
    """Does a job in a process of its own, whose prints go to the run's log.txt. `alive` is a pipe that ends with the command."""
    signals.install(signals.GRACE)
    threading.Thread(target=_end_with_the_command, args=(alive,), daemon=True).start()
    _print_into(job.run)
    return run_job(job, say=print)


def _print_into(run: Run) -> None:
    """Sends what this process prints to the log of a run; nowhere if that cannot be written. A link is not followed."""
    try:
        log = os.open(run.log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o644)
    except OSError:
        log = os.open(os.devnull, os.O_WRONLY)
    os.dup2(log, OUTPUT)
    os.dup2(log, ERRORS)
    sys.stdout, sys.stderr = (
        open(number, "w", encoding="utf-8", errors="replace", buffering=1, closefd=False)  # noqa: SIM115 - for all its life
        for number in (OUTPUT, ERRORS)
    )


def _end_with_the_command(alive: int) -> None:
    """A command that is killed stops no child: without this its children would go on training and hold their runs."""
    os.read(alive, 1)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(signals.GRACE)
    os.kill(os.getpid(), signal.SIGKILL)


def run_job(job: Job, say: Say) -> Ending:
    """Does a job. A failure is recorded in run.json.

    A job of several runs only trains them; afterwards every run has a job of its own, so a failure here is no failure of a run.
    """
    session = Session.of(job.run)
    try:
        if job.stacked_with:
            _train_stack(job, say)
            return Ending()
        with tracked(job.track, job.run) as tracking:
            problems = _train_and_evaluate(job, say, tracking)
        if job.request is not None:
            with suppress(NotWritten):  # the next command looks again at what there is
                job.run.update(error="; ".join(problems) or None, receipt=None if problems else receipt(job))
        return Ending(FAILED, "; ".join(problems)) if problems else Ending(reason="; ".join(tracking.problems))
    except Stopped as stop:
        return Ending(TERMINATED if stop.signal == signal.SIGTERM else INTERRUPTED)
    except Terminated:
        return Ending(TERMINATED)
    except (Interrupted, KeyboardInterrupt):
        return Ending(INTERRUPTED)
    except RunInUse:
        return Ending(BUSY)
    except (Exception, SystemExit) as error:
        return _failure(job, error, session)


@contextmanager
def exits_raised() -> Iterator[None]:
    """Within, `os._exit` in the code of a task or an encoding ends its run, as `exit` does, and not this process in silence."""
    leave = os._exit

    def raised(code: int) -> NoReturn:
        raise SystemExit(code)

    os._exit = raised  # type: ignore[assignment]
    try:
        yield
    finally:
        os._exit = leave


def _failure(job: Job, error: BaseException, session: "Session") -> Ending:
    """Writes what happened into the run's log, and the reason into its record."""
    with suppress(OSError), open(job.run.log_file, "a", encoding="utf-8", errors="replace") as log:
        log.write("".join(traceback.format_exception(error)))
    if job.stacked_with:
        return Ending()
    gone = not job.run.path.is_dir()
    ending = Ending(FAILED, f"{job.run} {GONE}; start the same command again" if gone else reason_of(error))
    record_failure(job.run, ending.reason, session)
    return ending


def reason_of(error: BaseException) -> str:
    """An exception in one line, with file and line where it is the user's own code that raised it."""
    return f"{catalog.blame(error)}{_reason_of(error)}"[:MAX_REASON]


def _reason_of(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return f"its code called exit({error.code if error.code is not None else ''}): remove that call"
    if isinstance(error, RunError):
        return str(error)
    if isinstance(error, OSError):
        return ": ".join([reason(error), *([str(error.filename)] if error.filename else [])])
    return ", ".join([catalog.cause(error), *getattr(error, "__notes__", [])])


def _train_and_evaluate(job: Job, say: Say, tracking: Trackings) -> list[str]:
    """Returns what could not be evaluated, and why."""

    def validated(line: Mapping[str, Any]) -> None:
        say(_trained(job.run, line))
        tracking.validation(line)

    def evaluated(line: Mapping[str, Any]) -> None:
        say(_evaluated(job.run, line))
        tracking.evaluation(line)

    from rpecli.evaluate.measure import evaluate
    from rpecli.train.loop import train

    if job.train:
        train(job.run, job.device, progress=validated, nproc=job.nproc)
    if job.request is None:
        return []
    problems = evaluate(job.run, job.request, job.device, progress=evaluated)
    if job.probe:
        _probe(job, job.request, say)
    return problems


def _trained(run: Run, line: Mapping[str, Any]) -> str:
    right = whole_percent(line["token_accuracy"])
    return f"{run.name}  step {line['step']}: loss {line['loss']:.3f}, {right} % of tokens right in validation"


def _evaluated(run: Run, line: Mapping[str, Any]) -> str:
    return f"{run.name}  length {line['length']}: {whole_percent(line['token_accuracy'])} % of tokens right"


def _probe(job: Job, request: EvalRequest, say: Say) -> None:
    """Shifts and attention, for claims and reasons in a report; what does not fit in memory is left out."""
    from rpecli.probes.inspect import LENGTHS, inspect_run
    from rpecli.probes.invariance import probe

    try:
        probe(job.run, device=job.device, request=request)
        inspect_run(job.run, LENGTHS, job.device, request)
    except RunInUse:
        raise
    except RunError as error:
        say(str(error))


def _train_stack(job: Job, say: Say) -> None:
    from rpecli.train import stacked

    def log(run: Run, line: Mapping[str, Any]) -> None:
        trackings[run].validation(line)
        with open(run.log_file, "a", encoding="utf-8") as file:
            file.write(f"{_trained(run, line)}\n")

    try:
        with ExitStack() as stack:
            trackings = {run: stack.enter_context(tracked(job.track, run)) for run in job.runs}
            stacked.train_together(job.runs, job.device, progress=log)
    except stacked.NotStackable as error:
        say(f"{len(job.runs)} runs train one by one: {error}")


class Session:
    """Who does a job, and when the run was last started before: a failure is written into no record but its own."""

    def __init__(self, pid: int, started: str | None):
        self.pid, self.started = pid, started

    @classmethod
    def of(cls, run: Run, pid: int | None = None) -> "Session":
        """The session of this process, or of the one with that number, that begins now."""
        with suppress(RunError, OSError):
            return cls(pid or os.getpid(), run.record.get("started"))
        return cls(pid or os.getpid(), None)

    def owns(self, record: Mapping[str, Any]) -> bool:
        """Whether nobody else has started the run since."""
        return record.get("pid") == self.pid or record.get("started") == self.started


def record_failure(run: Run, error: str, session: Session) -> None:
    """Writes an error to a run's record, and that the run failed unless it is trained.

    A run that another process holds, or has trained since, is left as it is, and so is one that cannot be written.
    """
    with suppress(RunError, OSError), run.lock():
        record = run.record
        if session.owns(record):
            failed = {"status": Status.FAILED} if record["status"] != Status.TRAINED else {}
            run.update(**failed, error=error)

"""What one child process does with one run, or a stack: train, evaluate, leave all that is to say in the run directory."""

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path

from rpecli.launch.job import BUSY, FAILED, INTERRUPTED, SAVED, Job
from rpecli.run import directory as run
from rpecli.run.files import RunError

Say = Callable[[str], None]


def child(job: Job) -> None:
    """Entry of a child process: prints go to the run's log.txt, the exit code says how it went."""
    log = os.open(job.path / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    _end_with_the_parent()
    sys.stdout = open(1, "w", encoding="utf-8", buffering=1, closefd=False)  # noqa: SIM115 - for the life of the process
    sys.exit(do(job, say=print))


def _end_with_the_parent() -> None:
    """A command killed outright stops no child itself: without this they would train on unseen, each holding its run."""
    parent = multiprocessing.parent_process()
    assert parent

    def wait() -> None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()


def do(job: Job, say: Say) -> int:
    """Trains and evaluates one run; returns the exit code. A failure is recorded in run.json, with the way out.

    A job of several runs trains them together, no more: see `_together`.
    """
    if job.others:
        return _together(job, say)
    try:
        trouble = _do(job, say)
    except run.Stopped as stop:
        return SAVED if stop.signal == signal.SIGTERM else INTERRUPTED
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:
        say(traceback.format_exc())
        return _record(job.path, error)
    if job.request is not None:
        run.update(job.path, error="; ".join(trouble) or None)
    return FAILED if trouble else 0


def _together(job: Job, say: Say) -> int:
    """Trains runs as one. What that leaves undone each does alone afterwards, so a failure here is no failure of a run."""
    from rpecli.train import stacked as stack

    def tell(path: Path, line: dict[str, object]) -> None:
        with open(path / "log.txt", "a", encoding="utf-8") as log:
            log.write(f"train {line}\n")

    try:
        stack.train_together(job.paths, job.device, job.threads, progress=tell)
    except run.Stopped as stop:
        return SAVED if stop.signal == signal.SIGTERM else INTERRUPTED
    except KeyboardInterrupt:
        return INTERRUPTED
    except stack.NotStackable as why:
        say(f"{len(job.paths)} runs train one by one: {why}")
    except Exception:
        say(traceback.format_exc())
    return 0


def _record(path: Path, error: Exception) -> int:
    """Writes a failure to run.json, but not into the record of a run that another process works on."""
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(run.lock(path))
        except RunError:
            return BUSY
        with contextlib.suppress(RunError):
            failed = {"status": "failed"} if run.read(path)["status"] != "trained" else {}
            run.update(path, **failed, error=f"{type(error).__name__}: {error}".splitlines()[0])
    return FAILED


def why(path: Path, code: int) -> str:
    """What a child's exit code and its run's record say of how it failed."""
    if code == BUSY:
        return "another process works on it: wait for it, or stop it"
    return str(run.read(path).get("error") or f"exit code {code}")


def _do(job: Job, say: Say) -> list[str]:
    from rpecli.evaluate.measure import evaluate
    from rpecli.train.loop import train

    if job.train:
        train(job.path, job.device, job.threads, progress=lambda line: say(f"train {line}"))
    if job.request is None:
        return []
    return evaluate(job.path, job.request, job.device, job.threads, progress=lambda line: say(f"eval {line}"))

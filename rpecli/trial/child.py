"""Runs trials in a process of their own with a time limit: an endless loop, an exit or a crash of the code ends only that."""

import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path
from typing import Any, NoReturn

from rpecli import catalog, signals
from rpecli.choice import ChoiceError, canonical, is_path, map_paths, names_in
from rpecli.process import die_with_parent
from rpecli.run import code
from rpecli.trial.checks import FAILED, NOT_APPLICABLE, OK, DoesNotApply, Result
from rpecli.trial.fault import Fault, Tried, quiet

SECONDS = 30.0  # of computing, for one trial, which takes a fraction of a second
PATIENCE = 5  # times as long on the clock: a busy machine is no fault of the code
TICK = 0.2  # seconds between looks at both
MEMORY = 8 << 30  # bytes beyond what the process has


@dataclass(frozen=True)
class Trial:
    """A canonical choice to try, of one encoding or task, and the model and lengths to try it with."""

    kind: str  # encodings or tasks
    choice: str
    d_model: int = 64
    n_head: int = 4
    lengths: tuple[int, ...] = (8, 16)  # of a task: problem lengths; of an encoding: the training length in tokens
    causal: bool = True
    check: str = ""  # one of the checks of its kind; without one, what training needs

    @property
    def own_file(self) -> str:
        """The path of the user's file, as it is written; empty for what ships."""
        name = names_in(self.choice)[0]
        return name if is_path(name) else ""

    @property
    def path(self) -> Path:
        return catalog.find(self.kind, names_in(self.choice)[0])


def problems(trials: Sequence[Trial]) -> list[str | None]:
    """What is wrong with each of these, None where nothing is."""
    return [result.text if result.outcome == FAILED else None for result in results_of(trials)]


def results_of(trials: Sequence[Trial]) -> list[Result]:
    """How each of these ended. Those of one file share a process, unless one ends it: what a file does reaches no other."""
    results: list[Result] = []
    while len(results) < len(trials):
        results += _in_child(_of_one_file(trials[len(results) :]))
    return results


def _of_one_file(trials: Sequence[Trial]) -> list[Trial]:
    """The first trials that are of the same file."""
    return list(takewhile(lambda trial: trial.own_file == trials[0].own_file, trials))


def _in_child(trials: Sequence[Trial]) -> list[Result]:
    """The results of the first trials: of all, or up to the one that ended the process."""
    method = "fork" if sys.platform == "linux" else "spawn"  # a fork has torch loaded
    context: Any = multiprocessing.get_context(method)
    receiver, sender = context.Pipe(duplex=False)
    results: list[Result] = []
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of any fork of a process with threads
        process = context.Process(target=_try_all, args=(sender, trials, folder), daemon=True)
        with signals.blocked():  # Ctrl-C is for the command, which then kills the process
            process.start()
        sender.close()
        step = trials[0].choice
        try:
            while len(results) < len(trials):
                if not receiver.poll(PATIENCE * SECONDS + 5):
                    results.append(Result(FAILED, f"{step}: is not done after {PATIENCE * SECONDS + 5:.0f} s"))
                    break
                kind, content = receiver.recv()
                if kind == "step":
                    step = content
                else:
                    results.append(content)
                if kind == "stuck":
                    break
        except EOFError:
            process.join()
            results.append(Result(FAILED, f"{step}: ended the process ({_how(process.exitcode)})"))
        finally:
            process.kill()
            process.join()
    return results


def _how(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def _try_all(sender: Any, trials: Sequence[Trial], folder: str) -> None:
    """In the child: sends ("step", what runs now), and ("result", how it ended) for each trial."""
    die_with_parent(signal.SIGKILL)
    quiet()
    import torch

    torch.set_num_threads(1)
    _limit_memory()
    for trial in trials:
        tried = _tried(trial, Path(folder), sender)
        done = threading.Event()
        threading.Thread(target=_watch, args=(done, sender, tried), daemon=True).start()
        result = _result(trial, tried)
        done.set()
        sender.send(("result", result))


def _tried(trial: Trial, folder: Path, sender: Any) -> Tried:
    """A copy of the user's file, because a copy is what will run, under the name that the user knows."""
    copy = replace(trial, choice=canonical(code.keep(trial.kind, trial.choice, folder), folder))
    name = f"{trial.kind[:-1]} {trial.choice}" if catalog.is_shipped(trial.path) else catalog.shown(trial.path)
    return Tried(copy.choice, copy.path, name, note=lambda text: sender.send(("step", text)))


def _result(trial: Trial, tried: Tried) -> Result:
    """How a trial ends."""

    def of_user(error: Exception) -> str:
        text = str(error).replace(tried.choice, map_paths(trial.choice, catalog.shown))
        return text.replace(str(tried.path), tried.name).replace(catalog.shown(tried.path), tried.name)

    leave = os._exit
    os._exit = _refuse_to_exit  # type: ignore[assignment]
    try:
        return Result(OK, _more(trial, tried) or "")
    except (Fault, ChoiceError) as error:
        return Result(FAILED, of_user(error))
    except DoesNotApply as error:
        return Result(NOT_APPLICABLE, of_user(error))
    finally:
        os._exit = leave


def _more(trial: Trial, tried: Tried) -> str | None:
    """Runs a trial; more to say of one that passes."""
    if trial.kind == "tasks":
        return _of_task(trial, tried)
    from rpecli.encoding import Shape
    from rpecli.trial import encoding

    shape = Shape(trial.d_model, trial.n_head, trial.lengths[0], trial.causal)
    if not trial.check:
        encoding.attempt(tried, shape)
        return None
    from rpecli.trial import encoding_checks

    return encoding_checks.run(trial.check, tried, shape)


def _of_task(trial: Trial, tried: Tried) -> str | None:
    from rpecli.trial import task, task_checks

    if not trial.check:
        task.attempt(tried, trial.lengths)
        return None
    return task_checks.run(trial.check, tried)


def _refuse_to_exit(_: int) -> NoReturn:
    raise SystemExit


def _watch(done: threading.Event, sender: Any, tried: Tried) -> None:
    """Ends the process of a trial that takes too long."""
    computed, began = time.process_time(), time.monotonic()
    while not done.wait(TICK):
        computing, waited = time.process_time() - computed, time.monotonic() - began
        if computing > SECONDS:
            _give_up(sender, tried, f"{SECONDS:.0f} s of computing: {'lower it' if tried.is_shipped else 'an endless loop?'}")
        elif waited > PATIENCE * SECONDS:
            why = "does it wait for something, or is the machine busy?"
            _give_up(sender, tried, f"{waited:.0f} s, of which it computed {computing:.0f}: {why}")


def _give_up(sender: Any, tried: Tried, told: str) -> None:
    sender.send(("stuck", Result(FAILED, f"{tried.where_now()}: {tried.step}: is not done after {told}")))
    os.kill(os.getpid(), 9)


def _limit_memory() -> None:
    with suppress(ImportError, ValueError, OSError):
        import resource

        pages = int(Path("/proc/self/statm").read_text().split()[0])
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY,) * 2)

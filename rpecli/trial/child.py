"""Runs trials in a process of their own with a time limit: an endless loop, an exit or a crash of the code ends only that."""

import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

from rpecli import catalog, signals
from rpecli.choice import ChoiceError, canonical, map_paths, names_in
from rpecli.process import die_with_parent
from rpecli.run import code
from rpecli.trial.fault import Fault, Tried, quiet

SECONDS = 30.0  # for one trial, which takes a fraction of a second
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

    @property
    def path(self) -> Path:
        return catalog.find(self.kind, names_in(self.choice)[0])


def problems(trials: Sequence[Trial]) -> list[str | None]:
    """What is wrong with each of these, None where nothing is."""
    results: list[str | None] = []
    while len(results) < len(trials):
        results += _in_child(trials[len(results) :])
    return results


def _in_child(trials: Sequence[Trial]) -> list[str | None]:
    """The results of the first trials: of all, or up to the one that ended the process."""
    method = "fork" if sys.platform == "linux" else "spawn"  # a fork has torch loaded
    context: Any = multiprocessing.get_context(method)
    receiver, sender = context.Pipe(duplex=False)
    results: list[str | None] = []
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of any fork of a process with threads
        process = context.Process(target=_try_all, args=(sender, trials, folder), daemon=True)
        with signals.blocked():  # Ctrl-C is for the command, which then kills the process
            process.start()
        sender.close()
        step = trials[0].choice
        try:
            while len(results) < len(trials):
                if not receiver.poll(SECONDS + 5):
                    results.append(f"{step}: is not done after {SECONDS:.0f} s")
                    break
                kind, text = receiver.recv()
                if kind == "step":
                    step = text
                else:
                    results.append(text)
                if kind == "stuck":
                    break
        except EOFError:
            process.join()
            results.append(f"{step}: ended the process ({_how(process.exitcode)})")
        finally:
            process.kill()
            process.join()
    return results


def _how(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def _try_all(sender: Any, trials: Sequence[Trial], folder: str) -> None:
    """In the child: sends ("step", what runs now), and ("result", what is wrong or None) for each trial."""
    die_with_parent(signal.SIGKILL)
    quiet()
    import torch

    torch.set_num_threads(1)
    _limit_memory()
    for trial in trials:
        tried = _tried(trial, Path(folder), sender)
        watch = threading.Timer(SECONDS, _give_up, (sender, tried))
        watch.daemon = True
        watch.start()
        result = _result(trial, tried)
        watch.cancel()
        sender.send(("result", result))


def _tried(trial: Trial, folder: Path, sender: Any) -> Tried:
    """A copy of the user's file, because a copy is what will run, under the name that the user knows."""
    copy = replace(trial, choice=canonical(code.keep(trial.kind, trial.choice, folder), folder))
    name = f"{trial.kind[:-1]} {trial.choice}" if catalog.is_shipped(trial.path) else catalog.shown(trial.path)
    return Tried(copy.choice, copy.path, name, note=lambda text: sender.send(("step", text)))


def _result(trial: Trial, tried: Tried) -> str | None:
    """What is wrong with a choice."""
    from rpecli.encoding import Shape
    from rpecli.trial import encoding, task

    leave = os._exit
    os._exit = _refuse_to_exit  # type: ignore[assignment]
    try:
        if trial.kind == "tasks":
            task.attempt(tried, trial.lengths)
        else:
            encoding.attempt(tried, Shape(trial.d_model, trial.n_head, trial.lengths[0], trial.causal))
    except (Fault, ChoiceError) as error:
        text = str(error).replace(tried.choice, map_paths(trial.choice, catalog.shown))
        return text.replace(str(tried.path), tried.name).replace(catalog.shown(tried.path), tried.name)
    finally:
        os._exit = leave
    return None


def _refuse_to_exit(_: int) -> NoReturn:
    raise SystemExit


def _give_up(sender: Any, tried: Tried) -> None:
    remedy = "lower it" if tried.is_shipped else "an endless loop?"
    sender.send(("stuck", f"{tried.where_now()}: {tried.step}: is not done after {SECONDS:.0f} s: {remedy}"))
    os.kill(os.getpid(), 9)


def _limit_memory() -> None:
    with suppress(ImportError, ValueError, OSError):
        import resource

        pages = int(Path("/proc/self/statm").read_text().split()[0])
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY,) * 2)

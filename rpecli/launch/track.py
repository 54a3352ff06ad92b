"""Tracking of runs with wandb, tensorboard or trackio, offline: what metrics.jsonl and eval.jsonl hold, for other viewers.

A tracker works in a thread of its own and can neither stop a run nor hold it up: what goes wrong in it becomes one line.
"""

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Protocol

from rpecli.escape import one_line
from rpecli.launch.command import install_extra
from rpecli.run.directory import Run

FOLDER = ".track"  # in the folder of runs: a folder per tracker
PROJECT = "rpe"
CLOSING = 20.0  # seconds that a tracker has to write what is left
SCORES = ("exact_match", "token_accuracy", "nll")  # of an evaluated length
Values = Mapping[str, float]


class Tracker(Protocol):
    """What a library does with one run."""

    def log(self, values: Values, step: int) -> None: ...
    def close(self) -> None: ...


class Wandb:
    """Weights & Biases: `wandb sync runs/.track/wandb/offline-*` uploads; WANDB_MODE=online does so at once."""

    def __init__(self, run: Run, folder: Path):
        import wandb

        mode: Any = os.environ.get("WANDB_MODE", "offline")
        facts = {"project": PROJECT, "name": run.name, "id": run.name, "resume": "allow", "config": run.config.to_keys()}
        self.run = wandb.init(dir=folder, mode=mode, settings=wandb.Settings(silent=True), **facts)

    def log(self, values: Values, step: int) -> None:
        self.run.log(dict(values), step=step)

    def close(self) -> None:
        self.run.finish()


class Tensorboard:
    """TensorBoard: `tensorboard --logdir runs/.track/tensorboard` shows all runs."""

    def __init__(self, run: Run, folder: Path):
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(str(folder / run.name))

    def log(self, values: Values, step: int) -> None:
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)

    def close(self) -> None:
        self.writer.close()


class Trackio:
    """Trackio: `TRACKIO_DIR=runs/.track/trackio trackio show` shows all runs."""

    def __init__(self, run: Run, folder: Path):
        os.environ.setdefault("TRACKIO_DIR", str(folder.absolute()))
        import trackio

        self.run = trackio.init(
            project=PROJECT, name=run.name, resume="allow", config=run.config.to_keys(), embed=False, auto_log_cpu=False
        )

    def log(self, values: Values, step: int) -> None:
        self.run.log(dict(values), step=step)

    def close(self) -> None:
        self.run.finish()


TRACKERS: dict[str, Callable[[Run, Path], Tracker]] = {"wandb": Wandb, "tensorboard": Tensorboard, "trackio": Trackio}


def parse(text: str | None) -> tuple[str, ...]:
    """The trackers in `wandb,tensorboard`. Raises ValueError for one that is unknown or not installed."""
    names = tuple(dict.fromkeys(name.strip() for name in text.split(","))) if text is not None else ()
    for name in names:
        if name not in TRACKERS:
            raise ValueError(f"--track {text}: {name!r} is none of {', '.join(TRACKERS)}")
        if find_spec(name) is None:
            raise ValueError(f"--track {name}: it is not installed: {install_extra('track')}")
    return names


class Tracking:
    """One tracker of one run at work: what is logged goes to its thread."""

    def __init__(self, name: str, run: Run):
        self.name, self.run = name, run
        self.problem = ""  # what went wrong first, in a line
        self.queue: SimpleQueue[tuple[Values, int] | None] = SimpleQueue()
        self.thread = threading.Thread(target=self._work, daemon=True)
        self.thread.start()

    def _work(self) -> None:
        try:
            folder = self.run.path.parent / FOLDER / self.name
            folder.mkdir(parents=True, exist_ok=True)
            tracker = TRACKERS[self.name](self.run, folder)
            while entry := self.queue.get():
                tracker.log(*entry)
            tracker.close()
        except (Exception, SystemExit) as error:
            self.problem = f"tracking with {self.name} stopped: {one_line(str(error)) or type(error).__name__}"

    def close(self) -> str:
        """Lets the tracker write what is left; returns what went wrong, or an empty text."""
        self.queue.put(None)
        self.thread.join(CLOSING)
        if self.thread.is_alive():
            return f"tracking with {self.name} stopped: it did not end within {CLOSING:.0f} s"
        return self.problem


class Trackings:
    """All trackers of a run."""

    def __init__(self, names: tuple[str, ...], run: Run):
        self.trackings = [Tracking(name, run) for name in names]
        self.step = int((run.last_metrics() or {}).get("step", 0))  # of the last validation
        self.problems: list[str] = []  # once they are closed

    def validation(self, line: Mapping[str, Any]) -> None:
        """A new line of metrics.jsonl."""
        self.step = line["step"]
        self._log({name: line[name] for name in ("loss", "lr", "tokens", "token_accuracy", "exact_match")})

    def evaluation(self, line: Mapping[str, Any]) -> None:
        """A new line of eval.jsonl."""
        self._log({f"length {line['length']}/{name}": line[name] for name in SCORES if line[name] is not None})

    def _log(self, values: Values) -> None:
        for tracking in self.trackings:
            tracking.queue.put((values, self.step))

    def close(self) -> None:
        self.problems = [problem for tracking in self.trackings if (problem := tracking.close())]


@contextmanager
def tracked(names: tuple[str, ...], run: Run) -> Iterator[Trackings]:
    """Within, the trackers of a run work."""
    trackings = Trackings(names, run)
    try:
        yield trackings
    finally:
        trackings.close()

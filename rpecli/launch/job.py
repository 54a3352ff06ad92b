"""What is wanted of runs, in words that need no torch: measure this, do that; and how a job says that it has ended."""

from dataclasses import dataclass, replace
from pathlib import Path

from rpecli.evaluate.request import EvalRequest

# Exit codes: 75 stopped by SIGTERM after saving, 130 by Ctrl-C, 73 nothing done because another process works on the run.
FAILED, BUSY, SAVED, INTERRUPTED = 1, 73, 75, 130


@dataclass(frozen=True)
class Job:
    """A run directory, whether to train it, and what to measure then (None: nothing); `others` train together with it."""

    path: Path
    train: bool
    request: EvalRequest | None = None
    device: str = "auto"
    threads: int = 1
    others: tuple[Path, ...] = ()

    @property
    def paths(self) -> tuple[Path, ...]:
        return (self.path, *self.others)

    def each(self) -> "list[Job]":
        """What is left to do once these runs have trained together, or could not: a job a run."""
        return [replace(self, path=path, others=()) for path in self.paths]

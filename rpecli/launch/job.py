"""A job: what to do with one run, or with several that train as one; and the exit codes with which it ends."""

from dataclasses import dataclass, replace

from rpecli.evaluate.request import EvalRequest
from rpecli.run.directory import Run

FAILED = 1
BUSY = 73  # nothing was done, because another process works on the run
SAVED = 75  # stopped by SIGTERM after saving
INTERRUPTED = 130  # stopped by Ctrl-C after saving


@dataclass(frozen=True)
class Job:
    """A run, whether to train it, what to evaluate afterwards (None: nothing), and whether to probe it too.

    The runs of `stacked_with` train together with it, as one program.
    """

    run: Run
    train: bool
    request: EvalRequest | None = None
    probe: bool = False
    device: str = "auto"
    stacked_with: tuple[Run, ...] = ()

    @property
    def runs(self) -> tuple[Run, ...]:
        return (self.run, *self.stacked_with)

    def unstacked(self) -> "list[Job]":
        """One job per run, for what is left to do once these runs have trained together, or could not."""
        return [replace(self, run=run, stacked_with=()) for run in self.runs]

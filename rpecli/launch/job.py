"""A job: what to do with one run, or with several that train as one; and how it ends."""

from dataclasses import dataclass, replace

from rpecli.evaluate.request import EvalRequest
from rpecli.run.directory import Run
from rpecli.signals import INTERRUPTED, TERMINATED

DONE = 0
FAILED = 1
BUSY = 73  # nothing was done, because another process works on the run
LOST = 71  # the process that starts the others ended, and this job with it
GONE = "is gone: it was moved or deleted meanwhile"  # a run's directory
STOPPED = (INTERRUPTED, TERMINATED)  # by Ctrl-C or SIGTERM


@dataclass(frozen=True)
class Job:
    """A run, whether to train it, what to evaluate afterwards (None: nothing), and whether to probe it too.

    The runs of `stacked_with` train together with it, as one program. `nproc` processes train a run.
    `track` names the trackers that get its metrics.
    """

    run: Run
    train: bool
    request: EvalRequest | None = None
    probe: bool = False
    device: str = "auto"
    nproc: int = 1
    track: tuple[str, ...] = ()
    stacked_with: tuple[Run, ...] = ()

    @property
    def runs(self) -> tuple[Run, ...]:
        return (self.run, *self.stacked_with)

    def unstacked(self) -> "list[Job]":
        """One job per run, for what is left to do once these runs have trained together, or could not."""
        return list(map(self.of, self.runs))

    def of(self, *runs: Run) -> "Job":
        """The same for some of its runs, or one."""
        return replace(self, run=runs[0], stacked_with=runs[1:])


@dataclass(frozen=True)
class Ending:
    """How a job ended: one of the codes above, and the reason of a failure, or a warning about a job that is done."""

    code: int = DONE
    reason: str = ""
    crashed: bool = False  # its process ended without saying why

    def reason_of(self, run: Run) -> str:
        """The reason without the names of the run and of the file of its record: equal for runs that failed alike."""
        parts = self.reason.replace(str(run), "RUN").replace(run.name, "RUN").split()
        return " ".join("FILE" if part.startswith("RUN/") else part for part in parts)

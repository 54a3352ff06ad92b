"""Whether somebody works on a run, from its record and the age of its files: a process that was killed cannot say so."""

import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from rpecli import process
from rpecli.run.directory import Run, Status
from rpecli.run.files import RunError

QUIET_SECONDS = 1800.0  # without a change after which a run on another machine counts as interrupted
INTERRUPTED = "interrupted"  # the state of a run whose process has ended without a word


def has_process(record: Mapping[str, Any], last_change: float) -> bool:
    """Whether the process of a record lives; on another machine, whether a file of the run changed lately (a Unix time)."""
    alive = process.is_alive(record.get("pid"), record.get("process"))
    return time.time() - last_change < QUIET_SECONDS if alive is None else alive


def state(run: Run, record: Mapping[str, Any]) -> str:
    """The status of a run, or INTERRUPTED where it is `training` and its process has ended."""
    dead = record["status"] == Status.TRAINING and not has_process(record, last_change(run))
    return INTERRUPTED if dead else str(record["status"])


def last_change(run: Run) -> float:
    """The Unix time at which a file of a run changed last; 0 if there is none."""
    times = [0.0]
    for file in (run.record_file, run.metrics_file, run.evaluations_file):
        with suppress(OSError):
            times.append(file.stat().st_mtime)
    return max(times)


def claim(run: Run) -> None:
    """Records that this process is to start a run that was created and not started by a process that has ended."""
    record = run.record
    if record["status"] != Status.CREATED or has_process(record, 0.0):
        return
    with suppress(RunError, OSError), run.lock(required=False):
        run.update(**process.this_process())

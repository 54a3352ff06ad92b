"""Peak memory of one call, by the kernel's own accounting, in a process of its own.

`python -m rpecli.bench.memory rpecli.bench.attention.prepared_call '{"choice": "rope", "length": 512}'` imports the function,
calls it with these arguments, calls what it returns, and prints by how many bytes the peak of resident memory exceeds what the
process held before that second call. The kernel's record of the peak (VmHWM) is reset in between: otherwise the import of torch,
whose peak exceeds what it keeps, would hide the call. Where it cannot be reset (not Linux), the peak of the whole process is
printed; that is good only for a difference between two similar processes, and may include the parent's peak, because a child
inherits ru_maxrss until it exceeds it.
"""

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from rpecli import process
from rpecli.device import peak_resident_memory, reset_peak_memory, resident_memory

MB = 2**20


class MeasurementError(RuntimeError):
    """The process that measures memory ended without a number."""


def peak(function: str, arguments: dict[str, Any], threads: int = 1, timeout: float | None = None) -> int:
    """Bytes that the call returned by `function(**arguments)` takes at its peak, measured in a new process.

    `function` is a dotted name. Raises MeasurementError if the process fails, or does not end within `timeout` seconds.
    """
    command = process.python_command(__name__, function, json.dumps(arguments))
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    try:
        completed = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=timeout)
    except subprocess.TimeoutExpired:
        raise MeasurementError(f"not finished after {timeout:.0f} s") from None
    if completed.returncode:
        reason = completed.stderr.strip().rpartition("\n")[2] or f"signal {-completed.returncode}"
        raise MeasurementError(f"the process that measures memory failed: {reason}")
    return int(completed.stdout.split()[-1])


def growth(call: Callable[[], object]) -> int:
    """Bytes by which the peak during a call exceeds what the process held before it."""
    before = resident_memory() if reset_peak_memory() else 0
    call()
    return peak_resident_memory() - before


def main() -> None:
    module, _, name = sys.argv[1].rpartition(".")
    call = getattr(importlib.import_module(module), name)(**json.loads(sys.argv[2]))
    print(growth(call))

"""How much memory a call takes at its peak, by the kernel's own accounting, in a process of its own.

`python -m rpecli.bench.memory rpecli.bench.attention.setting '{"encoding": ...}'` makes the call that a function returns and
prints what its peak lay above what the process held before. The kernel keeps the peak of resident memory (VmHWM) and can be told
to forget it, so that importing torch, whose peak is above its end, hides nothing. Where it cannot be told (not Linux) the peak of
the whole process is printed, which is only good for a difference between two like processes; there the parent's own peak
may be counted in, because a child inherits ru_maxrss until it has grown past it.
"""

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rpecli import catalog
from rpecli.device import process_peak_memory

MB = 2**20
FORGET, STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")


class Failed(RuntimeError):  # noqa: N818 - what happened to a child, most often that memory ran out
    """A process that was to measure ended without a number."""


def peak(function: str, setting: dict[str, Any], threads: int = 1, seconds: float | None = None) -> int:
    """Bytes of the call that `function(**setting)` returns, measured in a new process. Raises Failed, also after `seconds`."""
    command = [sys.executable, "-m", "rpecli.bench.memory", function, json.dumps(setting)]
    path = os.pathsep.join(filter(None, (str(catalog.PACKAGE.parent), os.environ.get("PYTHONPATH"))))
    env = os.environ | {"OMP_NUM_THREADS": str(threads), "PYTHONPATH": path}
    try:
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        raise Failed(f"not done after {seconds:.0f} s") from None
    if done.returncode:
        reason = done.stderr.strip().rpartition("\n")[2] or f"signal {-done.returncode}"
        raise Failed(f"the process that measures memory ended: {reason}")
    return int(done.stdout.split()[-1])


def growth(call: Callable[[], object]) -> int:
    """Bytes by which the peak during a call lies above what was held before it."""
    before = resident() if forget_peak() else 0
    call()
    return highest() - before


def forget_peak() -> bool:
    """Sets the kernel's record of the peak back to what is held now; whether it could."""
    try:
        FORGET.write_text("5")
    except OSError:
        return False
    return True


def resident() -> int:
    return _status("VmRSS")


def highest() -> int:
    return _status("VmHWM") if STATUS.exists() else process_peak_memory()


def _status(key: str) -> int:
    fields = dict(line.split(":", 1) for line in STATUS.read_text().splitlines())
    return int(fields[key].split()[0]) * 1024


def main() -> None:
    module, _, name = sys.argv[1].rpartition(".")
    call = getattr(importlib.import_module(module), name)(**json.loads(sys.argv[2]))
    print(growth(call))


if __name__ == "__main__":
    main()

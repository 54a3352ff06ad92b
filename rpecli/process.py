"""Processes: whether one still lives, how one ends with another, and how to start Python so that it imports this rpecli."""

import ctypes
import os
import platform
import subprocess
import sys
from functools import cache
from pathlib import Path

PR_SET_PDEATHSIG = 1
PROC = Path("/proc")


def identity(pid: int) -> str | None:
    """What tells a process from all others: machine and boot, and when it started; None if there is no such process."""
    started = _start(pid)
    return None if started is None else f"{_system()} {started}"


def this_process() -> dict[str, int | str | None]:
    """The fields of run.json that name this process."""
    return {"pid": os.getpid(), "process": identity(os.getpid())}


def is_alive(pid: object, recorded: object) -> bool | None:
    """Whether the process with this number and recorded `identity` lives; None where this system cannot tell: another machine."""
    if not isinstance(pid, int) or not isinstance(recorded, str):
        return False
    if not recorded.startswith(_system() + " "):
        return None
    return identity(pid) == recorded


@cache
def _system() -> str:
    """The system whose process numbers this process sees: a machine since its last boot, or a container on it."""
    try:
        boot = (PROC / "sys/kernel/random/boot_id").read_text().strip()
        return f"{boot[:8]}-{os.readlink(PROC / 'self/ns/pid').strip('pid:[]')}"
    except OSError:
        return platform.node() or "unknown"


def _start(pid: int) -> str | None:
    """When a process started, in the system's own words."""
    if (PROC / "self/stat").exists():
        try:
            state, *fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            return None
        return None if state in "ZX" else fields[18]  # clock ticks since the machine started
    done = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True)
    return done.stdout.strip() or None


def die_with_parent(signal: int) -> None:
    """Sends this process a signal when the one that started it ends (Linux; elsewhere a thread must look)."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal, 0, 0, 0)


def python_command(module: str, *arguments: str) -> list[str]:
    """A command that runs `main()` of a module of rpecli in a new process, which imports nothing from the working folder."""
    package = str(Path(__file__).resolve().parent.parent)
    code = f"import sys; path = {package!r}; path in sys.path or sys.path.insert(0, path); from {module} import main; main()"
    return [sys.executable, "-P", "-c", code, *arguments]


def rank() -> int:
    """The number of this process among those that train a run together; 0 for the first, and for one alone."""
    return int(os.environ.get("RANK", 0)) if size() > 1 else 0


def size() -> int:
    """How many processes train a run together: torchrun, or `--nproc`, has started them."""
    return int(os.environ.get("WORLD_SIZE", 1))

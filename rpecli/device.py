"""The machine: device, cores, memory and the C library's allocator. Torch is imported inside functions."""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rpecli import container

if TYPE_CHECKING:
    import numpy as np
    import torch

RESET_PEAK, PROCESS_STATUS, MEMORY_INFO = (Path("/proc", name) for name in ("self/clear_refs", "self/status", "meminfo"))
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # parameters of glibc's mallopt


def pick_device(name: str) -> torch.device:
    """The device of a name; `auto` is CUDA, else MPS, else the CPU. Raises ValueError for a device that this machine lacks."""
    import torch

    names = devices()
    if name not in ("auto", *names):
        raise ValueError(f"no device {name!r} here: write {' or '.join(names)}")
    return torch.device(names[0] if name == "auto" else name)


def devices() -> list[str]:
    """The names of the devices of this machine, the fastest first: `cuda`, `cuda:0`, `cuda:1`, `mps`, `cpu`."""
    import torch

    cuda = ["cuda", *(f"cuda:{n}" for n in range(torch.cuda.device_count()))] if torch.cuda.is_available() else []
    return [*cuda, *(["mps"] if torch.backends.mps.is_available() else []), "cpu"]


def to_device(array: np.ndarray | None, device: torch.device) -> torch.Tensor | None:
    """An array as a tensor on a device; None stays None."""
    import torch

    return None if array is None else torch.from_numpy(array).to(device)


def n_cores() -> int:
    """The number of cores that this process may use: of its affinity mask, or the quota of its container if that is lower."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = container.cpu_quota()
    return cores if quota is None else max(1, min(cores, int(quota)))


def total_memory() -> int:
    """Bytes of memory of the machine, or the limit of the container if that is lower."""
    installed = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([installed, *(limit for limit, _ in container.memory_limits())])


def available_memory() -> int:
    """Bytes of memory that are free for this process, in its container too; without /proc all that the machine has."""
    free = _bytes_of(MEMORY_INFO, "MemAvailable") if MEMORY_INFO.exists() else total_memory()
    return max(0, min([free, *(limit - used for limit, used in container.memory_limits())]))


def memory_problem(needed: int, available: int) -> str | None:
    """`needs at least 12 GiB of memory, 8 GiB are free`; None if it fits."""
    if needed <= available:
        return None
    return f"needs at least {_gigabytes(needed)} of memory, {_gigabytes(available)} are free"


def _gigabytes(number: int) -> str:
    return f"{number / 2**30:,.0f} GiB" if number >= 10 * 2**30 else f"{number / 2**30:.1f} GiB"


def peak_memory(device: torch.device) -> int:
    """Bytes that this process held at most: of tensors on CUDA, else of everything, torch and all runs of a stack included."""
    if device.type == "cuda":
        import torch

        return torch.cuda.max_memory_allocated(device)
    return process_peak_memory()


def process_peak_memory() -> int:
    """Bytes that this process held at most; a child process begins with the peak of its parent."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def reset_peak_memory() -> bool:
    """Makes `peak_resident_memory` forget the past; False where that is impossible (not Linux)."""
    try:
        RESET_PEAK.write_text("5")
    except OSError:
        return False
    return True


def peak_resident_memory() -> int:
    """Bytes that this process held at most since `reset_peak_memory`; elsewhere than on Linux since it started."""
    return _bytes_of(PROCESS_STATUS, "VmHWM") if PROCESS_STATUS.exists() else process_peak_memory()


def resident_memory() -> int:
    """Bytes that this process holds (Linux)."""
    return _bytes_of(PROCESS_STATUS, "VmRSS")


def _bytes_of(path: Path, key: str) -> int:
    """A line `key: 123 kB` of a file under /proc, in bytes."""
    fields = dict(line.split(":", 1) for line in path.read_text().splitlines())
    return int(fields[key].split()[0]) * 1024


def tune_malloc() -> None:
    """Makes glibc keep freed memory; by default it returns large tensors to the kernel and maps them again in every step.

    Saves 3 to 8 % of a float32 step, 14 to 17 % of one with bfloat16 products. Does nothing with other C libraries.
    """
    if sys.platform == "linux" and platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)

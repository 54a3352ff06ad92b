"""Facts of the machine and the code that a measured number holds for: no host name, no path."""

import os
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from rpecli.bench import timing
from rpecli.run import provenance as run_provenance

PACKAGES = ("torch", "x-transformers", "transformers")


def facts(device: torch.device, threads: int, repeats: int) -> dict[str, Any]:
    """What a table says above itself."""
    commit, dirty = run_provenance.commit()
    known = {
        "date": run_provenance.now(),
        "commit": f"{commit or 'unknown'}{' and changes' if dirty else ''}",
        "machine": run_provenance.machine(),
        "memory": f"{memory() / 2**30:.0f} GiB",
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "threads": threads,
        "rounds": repeats,
        "versions": ", ".join(f"{package} {version(package)}" for package in PACKAGES),
    }
    return known | ({"load before": f"{os.getloadavg()[0]:.1f}"} if hasattr(os, "getloadavg") else {})


def wait_for(device: torch.device) -> timing.Call:
    """What ends when the device has done all that it was given."""
    return torch.cuda.synchronize if device.type == "cuda" else timing.nothing


def version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def memory() -> int:
    """Bytes of memory this process may use: the machine's, or a container's limit where that is less."""
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = Path("/sys/fs/cgroup/memory.max")
    text = limit.read_text().strip() if limit.exists() else "max"
    return min(whole, int(text)) if text.isdigit() else whole

"""Facts of the machine and the code that a measured number holds for: no host name, no path."""

import os
from typing import Any

import torch

from rpecli.bench import Options
from rpecli.bench.timing import MIN_SECONDS, Stopwatch
from rpecli.device import total_memory
from rpecli.run import provenance

PACKAGES = ("torch", "x-transformers", "transformers")


def facts(device: torch.device, options: Options) -> dict[str, Any]:
    """What a benchmark's tables hold for: code, machine, versions, and how it was measured."""
    commit, dirty = provenance.commit()
    versions = (f"{package} {provenance.package_version(package) or 'not installed'}" for package in PACKAGES)
    lines = {
        "date": provenance.now(),
        "commit": f"{commit or 'unknown'}{' and changes' if dirty else ''}",
        "machine": provenance.machine(),
        "memory": f"{total_memory() / 2**30:.0f} GiB",
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "threads": options.threads,
        "rounds": options.repeats,
        "versions": ", ".join(versions),
    }
    return lines | ({"load before": f"{os.getloadavg()[0]:.1f}"} if hasattr(os, "getloadavg") else {})


def stopwatch(device: torch.device, slowest: float, min_seconds: float = MIN_SECONDS) -> Stopwatch:
    """A stopwatch that waits for the device to finish."""
    if device.type == "cuda":
        return Stopwatch(min_seconds, slowest, torch.cuda.synchronize)
    return Stopwatch(min_seconds, slowest)

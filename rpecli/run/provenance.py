"""Provenance of a run: commit, package versions, machine, and fingerprints of the files of its task and encoding."""

import platform
import subprocess
import sys
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from rpecli import catalog
from rpecli.choice import data_in, parse_choice, split_layers
from rpecli.config.recipe import Config
from rpecli.device import n_cores


def sources(config: Config) -> dict[str, str]:
    """Fingerprints of the files of the task and the encoding, to notice that one changed since a run was trained."""
    pairs = (("tasks", config.task), ("encodings", config.encoding))
    return {kind: "+".join(_fingerprint(kind, part) for part in split_layers(choice)) for kind, choice in pairs}


def data_sources(config: Config) -> dict[str, str]:
    """Fingerprints of the user's own data that the task reads, by path."""
    return {path: catalog.data_fingerprint(path) for path in data_in(config.task)}


def _fingerprint(kind: str, choice: str) -> str:
    return catalog.fingerprint(catalog.find(kind, parse_choice(choice)[0]))


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


@cache
def commit() -> tuple[str | None, bool | None]:
    """The git commit of the code that runs, and whether tracked files differ from it; None and None where git cannot tell."""

    def git(*arguments: str) -> str:
        process = subprocess.run(["git", *arguments], cwd=catalog.PACKAGE.parent, capture_output=True, text=True, check=True)
        return process.stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")).resolve() != catalog.PACKAGE.parent:
            return None, None
        return git("rev-parse", "HEAD"), bool(git("status", "--porcelain", "--untracked-files=no", "--", "rpecli", "tasks"))
    except (OSError, subprocess.CalledProcessError):
        return None, None


@cache
def why_no_commit() -> str | None:
    """Why git cannot tell the commit of a checkout, in a line; None where it can, and where rpe is installed."""
    if commit()[0] or not (catalog.PACKAGE.parent / ".git").exists():
        return None
    try:
        process = subprocess.run(["git", "rev-parse", "HEAD"], cwd=catalog.PACKAGE.parent, capture_output=True, text=True)
    except OSError:
        return "git is not installed"
    return next(iter(process.stderr.splitlines()), "git does not answer")


def provenance() -> dict[str, Any]:
    """Commit, versions and machine, as fields of run.json. Does not import torch."""
    revision, dirty = commit()
    packages = ("rpe", "torch", "numpy", "safetensors", "pydantic")
    versions = {"python": platform.python_version()} | {package: package_version(package) for package in packages}
    return {"commit": revision, "dirty": dirty, "versions": versions, "machine": machine(), "platform": sys.platform}


def package_version(package: str) -> str | None:
    """The installed version of a package, None if it is not installed."""
    from importlib import metadata  # 20 ms that `rpe --help` need not wait for

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def machine() -> str:
    """The processor's name and how many cores this process may use."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        name = lines[0].partition(":")[2].strip() if lines else name
    return f"{name}, {n_cores()} cores"

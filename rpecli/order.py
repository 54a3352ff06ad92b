"""What is wanted of runs, in words that need no torch: measure this, do that."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Order:
    """What to measure: evaluation keys of a recipe that differ from the run's own, again or only what is missing, strings from
    a folder, and another encoding to put into the trained model (`rope:scaling=yarn`, `none`)."""

    keys: tuple[tuple[str, Any], ...] = ()
    again: bool = False
    folder: Path | None = None
    encoding: str | None = None


@dataclass(frozen=True)
class Job:
    """A run directory, whether to train it, and what to measure then (None: nothing)."""

    path: Path
    train: bool
    order: Order | None = None
    device: str = "auto"
    threads: int = 1

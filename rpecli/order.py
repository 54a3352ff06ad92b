"""What is wanted of runs, in words that need no torch: measure this, do that."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Order:
    """What to measure: lengths (None: the recipe's), sequences a length, again or only what is missing, strings from a folder."""

    lengths: str | None = None
    samples: int | None = None
    again: bool = False
    folder: Path | None = None


@dataclass(frozen=True)
class Job:
    """A run directory, whether to train it, and what to measure then (None: nothing)."""

    path: Path
    train: bool
    order: Order | None = None
    device: str = "auto"
    threads: int = 1

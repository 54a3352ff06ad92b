"""What to measure of a run."""

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

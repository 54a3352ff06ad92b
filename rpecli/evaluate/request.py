"""How to evaluate one run: what `rpe eval` and `rpe inspect` ask for."""

from dataclasses import dataclass
from pathlib import Path

from rpecli.config.recipe import EvalSettings


@dataclass(frozen=True)
class EvalRequest:
    """How to evaluate or inspect one run.

    settings           lengths, samples, seed and positions; None: those of the run's own recipe
    overwrite          measure also what has been measured already
    folder             a data set that `rpe data` wrote; None: the sequences are drawn
    encoding_override  an encoding to put into the trained model, as `none` or `rope:scaling=yarn`; None: the run's own
    """

    settings: EvalSettings | None = None
    overwrite: bool = False
    folder: Path | None = None
    encoding_override: str | None = None

"""What `rpe check` finds of an encoding or a task: one result for each thing that must hold."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

OK, FAILED, NOT_APPLICABLE = "ok", "failed", "does not apply"


class Result(NamedTuple):
    """How one check ended. The text of a failure begins with file and line."""

    outcome: str
    text: str = ""


class Finding(Exception):  # noqa: N818 - of a check, not an error of what is checked
    """What a check found, in words."""


class Broken(Finding):
    """What does not hold, where the line that breaks it is still to be found."""


class DoesNotApply(Finding):
    """Why a check has nothing to check."""


@dataclass(frozen=True)
class Check:
    """One thing that must hold. `run` takes a subject, and returns more to say of it, or None.

    It raises Fault or ChoiceError where it does not hold, DoesNotApply where it has nothing to check.
    """

    holds: str  # what is so where it passes
    remedy: str  # what a failure means, and what to do
    run: Callable[[Any], str | None]

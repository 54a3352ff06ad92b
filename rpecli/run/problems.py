"""What is wrong with runs: every problem of one run, and the messages about many runs in a few lines."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path

from rpecli.run.directory import Run
from rpecli.run.files import RunError

Message = tuple[Path, str]  # a run's directory, and what is to be said about it
MAX_ALIKE = 4  # messages that differ in the name of the run alone; of more, the first stands for all
MAX_LINES = 12
ALL = "rpe ls runs --problems"  # the command that shows every message about what runs hold


def folded(messages: Iterable[Message], see_all: str | None = ALL) -> list[str]:
    """Messages about runs in at most MAX_LINES lines: of many that say the same the first one, and how many there are.

    `see_all` is the command that shows every line; None where there is none.
    """
    groups: dict[str, list[str]] = defaultdict(list)
    for path, message in messages:
        groups[_without_name(path, message)].append(message)
    lines = list[str]()
    for members in groups.values():
        rest = [f"and the same for {len(members) - 1} other runs"]
        lines += members if len(members) <= MAX_ALIKE else members[:1] + rest
    hidden = len(lines) - MAX_LINES
    more = f": {see_all} shows all" if see_all else ""
    return lines if hidden <= 1 else [*lines[:MAX_LINES], f"and {hidden} lines more about other runs{more}"]


def about(run: Run, reason: str) -> str:
    """The reason, which begins with the name of the run unless it has it in a path."""
    return reason if run.name in reason else f"{run.name}: {reason}"


def _without_name(path: Path, message: str) -> str:
    return message.replace(str(path), "RUN").replace(path.name or "RUN", "RUN")


def problems_of(run: Run) -> list[str]:
    """Every file of a run that is missing, damaged or of another format."""
    if problem := _problem(lambda: run.record):
        return [problem]
    reads: list[Callable[[], object]] = [lambda: run.config, run.metrics, run.all_evaluations, run.probes]
    return [problem for read in reads if (problem := _problem(read))]


def _problem(read: Callable[[], object]) -> str | None:
    try:
        read()
    except (RunError, OSError) as error:
        return str(error)
    return None

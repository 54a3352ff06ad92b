"""What is wrong with runs: every problem of one run, and the messages about many runs in a few lines."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path

from rpecli import catalog
from rpecli.run.code import check_copies
from rpecli.run.directory import Run, Status
from rpecli.run.files import RunError, reason

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


def about(run: Run, message: str) -> str:
    """The message, which begins with the name of the run unless it has it in a path."""
    return message if run.name in message else f"{run.name}: {message}"


def _without_name(path: Path, message: str) -> str:
    return message.replace(str(path), "RUN").replace(path.name or "RUN", "RUN")


def problems_of(run: Run) -> list[str]:
    """Every file of a run that is missing, damaged or of another format."""
    if problem := _problem(lambda: run.record):
        return [problem]
    if not (problem := _problem(lambda: run.config)):
        problem = _problem(lambda: check_copies(run.path, run.config, run.record))
    reads: list[Callable[[], object]] = [lambda: _read_metrics(run), run.all_evaluations, run.probes]
    if run.record["status"] == Status.TRAINED:
        reads.append(lambda: checked_weights(run))
    return [text for text in (problem, *map(_problem, reads)) if text]


def _read_metrics(run: Run) -> None:
    run.metrics()
    if lost := run.lost_validation:
        raise RunError(lost)


def checked_weights(run: Run) -> str:
    """The fingerprint of the weights of a trained run. Raises RunError where they are missing or not what training wrote."""
    file, recorded = run.weights_file, run.record.get("weights")
    if not file.exists():
        raise RunError(f"{file} is missing: train the run again: {run.train_command}")
    now = catalog.fingerprint(file)
    if recorded not in (None, now):
        why = f"it is damaged, of another run, or of another version of rpe: delete {run} and train it again"
        raise RunError(f"{file} is not the file that training wrote ({recorded}, now {now}): {why}")
    return now


def foreign_weights(run: Run) -> str:
    """What weights that do not belong to a run are, and what to do."""
    return f"it is of another run, or of another version of rpe: delete {run} and train it again"


def _problem(read: Callable[[], object]) -> str | None:
    try:
        read()
    except RunError as error:
        return str(error)
    except OSError as error:
        return f"{error.filename} cannot be read: {reason(error)}"
    return None

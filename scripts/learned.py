"""Writes rpecli/describe/learned.csv and tried.csv: which tasks are learned in distribution at their defaults, what was tried.

    rpe run every-task                     # hours; --task and --encoding do a part of it, --steps and others try settings
    python scripts/learned.py [RUNS]       # runs by default; then python scripts/docs.py

Runs of the recipe that RUNS does not hold keep the rows that they have, as long as the defaults of their task are the same. All
other runs of its tasks in RUNS are attempts.
"""

import sys
from pathlib import Path

from rpecli.config import load as config_load
from rpecli.config.recipe import Config
from rpecli.describe import learned
from rpecli.describe.learned import Attempt, Result
from rpecli.run.directory import Run, Status, find_runs
from rpecli.run.problems import folded


def result(run: Run) -> Result | None:
    """The row of a run of the recipe; None if it was not trained or not evaluated."""
    config, lines = run.config, run.latest_evaluations()
    if not run.is_trained or config.length not in lines:
        return None
    here, beyond = lines[config.length], lines.get(2 * config.length)
    record = run.record
    return Result(
        config.task, config.encoding, config.length, config.steps, int(record["step"]), int(record["tokens"]),
        here["exact_match"], here["token_accuracy"], beyond and beyond["exact_match"], beyond and beyond["token_accuracy"],
        here["chance"], config.id, record["commit"], record["machine"],
    )  # fmt: skip


def attempt(run: Run) -> Attempt | None:
    """The row of a run with other settings, trained or given up (Ctrl-C); None if it is not validated or still trains."""
    config, last = run.config, run.last_metrics()
    if last is None or run.record["status"] not in (Status.TRAINED, Status.STOPPED):
        return None
    record = run.record
    return Attempt(
        config.task, config.encoding, config.length, config.min_length, config.curriculum, config.tokens, config.lr, config.steps,
        last["step"], last["tokens"], last["exact_match"], config.id, record["commit"], record["machine"],
    )  # fmt: skip


def old_rows(path: Path, kind: type[learned.AnyRow]) -> dict[str, learned.AnyRow]:
    """The rows of a file by the id of their run."""
    return {row.id: row for row in learned.read(path, kind)}


def attempts(runs: list[Run], configs: list[Config]) -> list[Attempt]:
    """The attempts that the file holds and those of these runs, in the order of the tasks."""
    tasks, ids = list(dict.fromkeys(config.task for config in configs)), {config.id for config in configs}
    rows = old_rows(learned.TRIED_FILE, Attempt)
    rows |= {row.id: row for run in runs if run.config.task in tasks and (row := attempt(run))}
    return sorted((row for row in rows.values() if row.id not in ids), key=lambda row: tasks.index(row.task))


def main(folder: str = "runs") -> None:
    configs = config_load.load("every-task")[0].configs()
    runs, problems = find_runs(Path(folder))
    rows = old_rows(learned.FILE, Result) | {run.name: row for run in runs if (row := result(run))}
    measured = [rows[config.id] for config in configs if config.id in rows]
    learned.write(learned.FILE, Result, measured)
    learned.write(learned.TRIED_FILE, Attempt, attempts(runs, configs))
    print(*folded(problems), f"{learned.FILE.name}: {len(measured)} of {len(configs)} runs", sep="\n")


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Writes rpecli/describe/learned.csv: which tasks are learned in distribution at their defaults.

    rpe run every-task                     # hours; --task and --encoding do a part of it
    python scripts/learned.py [RUNS]       # runs by default; then python scripts/docs.py

Runs of the recipe that RUNS does not hold keep the rows that they have, as long as the defaults of their task are the same.
"""

import csv
import sys
from pathlib import Path

from rpecli.config import load as config_load
from rpecli.config.recipe import Config
from rpecli.describe.learned import FILE, Result, results
from rpecli.run.directory import Run, readable_runs


def result(config: Config, run: Run) -> Result | None:
    """The row of a run; None if it was not trained or not evaluated."""
    lines, last = run.latest_evaluations(), run.last_metrics()
    if not run.is_trained or config.length not in lines or last is None:
        return None
    here, beyond = lines[config.length], lines.get(2 * config.length)
    record = run.record
    return Result(
        config.task, config.encoding, config.length, config.steps, int(record["step"]), int(record["tokens"]),
        here["exact_match"], here["token_accuracy"], beyond and beyond["exact_match"], beyond and beyond["token_accuracy"],
        here["chance"], config.id, record["commit"], record["machine"],
    )  # fmt: skip


def main(folder: str = "runs") -> None:
    configs = config_load.load("every-task")[0].configs()
    old = {row.id: row for rows in results().values() for row in rows} if FILE.exists() else {}
    runs, problems = readable_runs(path for config in configs if (path := Path(folder) / config.id).exists())
    by_id = {run.name: run for run in runs}
    rows = [(config.id in by_id and result(config, by_id[config.id])) or old.get(config.id) for config in configs]
    measured = [row for row in rows if row]
    with FILE.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(Result.__annotations__), lineterminator="\n")
        writer.writeheader()
        writer.writerows(vars(row) for row in measured)
    print(*problems, f"{FILE.name}: {len(measured)} of {len(configs)} runs", sep="\n")


if __name__ == "__main__":
    main(*sys.argv[1:])

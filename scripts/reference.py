"""Writes rpecli/report/reference.jsonl, the reference results that ship with rpe, from run directories.

    rpe run reference                      # hours; --encoding and --seed do a part of it
    python scripts/reference.py [RUNS]     # runs by default

Runs of the recipe that RUNS does not hold keep the lines that they have, so that the file can grow part by part, on several
machines. Lines of runs that are not of the recipe any more are removed.
"""

import json
import sys
from pathlib import Path

from rpecli.config import load as config_load
from rpecli.config.recipe import FORMAT
from rpecli.report import reference
from rpecli.report.load import load_runs


def reference_lines(folder: Path, file: Path) -> list[str]:
    """The lines of the file once the runs of the recipe in `folder` are in it, in the order of the recipe."""
    order = [config.id for config in config_load.load("reference")[0].configs()]
    old = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.exists() else []
    lines = {line["id"]: line for line in old if line["format"] == FORMAT}
    paths = [folder / name for name in order if (folder / name / "eval.jsonl").exists()]
    trained = [run for run in load_runs(paths).runs if run.trained and run.evaluations] if paths else []
    lines |= {run.id: reference.reference_line(run) for run in trained}
    return [json.dumps(lines[name]) for name in order if name in lines]


def main(runs: str = "runs") -> None:
    lines = reference_lines(Path(runs), reference.FILE)
    reference.FILE.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    print(f"{reference.FILE.name}: {len(lines)} runs")


if __name__ == "__main__":
    main(*sys.argv[1:])

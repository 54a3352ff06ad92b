"""Writes results/papers/NAME.jsonl: what our runs of published cells came to, one line a run.

    rpe reproduce crasp                  # hours; --cells and --budget do a part of it
    python scripts/papers.py [RUNS]      # runs/papers by default; then python scripts/docs.py

Runs that RUNS does not hold keep the lines that they have, as long as the paper still asks for them.
"""

import json
import sys
from functools import cache
from pathlib import Path
from typing import Any

from rpecli.reproduce import outcome, paper
from rpecli.reproduce.outcome import Outcome, SeedResult
from rpecli.reproduce.paper import Paper
from rpecli.run.directory import Run

FOLDER = Path(__file__).resolve().parents[1] / "results" / "papers"
MAX_SEEDS = 20  # of a cell

load = cache(paper.load)


def lines(name: str) -> dict[str, dict[str, Any]]:
    """The lines that there are, by the id of their run."""
    file = FOLDER / f"{name}.jsonl"
    read = map(json.loads, file.read_text(encoding="utf-8").splitlines()) if file.exists() else ()
    return {line["id"]: line for line in read}


def line_of(loaded: Paper, run: Run) -> dict[str, Any] | None:
    result = outcome.seed_result(loaded, run)
    if result is None:
        return None
    record = run.record
    facts = {key: record[key] for key in ("step", "tokens", "seconds", "commit", "machine")}
    return {"id": run.name, **vars(result), "bins": [round(share, 6) for share in result.bins], **facts}


@cache
def outcomes(name: str) -> list[Outcome]:
    """The cells of a paper with the lines that there are of their runs."""
    loaded, known = load(name), lines(name)
    every = []
    for cell in loaded.cells:
        found = [known[config.id] for config in loaded.configs(cell, MAX_SEEDS) if config.id in known]
        every.append(outcome.outcome(loaded, cell, [SeedResult(x["seed"], x["bins"], x["perfect"]) for x in found]))
    return every


def main(folder: str = "runs/papers") -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in paper.names():
        loaded, known = load(name), lines(name)
        ids = [config.id for cell in loaded.cells for config in loaded.configs(cell, MAX_SEEDS)]
        for id in dict.fromkeys(ids):
            path = Path(folder) / id
            if path.is_dir() and (line := line_of(loaded, Run(path))):
                known[id] = line
        kept = [known[id] for id in dict.fromkeys(ids) if id in known]
        if kept:
            (FOLDER / f"{name}.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in kept), encoding="utf-8")
        print(f"{name}.jsonl: {len(kept)} runs")


if __name__ == "__main__":
    main(*sys.argv[1:])

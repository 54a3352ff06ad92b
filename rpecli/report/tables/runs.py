"""Table of the runs behind a task's numbers."""

from rpecli.report.aggregate import TaskResults
from rpecli.report.provenance import revision
from rpecli.table import Table


def table(task: TaskResults) -> Table:
    """One row per run, however many ways it was measured in: its encoding, seed, status, commit and directory."""
    runs = {run.path: (encoding.title, run) for encoding in (*task.encodings, *task.own) for run in encoding.runs}
    rows = [[title, str(run.config.seed), run.state, revision(run), f"`{run.path}`"] for title, run in runs.values()]
    columns = ["encoding", "seed", "status", "commit", "run"]
    return Table("Runs behind these numbers", columns, "lrlll", rows, caption=description(task), folded=True)


def description(task: TaskResults) -> str:
    """How to train the runs again, and the evaluation set of each length."""
    fingerprints = {
        length: {
            str(run.evaluations[length].get("fingerprint"))
            for encoding in task.encodings for run in encoding.evaluated_runs if length in run.evaluations
        }
        for length in task.lengths
    }  # fmt: skip
    sets = ", ".join(f"{length}: {' '.join(sorted(values))}" for length, values in fingerprints.items())
    return f"`rpe train RUN/recipe.yaml` trains a run again. Fingerprints of the evaluation sets by length: {sets}."

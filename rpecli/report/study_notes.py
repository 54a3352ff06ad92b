"""Notes on two studies: what only one of them has, how their training differs, and the runs that they share."""

from collections.abc import Iterable
from typing import Any

from rpecli.config.recipe import label
from rpecli.report.aggregate import EncodingResults, TaskResults
from rpecli.report.studies import Study

SOURCES = {"tasks": "task", "encodings": "encoding"}


def only_in_one(a: Study, b: Study, tasks: list[tuple[TaskResults, TaskResults]]) -> list[str]:
    """Tasks, training lengths, encodings and lengths that only one study has."""
    shared = {(first.name, first.train_length) for first, _ in tasks}
    notes = [note for side, own, other in (("A", a, b), ("B", b, a)) for note in _unmatched_tasks(side, own, other, shared)]
    for first, second in tasks:
        notes += _unmatched_encodings("A", first, second) + _unmatched_encodings("B", second, first)
    return notes


def _unmatched_tasks(side: str, own: Study, other: Study, shared: set[tuple[str, int]]) -> list[str]:
    notes = []
    for task in own.tasks:
        lengths = [str(counterpart.train_length) for counterpart in other.tasks if counterpart.name == task.name]
        if not lengths:
            notes.append(f"{task.title}: only {side} has this task, so it is not compared.")
        elif (task.name, task.train_length) not in shared:
            notes.append(f"{task.title} in {side} and to {', '.join(lengths)} in the other study, so the two are not compared.")
    return notes


def _unmatched_encodings(side: str, own: TaskResults, other: TaskResults) -> list[str]:
    others = {encoding.label for encoding in other.encodings if encoding.by_length}
    titles = [encoding.title for encoding in own.encodings if encoding.by_length and encoding.label not in others]
    lengths = [str(length) for length in own.lengths if length not in other.lengths]
    notes = [f"{own.title}: only {side} has {', '.join(titles)}."] if titles else []
    return notes + ([f"{own.title}: only {side} was evaluated at {', '.join(lengths)}."] if lengths else [])


def different_training(matches: list[tuple[EncodingResults, EncodingResults]]) -> list[str]:
    """Recipe keys and files that differ between compared encodings, so that their difference is not that of the study alone."""
    keys: dict[str, tuple[set[str], set[str]]] = {}
    files: set[str] = set()
    for match in matches:
        runs = [encoding.evaluated_runs for encoding in match]
        for key in sorted({key for members in runs for run in members for key in run.settings}):
            a, b = ({str(run.settings.get(key)) for run in members} for members in runs)
            if a != b:
                in_a, in_b = keys.setdefault(key, (set(), set()))
                in_a.update(a)
                in_b.update(b)
        for kind, name in SOURCES.items():
            a, b = ({str(run.record.get("sources", {}).get(kind)) for run in members} for members in runs)
            if a != b:
                files.add(f"{name} {label(getattr(runs[0][0].config, name)).partition(':')[0]}")
    differing = "; ".join(f"{key} {_listed(in_a)} in A, {_listed(in_b)} in B" for key, (in_a, in_b) in keys.items())
    notes = [f"Trained differently: {differing}. The differences include the effect of this."] if differing else []
    return notes + ([f"Trained with different versions of the file of {_listed(files)}."] if files else [])


def _listed(values: Iterable[Any]) -> str:
    return ", ".join(sorted(values))


def different_sets(cells: set[tuple[str, int]]) -> list[str]:
    """`cells` holds the task titles and lengths at which the studies used different evaluation sets."""
    by_title: dict[str, list[int]] = {}
    for title, length in sorted(cells):
        by_title.setdefault(title, []).append(length)
    return [
        f"{title}: evaluated on different sequences at {', '.join(map(str, lengths))}, so no difference is formed there: "
        "rpe eval RUNS --overwrite with one eval_seed and one number of samples."
        for title, lengths in by_title.items()
    ]


def shared_runs(a: Study, b: Study) -> list[str]:
    """Runs in both studies, by id and weights: their difference is 0 by construction."""
    in_a, in_b = (
        {(run.id, str(next(iter(run.evaluations.values())).get("weights"))) for run in study.runs if run.evaluations}
        for study in (a, b)
    )
    return [f"{len(in_a & in_b)} of A's {len(in_a)} runs are identical to runs in B."] if in_a & in_b else []

"""Where the numbers of a report come from: code, versions, machines, and the recipe keys that its runs share or do not."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from rpecli.report.load import RunResults, one_per_directory
from rpecli.report.report_data import Provenance
from rpecli.table import plural

ALWAYS_LISTED = ("task", "encoding", "positions", "seed")  # recipe keys that count as differing even where all runs share them


def provenance(runs: list[RunResults]) -> Provenance:
    """Of the evaluated runs; the recipe keys are those of all runs."""
    records = [run.record for run in one_per_directory(run for run in runs if run.evaluations)]
    commits = Counter(
        f"{record['commit']}{' + changes' if record.get('dirty') else ''}" for record in records if record.get("commit")
    )
    packages = sorted({package for record in records for package in record.get("versions", {})})
    recipes = [run.config.to_keys() for run in runs]
    keys = {
        key: distinct(recipe.get(key) for recipe in recipes) for key in dict.fromkeys(key for recipe in recipes for key in recipe)
    }
    shared = {key: values[0] for key, values in keys.items() if len(values) == 1 and key not in ALWAYS_LISTED}
    return Provenance(
        commits=dict(sorted(commits.items())),
        versions={package: distinct(record.get("versions", {}).get(package) for record in records) for package in packages},
        **{key: distinct(record.get(key) for record in records) for key in ("machine", "device", "platform", "study")},
        eval_seeds=distinct(line.get("eval_seed") for run in runs for line in run.evaluations.values()),
        shared=shared,
        differing={key: values for key, values in keys.items() if len(values) > 1 or key in ALWAYS_LISTED},
    )


def provenance_lines(origin: Provenance) -> list[str]:
    """Code, versions, machines, and the recipe keys that differ, one line each."""
    commits = [f"`{commit}` ({plural(number, 'run')})" for commit, number in origin.commits.items()]
    versions = [f"{package} {_listed(values)}" for package, values in origin.versions.items() if values]
    lists: dict[str, list[Any]] = {
        "commit": commits or ["unknown"], "versions": versions or ["unknown"], "machine": origin.machine,
        "device": origin.device, "study": origin.study,
        "seed of the evaluation sets": origin.eval_seeds,
    }  # fmt: skip
    return [f"{key}: {_listed(values)}" for key, values in (lists | origin.differing).items() if values]


def _listed(values: Iterable[Any]) -> str:
    return ", ".join(map(str, values))


def distinct(values: Iterable[Any]) -> list[Any]:
    """Every value once, in a stable order, without None."""
    return sorted({value for value in values if value is not None}, key=lambda value: (isinstance(value, str), value))


def revision(run: RunResults) -> str:
    """The first digits of a run's commit, with `+` where tracked files differed from it."""
    return str(run.record.get("commit") or "unknown")[:8] + ("+" if run.record.get("dirty") else "")

"""Warnings about the runs of a report: incomplete ones, and those that different code trained."""

from collections import Counter, defaultdict
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from rpecli.choice import ChoiceError, data_in, is_path, parse_choice, paths_in, split_layers
from rpecli.run.code import changed_files, fingerprint_of, shipped_code
from rpecli.run.problems import folded
from rpecli.table import few, plural

if TYPE_CHECKING:
    from rpecli.report.load import RunResults

MAX_PATHS = 4  # in one message


def incomplete(runs: "list[RunResults]") -> list[str]:
    """Warnings of failed runs, and one per kind of missing evaluation, with the command that adds it."""
    failures = []
    for run in runs:
        if run.failed:
            error = " ".join(str(run.record.get("error") or "no error recorded").split())
            what = f"failed ({error[:200]}): counted as not solved and excluded from means: see its log.txt"
            failures.append((run.path, f"{run.path}: {what}"))
    messages = folded(failures, "rpe ls runs --state failed")
    for length in sorted({length for run in runs for length in run.evaluations.keys() - run.scored}):
        members = [run for run in runs if length in run.evaluations.keys() - run.scored]
        what = f"{plural(len(members), 'run')} without a finite score at {length}: in no mean there and in no comparison"
        messages.append(f"{what}: {paths_of(members)}")
    unfinished = [run for run in runs if not run.trained and not run.failed]
    trained = [run for run in runs if run.trained]
    unevaluated = [run for run in trained if not run.all_evaluations]
    unsolved = [run for run in trained if run.all_evaluations and run.config.length not in run.all_evaluations]
    for members, problem in (
        (unfinished, "not trained to the end, so excluded from means: rpe work"),
        (unevaluated, "trained but not evaluated: rpe eval"),
        (unsolved, "not evaluated at the training length, so whether solved is unknown: rpe eval --lengths 1x"),
    ):
        if members:
            messages.append(f"{plural(len(members), 'run')} {problem} {paths_of(members)}")
    return messages


def ends_of_search(runs: "list[RunResults]") -> list[str]:
    """One warning for all encodings that took the smallest or the largest learning rate tried: a better one may lie beyond."""
    at_end: dict[str, None] = {}
    for run in runs:
        if search := run.record.get("lr_search"):
            taken, first, last = search["taken"], search["tried"][0]["lr"], search["tried"][-1]["lr"]
            if taken in (first, last):
                which = "smallest" if taken == first else "largest"
                at_end[f"{run.record['encoding']} on {run.record['task']} ({taken:g}, the {which})"] = None
    if not at_end:
        return []
    names = few(list(at_end), MAX_PATHS)
    return [f"learning rates taken at the end of those tried, where a better one may lie beyond: {names}: extend lr_search"]


def chosen_beyond(runs: "list[RunResults]") -> list[str]:
    """One warning for all runs whose weights were chosen at lengths beyond training: what tables show there is no test."""
    chosen = [run for run in runs if _longest_choice(run) > run.config.length]
    if not chosen:
        return []
    what = f"{plural(len(chosen), 'run')} whose weights were chosen by lengths beyond training (checkpoint_lengths)"
    return [f"{what}, up to {max(map(_longest_choice, chosen))}: what is measured there is no test: {paths_of(chosen)}"]


def _longest_choice(run: "RunResults") -> int:
    """The greatest length by which the weights of a run were chosen; 0 where its last step decided."""
    chosen: dict[str, Any] | None = run.record.get("checkpoint")
    return max(chosen["lengths"]) if chosen else 0


def different_code(runs: "list[RunResults]") -> list[str]:
    """Warnings where equal recipes may not mean equal training: other commits, other versions of rpe, changed files."""
    evaluated = [run for run in runs if run.evaluations]
    messages = []
    trained = {run.path: run for run in evaluated}.values()
    commits = Counter(str(run.record["commit"])[:8] for run in trained if run.record.get("commit"))
    if len(commits) > 1:
        counts = ", ".join(f"{commit} ({number})" for commit, number in sorted(commits.items()))
        messages.append(f"trained by {len(commits)} commits of rpe: {counts}: equal recipes may not mean equal training; "
                        "train them again with one")  # fmt: skip
    renamed = [run for run in trained if not _has_own_files(run) and run.record.get("id", run.config.id) != run.config.id]
    if renamed:
        messages.append(
            f"trained by a version of rpe in which their recipes had other ids: train them again: {paths_of(renamed)}"
        )
    return messages + _changed_files(evaluated) + _measured_by_other_code(evaluated)


def _has_own_files(run: "RunResults") -> bool:
    """Whether its id holds the content of the user's files, which may be gone or changed."""
    config = run.config
    return bool(paths_in(config.task) or paths_in(config.encoding) or data_in(config.task))


def _changed_files(runs: "list[RunResults]") -> list[str]:
    """Warnings of shipped files that changed between runs; a user's file is another encoding or task in another text."""
    fingerprints: dict[tuple[str, str], set[str]] = defaultdict(set)
    code: dict[str, set[str]] = defaultdict(set)
    for run in runs:
        for file, fingerprint in run.record.get("code", {}).items():
            code[file].add(fingerprint)
        for kind, recorded in run.record.get("sources", {}).items():
            names = [parse_choice(part)[0] for part in split_layers(getattr(run.config, kind.removesuffix("s")))]
            for name, fingerprint in zip(names, recorded.split("+"), strict=False):
                if not is_path(name) and "code" not in run.record:
                    fingerprints[kind, name].add(fingerprint)
    changed = sorted(file for file, versions in code.items() if len(versions) > 1)
    messages = [f"rpe's code changed between these runs: {', '.join(changed)}: train them with one version"] if changed else []
    return messages + [
        f"the file of {kind[:-1]} {name} changed between these runs ({', '.join(sorted(versions))}): train them with one version"
        for (kind, name), versions in sorted(fingerprints.items())
        if len(versions) > 1
    ]


def _measured_by_other_code(runs: "list[RunResults]") -> list[str]:
    """Runs whose numbers are by other code than trained them, and rows whose numbers are by several codes."""
    other, codes = [], dict[tuple[str, str], set[str]]()
    for run in runs:
        measured = {line["code"] for line in run.evaluations.values() if "code" in line}
        codes.setdefault((str(run.record["task"]), str(run.record["encoding"])), set()).update(measured)
        own = not any(line.get("encoding_override") for line in run.evaluations.values())
        if own and "code" in run.record and measured - {fingerprint_of(run.record["code"])}:
            other.append(run)
    other = list({run.path: run for run in other}.values())
    mixed = [f"{encoding} on {task} ({', '.join(sorted(found))})" for (task, encoding), found in codes.items() if len(found) > 1]
    messages = [f"measured by other code of rpe than trained them: {_files(other)}{paths_of(other)}"] if other else []
    if mixed:
        messages.append(f"measured in part by one version of rpe's code and in part by another: {'; '.join(mixed)}: "
                        "measure them again: rpe eval RUNS --overwrite")  # fmt: skip
    return messages


def _files(runs: "list[RunResults]") -> str:
    """The files that differ now from those that trained these runs."""
    files: set[str] = set()
    for run in runs:
        with suppress(ChoiceError):
            files.update(changed_files(run.record["code"], shipped_code(run.config)))
    return f"{', '.join(sorted(files))}: " if files else ""


def source_versions(runs: "list[RunResults]") -> int:
    """The number of versions of rpe's code that these runs were trained with.

    Reference runs do not record theirs: their identity's format says that they are trained alike.
    """
    trained = [run.record for run in runs if run.evaluations and not run.is_reference]
    return len({str(sorted((record.get("code") or record.get("sources", {})).items())) for record in trained})


def paths_of(runs: "list[RunResults]") -> str:
    """The paths of the first runs, and how many more there are."""
    return few([str(run.path) for run in runs], MAX_PATHS, separator=" ")

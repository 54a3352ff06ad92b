"""The commands that train and evaluate the runs of a report again: each is checked to make the very runs, by their ids."""

import re
import shlex
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache
from itertools import islice
from typing import Any

from rpecli import catalog
from rpecli.choice import data_in, paths_in
from rpecli.config import load as config_load
from rpecli.config.ranges import parse_lengths
from rpecli.config.recipe import Config, task_defaults
from rpecli.config.yaml_source import RecipeError
from rpecli.report.load import RunResults, one_per_directory

MOST = 8  # lines of commands; of more, a run's own recipe.yaml says more
MOST_RUNS = 1000  # checking the ids of so many takes two seconds
AXES = ("task", "encoding", "positions", "seed")


def reproducing(report: str, runs: Sequence[RunResults], shifted: bool) -> list[str]:
    """The command that made a report, below those that make its runs unless it makes them itself."""
    if re.match(r"rpe (?:run|train|choose)\b", report):
        return [report]
    folder = re.search(r" --runs[ =]('[^']+'|\S+)", report)
    return [*commands(runs, f" --runs {folder[1]}" if folder else "", shifted), *([report] if report else [])]


def commands(runs: Sequence[RunResults], runs_flag: str = "", shifted: bool = False) -> list[str]:
    """`rpe run quick`, or `rpe train --task ... --encoding ...` and `rpe eval`; `rpe inspect --shift` where runs were shifted.

    None for runs of the user's own files, which the report does not hold, for more than MOST lines and for MOST_RUNS or more.
    """
    own = [run for run in one_per_directory(runs) if not run.is_reference]
    if len(own) >= MOST_RUNS or names_files([run.config for run in own]):
        return []
    by_study: dict[str, list[RunResults]] = defaultdict(list)
    for run in own:
        by_study[str(run.record.get("study", "default"))].append(run)
    whole, single = list[str](), list[RunResults]()
    for study, members in sorted(by_study.items()):
        configs = [run.config for run in members]
        ids = {config.id for config in configs}
        if study in catalog.names("recipes") and _made(study, flags := choosing(study, configs)) >= ids:
            whole.append(f"rpe run {study}{written(flags)}")
        else:
            single += members
    training = [f"rpe train {line}" for line in islice(_of_flags([run.config for run in single]), MOST + 1)]
    lengths, variants = _lengths(own), sorted({run.variant_flags.strip() for run in runs} - {""})
    after = [f"rpe eval{lengths}"] if training or lengths else []
    after += [f"rpe eval {flags}{lengths}" for flags in variants]
    after += ["rpe inspect --shift"] if training and shifted else []
    lines = [*whole, *training, *after]
    return [f"{line}{runs_flag}" for line in lines] if len(lines) <= MOST else []


def names_files(configs: Iterable[Config]) -> bool:
    """Whether a run's task or encoding is the user's own."""
    return any(paths_in(text) or data_in(text) for config in configs for text in (config.task, config.encoding))


def choosing(recipe: str, configs: Sequence[Config], keys: Sequence[str] = AXES) -> dict[str, str]:
    """The flags with which a recipe has of these keys the values that runs have, and no others."""
    loaded, _ = config_load.load(recipe)
    own = {key: {getattr(config, key) for config in configs} for key in keys}
    return {key: _listed(values) for key, values in own.items() if values != {*getattr(loaded, key)}}


def _listed(values: Iterable[Any]) -> str:
    return ",".join(map(str, sorted(values)))


def _axes(configs: Sequence[Config]) -> dict[str, str]:
    """What runs have of each key, as a flag gives it."""
    return {key: _listed({getattr(config, key) for config in configs}) for key in AXES}


def _of_flags(configs: Sequence[Config]) -> Iterator[str]:
    """One line for each set of runs that differ in task, encoding, positions and seed alone, as few as make no other runs."""
    groups: dict[tuple[tuple[str, str], ...], list[Config]] = defaultdict(list)
    plain = cache(_plain_keys)
    for config in configs:
        groups[tuple(_settings(config, plain(config.task, config.encoding)).items())].append(config)
    for settings, members in groups.items():
        yield from _lines(dict(settings), members, AXES)


def _lines(settings: dict[str, str], configs: Sequence[Config], axes: Sequence[str]) -> Iterator[str]:
    """One line if it makes these runs and no others, else the lines of each task, then of each encoding, ..."""
    flags = _axes(configs) | settings
    if flags["positions"] == "start":
        del flags["positions"]
    if _made(None, flags) == {config.id for config in configs}:
        yield written(flags).strip()
        return
    parts: dict[str, list[Config]] = defaultdict(list)
    for config in configs if axes else []:
        parts[str(getattr(config, axes[0]))].append(config)
    for part in parts.values():
        yield from _lines(settings, part, axes[1:])


def _made(recipe: str | None, flags: dict[str, str]) -> set[str]:
    """The ids of the runs that a command makes; none where it names a task or an encoding that is not there any more."""
    with suppress(RecipeError):
        return {config.id for config in config_load.load(recipe, flags)[0].configs()}
    return set()


def _plain_keys(task: str, encoding: str) -> dict[str, Any]:
    """The keys of a run at the defaults of its task."""
    return Config.from_keys(**task_defaults(task), task=task, encoding=encoding).to_keys()


def _settings(config: Config, plain: Mapping[str, Any]) -> dict[str, str]:
    """The keys of a run that are not the defaults of its task."""
    keys = config.to_keys()
    return {key: str(value) for key, value in keys.items() if key not in AXES and value is not None and value != plain[key]}


def _lengths(runs: Sequence[RunResults]) -> str:
    """The lengths that were evaluated beyond those of the recipes."""
    more = set[int]()
    for run in runs:
        trained = run.config.length  # which is measured always
        more |= {*run.evaluations} - {trained, *parse_lengths(run.config.eval.lengths, trained)}
    return f" --lengths {','.join(map(str, sorted(more)))}" if more else ""


def written(flags: Mapping[str, str]) -> str:
    return "".join(f" --{key.replace('_', '-')} {shlex.quote(value)}" for key, value in flags.items())

"""The commands that train and evaluate the runs of a report again: each is checked to make the very runs, by their ids."""

import re
import shlex
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache, lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

from rpecli import catalog
from rpecli import task as tasks
from rpecli.choice import ChoiceError, data_in, paths_in
from rpecli.config import load as config_load
from rpecli.config.recipe import Config, EvalSettings, task_defaults
from rpecli.config.settings import check_choice
from rpecli.config.yaml_source import RecipeError
from rpecli.report.load import RunResults, one_per_directory
from rpecli.run.records import EvalLine
from rpecli.task import Task

MOST = 8  # lines of commands; of more, a run's own recipe.yaml says more
MOST_RUNS = 1000  # checking the ids of so many takes two seconds
FEW, LONG, LONG_WORD = 2, 240, 60  # commands in a sentence, its characters, and those of a list in it
FILES = "# first the commands that trained these runs: they name files of yours, which a report does not hold"
MANY = "# first the runs: each has a recipe.yaml of its own, which rpe train takes"
OWN_FILES = re.compile(r"path=|\.py\b")  # a recipe that names data or code of the user
AXES = ("task", "encoding", "positions", "seed")


def reproducing(report: str, runs: Sequence[RunResults], shifted: bool) -> list[str]:
    """The command that made a report, below those that make its runs unless it makes them itself.

    Where there are none, a comment says why.
    """
    if re.match(r"rpe (?:run|train|choose)\b", report):
        return [report]
    folder = re.search(r" --runs[ =]('[^']+'|\S+)", report)
    lines = commands(runs, f" --runs {folder[1]}" if folder else "", shifted)
    own = [run.config for run in runs if not run.is_reference]
    why = FILES if names_files(own) else MANY
    return [*(lines or ([why] if own else [])), *([report] if report else [])]


def commands(runs: Sequence[RunResults], runs_flag: str = "", shifted: bool = False) -> list[str]:
    """`rpe run quick`, or `rpe train --task ... --encoding ...` and `rpe eval`; `rpe inspect --shift` where runs were shifted.

    None for runs of the user's own files, which the report does not hold, for names that this version lacks, for more than MOST
    lines and for MOST_RUNS or more.
    """
    own = [run for run in one_per_directory(runs) if not run.is_reference]
    if len(own) >= MOST_RUNS or not _all_ship([run.config for run in own]):
        return []
    whole, training = _training([(_study(run), run.config) for run in own])
    flags, variants = _eval_flags(own), sorted({run.variant_flags.strip() for run in runs} - {""})
    after = [f"rpe eval{flags}"] if training or flags else []
    after += [f"rpe eval {variant}{flags}" for variant in variants]
    after += ["rpe inspect --shift"] if training and shifted else []
    lines = [*whole, *training, *after]
    return [f"{line}{runs_flag}" for line in lines] if len(lines) <= MOST else []


def more(runs: Sequence[RunResults], changes: Sequence[Mapping[str, Any]], shifted: bool = False) -> str:
    """The commands that train and measure these runs with each of the changes: `rpe train ..., then rpe eval`.

    A recipe that makes them is asked for the runs that there are too, so that its report shows them together. Empty for runs that
    have no commands, for more than FEW commands that train, and for what is too long for a sentence.
    """
    if not _all_ship([run.config for run in runs]):
        return ""
    first = [(_study(run), run.config.model_copy(update=dict(changes[0]))) for run in one_per_directory(runs)]
    alike = {(study, config.id): config for study, config in first}  # runs that differ in what is changed alone are one
    if len(alike) * len(changes) >= MOST_RUNS:
        return ""
    wanted = [(study, config.model_copy(update=dict(change))) for (study, _), config in alike.items() for change in changes]
    whole, training = _training(wanted, [(_study(run), run.config) for run in one_per_directory(runs)])
    if len(whole) + len(training) > FEW:
        return ""
    flags = _eval_flags(runs)
    after = [f"rpe eval{flags}"] if training or flags else []
    after += ["rpe inspect --shift"] if training and shifted else []
    after += ["rpe report"] if training and {_study(run) for run in runs} != {"default"} else []
    text = ", then ".join([*whole, *training, *after])
    return text if len(text) <= LONG and max(map(len, text.split()), default=0) <= LONG_WORD else ""


def _study(run: RunResults) -> str:
    return str(run.record.get("study", "default"))


def _training(wanted: Iterable[tuple[str, Config]], there: Iterable[tuple[str, Config]] = ()) -> tuple[list[str], list[str]]:
    """`rpe run` of the recipes that make these runs and those that are there, by the study of each; `rpe train` of the others."""
    by_study, beside = defaultdict[str, list[Config]](list), defaultdict[str, list[Config]](list)
    for groups, runs in ((by_study, wanted), (beside, there)):
        for study, config in runs:
            groups[study].append(config)
    whole, single = list[str](), list[Config]()
    for study, configs in sorted(by_study.items()):
        if command := _of_recipe(study, configs + beside[study]):
            whole.append(command)
        else:
            single += configs
    return whole, [f"rpe train {line}".rstrip() for line in islice(_of_flags(single), MOST + 1)]


def _of_recipe(study: str, configs: Sequence[Config]) -> str | None:
    """`rpe run` of the recipe of a study with the flags that make these runs; None where it makes others, or cannot be read."""
    with suppress(RecipeError):
        if (recipe := _recipe(study)) and _made(recipe, flags := _choosing(recipe, configs)) >= {config.id for config in configs}:
            return f"rpe run {shlex.quote(recipe)}{_written(flags)}"
    return None


def _recipe(study: str) -> str | None:
    """The recipe of a study, shipped or in the current folder; none that names files, which a report does not read."""
    if study in catalog.names("recipes"):
        return study
    own = catalog.own_file(study, ".yaml")
    with suppress(OSError, UnicodeDecodeError):
        return own if own and not OWN_FILES.search(Path(own).read_text(encoding="utf-8")) else None
    return None


def _all_ship(configs: Sequence[Config]) -> bool:
    """Whether the tasks and encodings of runs are there wherever rpe is: no files of the user, no names of another version."""
    if names_files(configs):
        return False
    with suppress(ChoiceError):
        for kind, texts in (("tasks", {one.task for one in configs}), ("encodings", {one.encoding for one in configs})):
            for text in texts:
                check_choice(kind, text)
        return True
    return False


def names_files(configs: Iterable[Config]) -> bool:
    """Whether a run's task or encoding is the user's own."""
    return any(paths_in(text) or data_in(text) for config in configs for text in (config.task, config.encoding))


def _choosing(recipe: str, configs: Sequence[Config]) -> dict[str, str]:
    """The flags with which a recipe has the tasks, encodings, positions and seeds of runs, and no others."""
    loaded, _ = config_load.load(recipe)
    own = {key: {getattr(config, key) for config in configs} for key in AXES}
    return {key: _listed(values) for key, values in own.items() if values != {*getattr(loaded, key)}}


def _listed(values: Iterable[Any]) -> str:
    """`alibi,rope`; numbers in a row as `0:7`."""
    ordered = sorted(values)
    numbers = [value for value in ordered if isinstance(value, int)]
    if len(numbers) > 1 and numbers == [*range(numbers[0], numbers[-1] + 1)]:
        return f"{numbers[0]}:{numbers[-1] + 1}"
    return ",".join(map(str, ordered))


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
    if _made(None, flags) == (ids := {config.id for config in configs}):
        usual = (key for key in ("task", "seed") if _made(None, {name: flags[name] for name in flags if name != key}) == ids)
        for key in usual:  # what the command has by itself
            del flags[key]
        yield _written(flags).strip()
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


def _eval_flags(runs: Sequence[RunResults]) -> str:
    """What `rpe eval` has to be told to measure runs as they were measured, where their recipes say otherwise."""
    own = [run for run in runs if not run.is_reference]
    lines = [(run, line) for run in own for line in run.evaluations.values() if line["data"] is None]
    flags = {"lengths": _lengths(own), "samples": _samples(lines)}
    seeds = {line["eval_seed"] for _, line in lines}
    if len(seeds) == 1 and seeds != {run.config.eval.eval_seed for run, _ in lines}:
        flags["eval_seed"] = str(seeds.pop())
    return _written({key: value for key, value in flags.items() if value})


def _lengths(runs: Sequence[RunResults]) -> str:
    """The lengths that were measured, where they are not those of the recipes; as multiples if training lengths differ."""
    measured, usual = defaultdict[int, set[int]](set), defaultdict[int, set[int]](set)
    for run in runs:
        trained = run.config.length
        task = _task(run.config.task).split("test", trained)
        measured[trained] |= {*run.evaluations}
        usual[trained] |= {*filter(task.has_length, run.config.eval.lengths_after(trained))}
    if measured == usual or not any(measured.values()):
        return ""
    if len(measured) == 1:
        ((trained, lengths),) = measured.items()
        return _shortest(trained, sorted(lengths))
    factors = {tuple(f"{length / trained:g}x" for length in sorted(lengths)) for trained, lengths in measured.items()}
    beyond = {length for trained in measured for length in measured[trained] - usual[trained]}
    return ",".join(factors.pop() if len(factors) == 1 else map(str, sorted(beyond)))


def _shortest(trained: int, lengths: Sequence[int]) -> str:
    """The fewest of the lengths, the last ones, with which `rpe eval` measures all of them."""
    texts = [",".join(map(str, lengths[start:])) for start in reversed(range(len(lengths)))]
    return next((text for text in texts if EvalSettings(lengths=text).lengths_after(trained) == [*lengths]), texts[-1])


def _samples(lines: Sequence[tuple[RunResults, EvalLine]]) -> str:
    """The number of sequences a length that explains those that were measured, where the recipes have another."""
    numbers = [(line["n"], run.config.eval, line["sequence"]) for run, line in lines]
    if not numbers or all(n == settings.n_sequences(tokens) for n, settings, tokens in numbers):
        return ""
    most = max(n for n, _, _ in numbers)
    others = ((n, settings.model_copy(update={"samples": most}).n_sequences(tokens)) for n, settings, tokens in numbers)
    return str(most) if all(n == expected for n, expected in others) else ""


@lru_cache(maxsize=256)
def _task(task: str) -> Task:
    return tasks.build(task)


def _written(flags: Mapping[str, str]) -> str:
    return "".join(f" --{key.replace('_', '-')} {shlex.quote(value)}" for key, value in flags.items())

"""The runs that a command works on: selected by name, or created from a recipe."""

import errno
import shlex
from collections.abc import Iterable, Mapping, Set
from contextlib import suppress
from pathlib import Path

from rpecli import catalog
from rpecli.choice import canonical, split_list, without_options
from rpecli.cli._exit import FAILURE, USAGE, stop, warn
from rpecli.cli._output import runs_flag
from rpecli.config import suites
from rpecli.config.ranges import parse_seeds
from rpecli.config.recipe import Config, label
from rpecli.run import liveness
from rpecli.run.code import changes
from rpecli.run.directory import Run, Status, directories, readable_runs
from rpecli.run.files import NotWritten, RunError
from rpecli.run.liveness import claim
from rpecli.run.problems import ALL, Message, folded
from rpecli.run.provenance import why_no_commit
from rpecli.table import few

NAMED = 8  # runs that a message names one by one
Filters = Mapping[str, str]  # texts that choose among runs: of task, encoding, seed, state
NO_FILTERS: Filters = {}


def select_runs(folder: Path, names: list[str] | None, filters: Filters = NO_FILTERS) -> tuple[list[Run], list[str]]:
    """Runs by id, part of it, path or pattern, without names all of `folder`; and the names that stand for unreadable runs alone.

    Of these, `filters` choose. Directories that are damaged, of another format or not runs are left out with a message each. The
    command stops if no run is left, and else calls `fail_if_unreadable` when it is done.
    """
    if not names:
        runs, problems = readable_runs(readable_directories(folder))
        warn_of(problems, folder)
        if not runs and problems:
            stop(f"no directory under {folder} is a run that can be read", FAILURE)
        if not runs:
            stop(f"no runs under {folder}: create some with rpe train --encoding rope", FAILURE)
        return matching(runs, filters), []
    by_name = {name: readable_runs(find_directories(folder, name)) for name in names}
    unreadable = [name for name, (runs, _) in by_name.items() if not runs]
    for name, (_, problems) in by_name.items():
        warn_of(problems, folder, "red" if name in unreadable else "yellow")
    if len(unreadable) == len(by_name):
        raise SystemExit(FAILURE)
    return matching(list(dict.fromkeys(run for runs, _ in by_name.values() for run in runs)), filters), unreadable


def warn_of(messages: Iterable[Message], folder: Path, color: str = "yellow") -> None:
    """Says what is wrong with runs of a folder, in a few lines."""
    for line in folded(messages, f"{ALL}{runs_flag(folder)}"):
        warn(line, color)


def matching(runs: list[Run], filters: Filters) -> list[Run]:
    """The runs that have, for every filter, one of the values in its text; a name without options stands for any options.

    Warns of a value that no run has, or of a suite or `baselines` of which no run has any; stops where no run is left.
    """
    asked = {key: asked_values(key, text) for key, text in filters.items()}
    for key, items in asked.items():
        present = {value for run in runs for value in values_of(run, key)}
        missing = [item for item, values in items.items() if not values & present]
        if missing:
            order = int if key == "seed" else str
            has = few(sorted(present, key=order), NAMED)
            message = f"--{key}: no run has {key} {few(sorted(missing, key=order), NAMED)}; they have {has}"
            if len(missing) == len(items):
                stop(f"{message}: rpe ls runs lists all", USAGE)
            warn(message)
    matches = [run for run in runs if meets(run, asked)]
    if not matches:
        stop(f"no run with {' and '.join(f'{key} {text}' for key, text in filters.items())}: rpe ls runs lists all", USAGE)
    return matches


def meets(run: Run, asked: Mapping[str, Mapping[str, set[str]]]) -> bool:
    """Whether a run has, for every filter, one of the values that `asked_values` gives for it."""
    return all(any(values_of(run, key) & values for values in items.values()) for key, items in asked.items())


def states_filter(state: str | None) -> Filters:
    """The filter of `--state`; stops for a state that no run has."""
    states = [*map(str, Status), liveness.INTERRUPTED]
    if wrong := [word for word in (state or "").split(",") if word.strip() and word.strip() not in states]:
        stop(f"--state: {catalog.unknown('state', wrong[0], states)}", USAGE)
    return {} if state is None else {"state": state}


def asked_values(key: str, text: str) -> dict[str, set[str]]:
    """What the text of a filter lists, each with the values that it stands for; stops where one is empty or none."""
    if not all(part.strip() for part in text.split(",")):
        stop(f"--{key}: {text!r}: a value is empty: write one, or several with commas between them", USAGE)
    if key == "state":
        return {part.strip(): {part.strip()} for part in text.split(",")}
    try:
        if key == "seed":
            return {str(seed): {str(seed)} for seed in parse_seeds(text)}
        expand = suites.expand if key == "task" else suites.with_baselines
        return {_shown(item): {label(canonical(choice)) for choice in expand([item])} for item in split_list(text)}
    except ValueError as error:  # a ChoiceError too
        stop(f"--{key}: {error}", USAGE)


def _shown(item: str) -> str:
    """A choice as records write it; a suite and `baselines` as they are."""
    return item if item.startswith(suites.WORD) else label(canonical(item))


def values_of(run: Run, key: str) -> set[str]:
    """What a filter may call the value of a run's record."""
    value = liveness.state(run, run.record) if key == "state" else str(run.record[key])
    if key not in ("task", "encoding"):
        return {value}
    name = label(value)
    return {name, without_options(name)}


def fail_if_unreadable(names: list[str]) -> None:
    """Ends a command that has used all runs but those of these names."""
    if names:
        stop(f"left out, as told above: {few(names, NAMED)}", FAILURE)


def find_directories(folder: Path, name: str) -> list[Path]:
    """The directories of an id, part of an id, path or pattern; stops where there is none."""
    matches = matching_directories(folder, name)
    if not matches:
        stop(unknown_run(folder, name), USAGE)
    if matches == [Path(name)] and (inner := _folder_of_runs(Path(name))):
        stop(f"{name} is no run, and {inner} holds runs: write --runs {shlex.quote(str(inner))} in its place", USAGE)
    return matches


def _folder_of_runs(path: Path) -> Path | None:
    """A directory that is no run and holds some, or the one of them in it that is called `runs`."""
    if Run(path).has_record:
        return None
    return next((one for one in (path, path / "runs") if any(Run(run).has_record for run in readable_directories(one))), None)


def unknown_run(folder: Path, name: str) -> str:
    """The message about a mistyped run: `no run 'copy-rop' under runs: did you mean copy-rope-s0-39717e5b?`."""
    names = [path.name for path in readable_directories(folder)]
    parts = [other for other in names if name and name in other]
    if parts:
        hint = f"{len(parts)} ids have it in them, {parts[0]} and {parts[1]} among them: write more of it"
    elif close := catalog.close_names(name, names):
        hint = f"did you mean {' or '.join(close)}?"
    elif names:
        hint = f"rpe ls runs{runs_flag(folder)} lists the {len(names)} that there are"
    else:
        hint = "there are none yet: rpe train creates some"
    return f"no run {name!r} under {folder}: {hint}"


def matching_directories(folder: Path, name: str) -> list[Path]:
    """The directories of an id, path or pattern, or the only one whose id has the name in it."""
    if not Path(name).name:  # '', '.', '/': no pattern
        return [Path(name)] if name and Path(name).is_dir() else []
    paths = readable_directories(folder)
    if matches := [path for path in paths if path.match(name)] or [path for path in [Path(name)] if path.is_dir()]:
        return matches
    matches = [path for path in paths if name in path.name]
    return matches if len(matches) == 1 else []


def readable_directories(folder: Path) -> list[Path]:
    """The directories in a folder; stops where it cannot be read."""
    try:
        return directories(folder)
    except RunError as error:
        stop(str(error), FAILURE)


def select_trained_runs(folder: Path, names: list[str] | None, filters: Filters = NO_FILTERS) -> tuple[list[Run], list[str]]:
    """As `select_runs`, and warns of the runs that are not trained, which are left out too."""
    runs, unreadable = select_runs(folder, names, filters)
    trained = [run for run in runs if run.is_trained]
    _warn_of_untrained([run for run in runs if run not in trained])
    if not trained:
        stop("none of these runs is trained", FAILURE)
    _warn_of_changed_code(trained)
    return trained, unreadable


def _warn_of_untrained(runs: list[Run]) -> None:
    """One line for those that lost their weights, and one for the others."""
    lost = [run for run in runs if run.record["status"] == Status.TRAINED]
    for members, what in ((lost, "without its weights.safetensors"), ([run for run in runs if run not in lost], "not trained")):
        if len(members) == 1:
            warn(f"{members[0].name} is {what} and is left out: {members[0].train_command}")
        elif members:
            several = f"{len(members)} runs are {what.replace('its', 'their')} and are left out"
            warn(f"{several}: {members[0].train_command}, and so on for {len(members) - 1} more")


def _warn_of_changed_code(runs: list[Run], remedy: str = "") -> None:
    """One line for all runs that other code of rpe trained than measures them, or goes on with them."""
    known = []
    for run in runs:
        with suppress(RunError):  # a damaged one is an error where it is used
            known.append((run.name, run.config, run.record))
    for change in changes(known):
        warn(change + remedy)


def create_runs(configs: list[Config], study: str, folder: Path, done: Set[str] = frozenset()) -> tuple[list[Run], list[str]]:
    """One run per config, and the names of those that cannot be used, which are left out with a message each.

    Warns of runs that other code of rpe trained, or began to train. Those of `done` are there and up to date.
    """
    runs, problems, notes = list[Run](), dict[Path, str](), list[Message]()
    for config in configs:
        if config.id in done:
            runs.append(Run(folder / config.id))
            continue
        path = folder / config.id
        try:
            run = Run.create(config, folder, study, say=lambda note, path=path: notes.append((path, note)))  # type: ignore[misc]
            claim(run)
        except RunError as error:
            if isinstance(error, NotWritten) and error.errno == errno.ENOSPC:
                stop(str(error), FAILURE)
            problems[path] = str(error)
            continue
        runs.append(run)
    warn_of(notes, folder)
    _warn_of_changed_code([run for run in runs if run.name not in done], "; delete a run to train it again")
    warn_of({problem: (path, problem) for path, problem in problems.items()}.values(), folder, "red")  # of the folder, once
    if not runs:
        raise SystemExit(FAILURE)
    if not all(run.is_trained for run in runs) and (reason := why_no_commit()):
        warn(f"the commit of rpe is not recorded: {reason}")
    return list(dict.fromkeys(runs)), [path.name for path in problems]

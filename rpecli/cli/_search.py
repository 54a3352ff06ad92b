"""The learning-rate search of a recipe, before its runs: the trials that are missing, and what they decide."""

from pathlib import Path

from rpecli.cli._execute import Workplace
from rpecli.cli._exit import FAILURE, stop, warn
from rpecli.cli._output import runs_flag, say
from rpecli.cli._select import create_runs
from rpecli.config.recipe import Config, Recipe, label
from rpecli.run import lr_search
from rpecli.run.directory import Run
from rpecli.run.files import RunError
from rpecli.run.lr_search import FOLDER, Choices
from rpecli.table import few, plural
from rpecli.titles import display, display_trained

NAMED = 6  # choices that a message names


def choices(recipe: Recipe, runs: Path) -> Choices:
    """The runs of a recipe as far as their learning rates are known; stops for a damaged trial."""
    try:
        return lr_search.choices(recipe, runs)
    except RunError as error:
        stop(str(error), FAILURE)


def search(recipe: Recipe, study: str, runs: Path, place: Workplace) -> Choices:
    """The runs of a recipe with their learning rates, once the trials that are missing are done; stops where no run has one."""
    known = choices(recipe, runs)
    if todo := [trial for trial in known.trials if not lr_search.has_ended(Run(runs / FOLDER / trial.id))]:
        rates = ", ".join(f"{rate:g}" for rate in recipe.lr_search)
        say(f"Learning-rate search: {plural(len(todo), 'run')} of {len(known.trials)} to train, with rates {rates}.", err=True)
        created, _ = create_runs(todo, study, runs / FOLDER)
        place.do([place.job(trial) for trial in created])
        known = choices(recipe, runs)
        if known.searches:
            say(f"Chosen by validation on training lengths: {_chosen(known)}.", err=True)
    if not known.configs and tell_undecided(known, runs):
        raise SystemExit(FAILURE)
    return known


def _chosen(known: Choices) -> str:
    rates = {f"{_name(config)} {config.lr:g}": None for config in known.configs if config.id in known.searches}
    return few(list(rates), NAMED)


def _name(config: Config) -> str:
    return f"{display_trained(label(config.encoding), config.positions)} on {display('tasks', label(config.task))}"


def tell_undecided(known: Choices, runs: Path) -> bool:
    """Names the runs that have no learning rate, since trials of them failed; whether there are any."""
    if not known.undecided:
        return False
    names = few(list(dict.fromkeys(map(_name, known.undecided))), NAMED)
    why = "a trial failed, or no rate has a finite loss"
    warn(f"no learning rate for {names}: {why}: rpe ls runs{runs_flag(runs / FOLDER)}", "red")
    return True

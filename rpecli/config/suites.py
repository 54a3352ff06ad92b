"""Words that stand for several names: `suite:NAME` for the tasks of the recipe `suite-NAME`, `baselines` for encodings.

The baselines are those whose file says `baseline = True`.
"""

from contextlib import suppress
from functools import cache

from rpecli import catalog
from rpecli.choice import ChoiceError, canonical, parse_choice
from rpecli.config import yaml_source
from rpecli.config.yaml_source import RecipeError

FILE, WORD = "suite-", "suite:"  # before the name of a suite: of its recipe, and in a list of tasks
BASELINES = "baselines"  # in a list of encodings


def names() -> list[str]:
    """The names of all suites."""
    return [name.removeprefix(FILE) for name in catalog.names("recipes") if name.startswith(FILE)]


@cache
def tasks(name: str) -> list[str]:
    """The choices of tasks in a suite, in the order of its recipe. Raises ChoiceError if there is no such suite."""
    if name not in names():
        raise ChoiceError(f"{catalog.unknown('suite', name, names())}  (rpe ls tasks lists the suites)")
    try:
        values = yaml_source.read(catalog.find("recipes", FILE + name)).values
    except RecipeError as error:
        raise ChoiceError(str(error)) from None
    return [canonical(str(task)) for task in values["task"]]


def expand(items: list[str]) -> list[str]:
    """A list of tasks in which the tasks of a suite stand in place of `suite:NAME`."""
    return [task for item in items for task in (tasks(item.removeprefix(WORD)) if item.startswith(WORD) else [item])]


def refuse(choice: str) -> None:
    """Raises ChoiceError for a word that stands for several names, or nearly so, where one encoding or task is expected."""
    word, _, name = choice.strip().lower().replace(FILE, WORD).partition(":")
    if word in names() and word not in catalog.names("tasks"):
        word, name = "suite", word
    if word in ("suite", "suites"):
        known, example = (f", with one of {', '.join(names())}", names()[0]) if name not in names() else ("", name)
        form = f"{WORD}{'NAME' if known else name}"
        raise ChoiceError(
            f"{choice!r} is not a task: write {form} in a list of tasks{known}; rpe ls tasks --suite {example} lists its tasks"
        )
    if word in (BASELINES, BASELINES.removesuffix("s")):
        which = ", ".join(baselines())
        raise ChoiceError(f"{choice!r} is not an encoding: write {BASELINES} in a list of encodings, for {which}")


def of_task(choice: str) -> list[str]:
    """The suites that hold a choice of a task."""
    return [name for name in names() if canonical(choice) in tasks(name)]


def expressible(choice: str) -> tuple[bool, bool] | None:
    """Whether a C-RASP program solves a task with absolute positions, and with none; None without a prediction."""
    name, _, options = canonical(choice).partition(":")
    with suppress(ChoiceError):  # a task that is not here
        return catalog.class_constants(catalog.find("tasks", parse_choice(name)[0])).get("expressible", {}).get(options)
    return None


@cache
def baselines() -> list[str]:
    """The encodings that others are compared with, by group."""
    constants = {name: catalog.class_constants(catalog.find("encodings", name)) for name in catalog.names("encodings")}
    chosen = [name for name, facts in constants.items() if facts.get("baseline")]
    return sorted(chosen, key=lambda name: catalog.GROUPS.index(constants[name].get("group", "RPE")))


def with_baselines(items: list[str]) -> list[str]:
    """A list of encodings in which the baselines stand in place of `baselines`."""
    return [name for item in items for name in (baselines() if item == BASELINES else [item])]

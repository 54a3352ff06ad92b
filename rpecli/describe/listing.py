"""Tables of encodings, tasks, recipes and recipe keys, read from their files: for `rpe ls`, `rpe check --keys` and the docs."""

from rpecli import catalog, encoding_facts
from rpecli.choice import parse_choice
from rpecli.config import load as config_load
from rpecli.config import suites
from rpecli.config.keys import recipe_keys
from rpecli.config.recipe import task_defaults
from rpecli.table import Table, few
from rpecli.titles import display

ASKS, MADE_HERE = "what it asks", "made for this bench"
LISTS, FIRST = ("task", "encoding"), 4  # columns of recipes, and the names that a table shows of them
NARROW = [  # the columns that a narrow terminal shows, of each kind of rows, and their headings there
    {"encoding": "encoding", "group": "group", "learns": "learns", "shift invariant": "shift\ninv.", "kernel": "kernel",
     "year": "year", "what it does": "what it does"},
    {"task": "task", "family": "family", "length": "length", ASKS: ASKS},
    {"recipe": "recipe", "what it shows": "what it shows", "runs": "runs"},
]  # fmt: skip

CAPTIONS = {  # by the first column
    "encoding": "Group: APE absolute, RPE relative, content: what the tokens hold decides, none: no encoding. Learns: whether it "
    "has parameters. Shift invariant: whether scores stay when all positions move. Kernel: how attention computes it. "
    "All of it, with a picture: rpe show NAME.",
    "task": "Length: training length by default. Below a task are its variants. All of it, with examples: rpe show NAME.",
    "recipe": "Runs: how many there are. To run one: rpe run NAME; to see what it would do: rpe run NAME --dry-run.",
}


def rows(kind: str) -> list[dict[str, str]]:
    """One row per encoding or recipe, and one per task with each of the options that papers use."""
    return [_ROW[kind](choice) for choice in (task_choices() if kind == "tasks" else catalog.names(kind))]


def task_choices() -> list[str]:
    """Every task, followed by its variants: `tomita`, `tomita:number=2`."""
    choices = []
    for name in catalog.names("tasks"):
        variants = catalog.class_constants(catalog.find("tasks", name)).get("variants", {})
        choices += [name, *(f"{name}:{options}" for options in variants)]
    return choices


def _encoding(name: str) -> dict[str, str]:
    facts = encoding_facts.read(name)
    return {
        "encoding": name,
        "title": display("encodings", name),
        "group": facts.group,
        "what it does": facts.summary,
        "learns": facts.learns,
        "shift invariant": "yes" if facts.shift_invariant else "no",
        "kernel": facts.kernel,
        "attention": "causal only" if facts.causal_only else "both directions",
        "past the training length": facts.extrapolation,
        "year": facts.year,
        "paper": facts.paper,
    }


def task_row(choice: str) -> dict[str, str]:
    """One choice of a task as `rpe ls tasks` shows it."""
    name, options = parse_choice(choice)
    path = catalog.find("tasks", name)
    constants = catalog.class_constants(path)
    defaults, examples = task_defaults(choice), constants.get("examples", ((None, ""),))
    predicted = constants.get("expressible", {}).get(choice.partition(":")[2])
    return {"task": choice, "family": constants.get("family", "other"), ASKS: catalog.summary(path),
            "example": "" if options else examples[0][1], "length": str(defaults.get("length", "")),
            "steps": str(defaults.get("steps", "")), "suites": ", ".join(suites.of_task(choice)),
            "C-RASP": " ".join("yes" if yes else "no" for yes in predicted) if predicted else "",
            "source": constants.get("source", MADE_HERE)}  # fmt: skip


def _recipe(name: str) -> dict[str, str]:
    recipe, _ = config_load.load(name)
    configs = recipe.configs()
    lengths = " or ".join(dict.fromkeys(config.eval.lengths for config in configs))  # a task may have its own
    axes = {key: ", ".join(map(str, getattr(recipe, key))) for key in ("task", "encoding", "seed")}
    return {"recipe": name, "what it shows": catalog.summary(catalog.find("recipes", name)), **axes, "lengths": lengths,
            "runs": str(len(configs))}  # fmt: skip


_ROW = {"encodings": _encoding, "tasks": task_row, "recipes": _recipe}


def keys() -> list[dict[str, str]]:
    """One row per recipe key: its type, its default and its meaning."""
    return [
        {"key": key.name, "type": key.type, "default": key.default or "none", "meaning": key.meaning} for key in recipe_keys()
    ]


def _told_once(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """Rows without what the row above has just told: a variant of a task asks what the task asks."""
    pairs = zip(rows, [None, *rows], strict=False)
    return [row | {ASKS: ""} if before and ASKS in row and row[ASKS] == before[ASKS] else row for row, before in pairs]


def first_names(rows: list[dict[str, str]], most: int = FIRST) -> list[dict[str, str]]:
    """Rows with the first names of long lists, which a reader takes in, and how many there are."""
    return [row | {column: few(row[column].split(", "), most) for column in LISTS if column in row} for row in rows]


def table(rows: list[dict[str, str]]) -> Table:
    """Rows as a table, with lists of names in short; in a narrow terminal it shows only the columns of NARROW."""
    rows = first_names(_told_once(rows))
    headings = next((columns for columns in NARROW if rows and set(columns) <= set(rows[0])), None)
    narrow = headings and [{heading: row[column] for column, heading in headings.items()} for row in rows]
    caption = CAPTIONS.get(next(iter(rows[0]), ""), "") if rows else ""
    return Table.of(rows, caption=caption, narrow=Table.of(narrow, caption=caption) if narrow else None)

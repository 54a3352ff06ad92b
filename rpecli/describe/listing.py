"""Tables of encodings, tasks, recipes and recipe keys, read from their files: for `rpe ls`, `rpe check --keys` and the docs."""

from rpecli import catalog, encoding_facts
from rpecli.config import load as config_load
from rpecli.config.keys import recipe_keys
from rpecli.table import Table
from rpecli.titles import display

NARROW = {"encoding": "encoding", "group": "group", "learns": "learns", "shift invariant": "shift\ninv.", "kernel": "kernel",
          "year": "year", "what it does": "what it does"}  # fmt: skip  # column -> its heading in a narrow terminal


def rows(kind: str) -> list[dict[str, str]]:
    """One row per file of `kind`: encodings, tasks or recipes."""
    return [_ROW[kind](name) for name in catalog.names(kind)]


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


def _task(name: str) -> dict[str, str]:
    path = catalog.find("tasks", name)
    constants = catalog.class_constants(path)
    defaults, examples = constants.get("defaults", {}), constants.get("examples", ((None, ""),))
    return {"task": name, "family": constants.get("family", "other"), "what it asks": catalog.summary(path),
            "example": examples[0][1], "length": str(defaults.get("length", "")),
            "steps": str(defaults.get("steps", ""))}  # fmt: skip


def _recipe(name: str) -> dict[str, str]:
    recipe, _ = config_load.load(name)
    configs = recipe.configs()
    lengths = " or ".join(dict.fromkeys(config.eval.lengths for config in configs))  # a task may have its own
    axes = {key: ", ".join(map(str, getattr(recipe, key))) for key in ("task", "encoding", "seed")}
    return {"recipe": name, "what it shows": catalog.summary(catalog.find("recipes", name)), **axes, "lengths": lengths,
            "runs": str(len(configs))}  # fmt: skip


_ROW = {"encodings": _encoding, "tasks": _task, "recipes": _recipe}


def keys() -> list[dict[str, str]]:
    """One row per recipe key: its type, its default and its meaning."""
    return [
        {"key": key.name, "type": key.type, "default": key.default or "none", "meaning": key.meaning} for key in recipe_keys()
    ]


def table(rows: list[dict[str, str]]) -> Table:
    """Rows as a table; in a narrow terminal it shows only the columns of NARROW."""
    narrow = [{heading: row[column] for column, heading in NARROW.items()} for row in rows if set(NARROW) <= set(row)]
    return Table.of(rows, narrow=Table.of(narrow) if narrow else None)

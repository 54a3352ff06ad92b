"""Tables of what there is (encodings, tasks, recipes, recipe keys), read from the files themselves: for `rpe ls` and the docs."""

from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from rpecli import catalog
from rpecli.config import load as config_load
from rpecli.config import recipe
from rpecli.describe import source as anatomy
from rpecli.markdown import table as markdown_table

SHORT = {"encoding": "encoding", "group": "group", "learns": "learns", "shift invariant": "shift\ninv.", "kernel": "kernel",
         "year": "year", "what it does": "what it does"}  # fmt: skip
LOOK: dict[str, Any] = {"box": None, "pad_edge": False, "header_style": "bold"}
LEARNS = {"yes": "yes", "no": "no", "option": "with an option alone"}
FULL = 10_000  # a width that holds any row on one line


def rows(kind: str) -> list[dict[str, str]]:
    """A row a file of `kind`: encodings, tasks or recipes."""
    return [_ROW[kind](name) for name in catalog.names(kind)]


def _encoding(name: str) -> dict[str, str]:
    found = anatomy.of(name)
    return {
        "encoding": name,
        "group": found.group,
        "what it does": found.summary,
        "learns": found.learns,
        "shift invariant": _yes(found.shift_invariant),
        "kernel": found.kernel,
        "attention": "causal only" if found.causal_only else "both directions",
        "past the trained length": found.unseen,
        "year": found.year,
        "paper": found.paper,
    }


def _yes(fact: bool) -> str:
    return "yes" if fact else "no"


def _task(name: str) -> dict[str, str]:
    path = catalog.find("tasks", name)
    defaults = catalog.class_constants(path).get("defaults", {})
    examples = catalog.class_constants(path).get("examples", ((None, ""),))
    return {"task": name, "family": catalog.class_constants(path).get("family", "other"), "what it asks": catalog.summary(path),
            "example": examples[0][1],
            "length": str(defaults.get("length", "")), "steps": str(defaults.get("steps", ""))}  # fmt: skip


def _recipe(name: str) -> dict[str, str]:
    made, _ = config_load.load(name)
    configs = made.configs()
    lengths = " or ".join(dict.fromkeys(config.eval.lengths for config in configs))  # a task may have its own
    axes = {key: ", ".join(map(str, getattr(made, key))) for key in ("task", "encoding", "seed")}
    return {"recipe": name, "what it shows": catalog.summary(catalog.find("recipes", name)), **axes, "lengths": lengths,
            "runs": str(len(configs))}  # fmt: skip


_ROW = {"encodings": _encoding, "tasks": _task, "recipes": _recipe}


def keys() -> list[dict[str, str]]:
    """A row a recipe key: what it is, its default."""
    fields = recipe.recipe_fields()
    return [{"key": key, "default": _default(field), "meaning": field.description or ""} for key, field in fields.items()]


def _default(field: Any) -> str:
    default = field.default
    return "none" if default in (None, {}) else ",".join(map(str, default)) if isinstance(default, list) else str(default)


class Listing(Table):
    """A table that shows its short form where the whole of it would have to fold its cells."""

    short: Table | None = None

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        whole = console.measure(self, options=options.update(max_width=FULL)).maximum
        if self.short and whole > options.max_width:
            yield self.short
        else:
            yield from super().__rich_console__(console, options)


def rich_table(found: list[dict[str, str]]) -> Table:
    """Rows for a terminal. A pipe gets all of its columns, a narrow screen those of SHORT."""
    table = Listing(**LOOK)
    _fill(table, found)
    if found and set(SHORT) <= set(found[0]):
        table.short = Table(**LOOK, padding=(0, 1, 0, 0))
        _fill(table.short, [{head: row[key] for key, head in SHORT.items()} for row in found])
    return table


def _fill(table: Table, found: list[dict[str, str]]) -> None:
    for number, name in enumerate(found[0] if found else []):
        table.add_column(name, no_wrap=number == 0, overflow="fold")
    for row in found:
        table.add_row(*map(Text, row.values()))  # as text: markup would swallow brackets


def markdown(found: list[dict[str, str]]) -> str:
    """Rows for a page."""
    return markdown_table(list(found[0]), (list(row.values()) for row in found))


def kernels() -> list[dict[str, str]]:
    """A row a kernel: what it costs."""
    return [{"kernel": f"`{kernel}`", "cost": cost} for kernel, cost in anatomy.COST.items()]


def linked(found: list[dict[str, str]], columns: list[str], page: str = "") -> list[dict[str, str]]:
    """Some columns of rows, the name in the first a link to its section of a page."""
    return [{key: f"[{row[key]}]({page}#{row[key]})" if key == columns[0] else row[key] for key in columns} for row in found]


def sections() -> str:
    """Everything the files of the encodings say, a section an encoding: docs/encodings.md."""
    return "\n\n".join(_section(anatomy.of(name)) for name in catalog.names("encodings"))


def _section(found: anatomy.Anatomy) -> str:
    """Heading, summary, docstring as it stands (formulas are laid out in it), then the facts as a list."""
    options = ", ".join(f"`{key}={value}`" for key, value in found.options.items()) or "none"
    facts = {
        "Paper": " ".join(filter(None, (found.paper, found.year and f"({found.year})"))) or "none",
        "Group": found.group,
        "Acts on": "; ".join(found.acts) + (f" (`{'`, `'.join(found.hooks)}`)" if found.hooks else ""),
        "Kernel": f"`{found.kernel}`",
        "Learned parameters": LEARNS[found.learns] + ("; one instance for all layers" if found.shared else ""),
        "Shift invariant": _yes(found.shift_invariant),
        "Attention": "causal only" if found.causal_only else "causal or in both directions",
        "Options": options,
        "Past the trained length": found.unseen,
    }
    about = f"```text\n{found.about}\n```\n\n" if found.about else ""
    return f"## {found.name}\n\n{found.summary}\n\n{about}" + "\n".join(f"- {key}: {value}" for key, value in facts.items())

"""Tables of what there is (encodings, tasks, recipes, recipe keys), read from the files themselves: for `rpe ls` and the docs."""

from typing import Any

from rich.table import Table

from rpecli import content, recipe


def rows(kind: str) -> list[dict[str, str]]:
    """A row a file of `kind`: encodings, tasks or recipes."""
    return [_ROW[kind](name) for name in content.names(kind)]


def _encoding(name: str) -> dict[str, str]:
    path = content.find("encodings", name)
    facts = content.facts(path)
    return {
        "encoding": name,
        "group": facts.get("group", "RPE"),
        "what it does": content.summary(path),
        "shift invariant": "no" if facts.get("shift_invariant") is False else "yes",
        "past the trained length": facts.get("unseen", "defined"),
        "paper": facts.get("paper", ""),
    }


def _task(name: str) -> dict[str, str]:
    path = content.find("tasks", name)
    defaults = content.facts(path).get("defaults", {})
    examples = content.facts(path).get("examples", ((None, ""),))
    return {"task": name, "what it asks": content.summary(path), "example": examples[0][1],
            "length": str(defaults.get("length", "")), "steps": str(defaults.get("steps", ""))}  # fmt: skip


def _recipe(name: str) -> dict[str, str]:
    made, _ = recipe.load(name)
    axes = {key: ", ".join(map(str, getattr(made, key))) for key in ("task", "encoding", "seed")}
    return {"recipe": name, "what it shows": content.summary(content.find("recipes", name)), **axes, "lengths": made.lengths,
            "runs": str(len(made.configs()))}  # fmt: skip


_ROW = {"encodings": _encoding, "tasks": _task, "recipes": _recipe}


def keys() -> list[dict[str, str]]:
    """A row a recipe key: what it is, its default."""
    fields = recipe.recipe_fields()
    return [{"key": key, "default": _default(field), "meaning": field.description or ""} for key, field in fields.items()]


def _default(field: Any) -> str:
    default = field.default
    return "none" if default is None else ",".join(map(str, default)) if isinstance(default, list) else str(default)


def rich_table(found: list[dict[str, str]]) -> Table:
    """Rows for a terminal."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for number, name in enumerate(found[0] if found else []):
        table.add_column(name, no_wrap=number == 0, overflow="fold")
    for row in found:
        table.add_row(*row.values())
    return table


def markdown(found: list[dict[str, str]]) -> str:
    """Rows for a page."""
    head = list(found[0])
    lines = [head, ["---"] * len(head), *(list(row.values()) for row in found)]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)

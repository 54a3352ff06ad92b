"""The flags of the commands: those that several share, and one for every recipe key, made from the schema."""

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from rpecli.config.recipe import recipe_fields
from rpecli.config.yaml_source import PER_TASK

NAMED = {"task": "tasks", "encoding": "encodings"}  # keys whose values are names to complete


def complete_names(kind: str) -> Any:
    """A completion function for the names of one kind, behind any comma."""

    def names(incomplete: str) -> list[str]:
        from rpecli import catalog

        before, comma, last = incomplete.rpartition(",")
        return [before + comma + name for name in catalog.names(kind) if name.startswith(last)]

    return names


def complete_runs(incomplete: str) -> list[str]:
    """The ids of the runs in `runs`."""
    from rpecli.run.directory import find_runs

    return [run.name for run in find_runs(Path("runs"))[0] if run.name.startswith(incomplete)]


Command = Callable[..., None]


def takes_recipe_keys(*only: str) -> Callable[[Command], Command]:
    """Gives a command a flag for every recipe key (`--lr 1e-3`), or some; the command gets those that were given as `given`.

    All but PER_TASK: a flag holds for every task, and for one task there is `--task`.
    """
    fields = {key: field for key, field in recipe_fields().items() if key != PER_TASK}
    return lambda function: _with_keys(function, {key: fields[key] for key in only or fields})


def _with_keys(function: Command, fields: dict[str, Any]) -> Command:
    own = [p for p in inspect.signature(function).parameters.values() if p.name != "given"]
    keys = {key: _key_option(key, field.description or "") for key, field in fields.items()}

    @functools.wraps(function)
    def command(**values: Any) -> None:
        given = {key: values.pop(key) for key in keys}
        function(given={key: value for key, value in given.items() if value is not None}, **values)

    added = [inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind) for key, kind in keys.items()]
    command.__signature__ = inspect.Signature([*own, *added])  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in (*own, *added)}
    return command


def _key_option(key: str, meaning: str) -> Any:
    complete = complete_names(NAMED[key]) if key in NAMED else None
    option = typer.Option(
        "--" + key.replace("_", "-"), metavar="VALUE", help=meaning, autocompletion=complete, rich_help_panel="Recipe keys"
    )
    return Annotated[str | None, option]


RecipeName = Annotated[
    str, typer.Argument(help="Recipe: a name (rpe ls recipes) or a path.", autocompletion=complete_names("recipes"))
]
MaybeRecipeName = Annotated[
    str | None, typer.Argument(help="Recipe: a name (rpe ls recipes) or a path.", autocompletion=complete_names("recipes"))
]
RunNames = Annotated[
    list[str] | None, typer.Argument(help="Runs: ids, paths or patterns; all unless given.", autocompletion=complete_runs)
]
Sets = Annotated[list[str] | None, typer.Option("--set", help="A recipe key as key=value, like its flag.")]
Runs = Annotated[Path, typer.Option("--runs", help="Folder of run directories.")]
Jobs = Annotated[
    int | None,
    typer.Option("--jobs", "-j", min=0, help="Runs at a time; as many as cores unless given; 0: one by one in this process."),
]
Stack = Annotated[
    str,
    typer.Option(
        metavar="auto|on|off|N",
        help="Train runs that differ only in seed as one batched program, at most N: auto does so on CUDA, where small models "
        "wait for launches, and not on a CPU, where processes are quicker.",
    ),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
Name = Annotated[str | None, typer.Option(help="Name of the report; the recipe's unless given.")]
Out = Annotated[Path, typer.Option(help="Folder of reports.")]
Json = Annotated[bool, typer.Option("--json", help="Data on stdout instead of a table.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Re-evaluate lengths that are already done.")]
Data = Annotated[Path | None, typer.Option(help="Strings from a dataset that `rpe data` wrote.")]
SwapEncoding = Annotated[
    str | None, typer.Option(help="Evaluate the trained models with another encoding: none, rope:scaling=yarn, rerope.")
]
RopeScaling = Annotated[str | None, typer.Option(help="Rope frequencies beyond training: pi, ntk, dynamic, yarn, llama3.")]

"""The flags that several commands share, and a flag for every recipe key, made from the schema."""

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from rpecli import trust
from rpecli.cli._exit import USAGE, stop
from rpecli.config.keys import RecipeKey, keys_set_by_tasks, recipe_keys
from rpecli.config.yaml_source import IN_FILES

COMPLETED = {"task": "tasks", "encoding": "encodings"}  # the keys whose values the shell completes, and their kinds


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


def takes_recipe_keys(*names: str) -> Callable[[Command], Command]:
    """Adds flags for recipe keys (`--lr 1e-3`); the command gets the values that were given as `overrides`.

    Without names there is a flag for every key except IN_FILES: a flag holds for every task, and `--task` chooses one. With
    names the command works on runs that exist, and their own recipes hold the defaults.
    """
    keys = [key for key in recipe_keys() if key.name not in IN_FILES and key.name in (names or [key.name])]
    defaults = {key.name: "as in the run's recipe" if names else _default(key) for key in keys}
    annotations = {key.name: Annotated[str | None, _key_option(key, defaults[key.name])] for key in keys}
    return lambda function: _collected(function, "overrides", annotations)


def takes_trust(function: Command) -> Command:
    """Adds `--trust-code` to a command that runs what a run directory holds."""
    annotation = Annotated[
        bool, typer.Option("--trust-code", help="Run encodings and tasks that came with somebody else's runs, unnamed by you.")
    ]
    flag = inspect.Parameter("trust_code", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=annotation)
    signature = inspect.signature(function)

    @functools.wraps(function)
    def command(*, trust_code: bool, **values: Any) -> None:
        if trust_code:
            trust.allow_all()
        function(**values)

    command.__signature__ = signature.replace(parameters=[*signature.parameters.values(), flag])  # type: ignore[attr-defined]
    command.__annotations__ = {**function.__annotations__, "trust_code": annotation}
    return command


FILTERS = {
    "task": "Only runs of these tasks: copy,suite:crasp.",
    "encoding": "Only runs of these encodings: rope,baselines.",
    "seed": "Only runs of these seeds: 0:3.",
}


def takes_filters(function: Command) -> Command:
    """Adds `--task`, `--encoding` and `--seed`, which choose among runs; the command gets those given as `filters`."""
    annotations = {name: Annotated[str | None, typer.Option(help=meaning)] for name, meaning in FILTERS.items()}
    return _collected(function, "filters", annotations)


def _default(key: RecipeKey) -> str:
    return f"{key.default}, or the task's default" if key.name in keys_set_by_tasks() else key.default


def _collected(function: Command, into: str, annotations: dict[str, Any]) -> Command:
    """Adds a flag for each of these; the command gets those that were given as a dictionary, its argument `into`."""
    parameters = [parameter for parameter in inspect.signature(function).parameters.values() if parameter.name != into]
    parameters += [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
                   for name, annotation in annotations.items()]  # fmt: skip

    @functools.wraps(function)
    def command(**values: Any) -> None:
        texts = {name: values.pop(name) for name in annotations}
        function(**{into: {name: text for name, text in texts.items() if text is not None}}, **values)

    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command


def _key_option(key: RecipeKey, default: str) -> Any:
    shown = f" [dim]\\[default: {default}][/dim]" if default else ""
    return typer.Option(
        "--" + key.name.replace("_", "-"),
        metavar=key.type,
        help=key.meaning.replace("[", "\\[") + shown,
        autocompletion=complete_names(COMPLETED[key.name]) if key.name in COMPLETED else None,
        rich_help_panel=key.group,
    )


_given: list[str] = []  # the options of this command line, by name


def set_given(names: list[str]) -> None:
    """Called once per command line, when it is parsed."""
    _given[:] = names


def given(*names: str) -> list[str]:
    """Those of these flags that are on the command line."""
    return [name for name in names if name in _given]


def refuse(names: list[str], why: str) -> None:
    """Stops where flags were given that the command would drop."""
    if names:
        stop(f"{' and '.join(names)}: {why}: remove {'it' if len(names) == 1 else 'them'}", USAGE)


def one_of(*names: str, why: str) -> None:
    """Stops where more than one of these flags was given."""
    if len(given(*names)) > 1:
        stop(f"{' and '.join(given(*names))} contradict each other, {why}: keep one", USAGE)


def one_output() -> None:
    one_of("--json", "--tables", why="each replaces the summary")


RECIPE_ARGUMENT = typer.Argument(help="Recipe: a name (rpe ls recipes) or a path.", autocompletion=complete_names("recipes"))
RecipeName = Annotated[str, RECIPE_ARGUMENT]
MaybeRecipeName = Annotated[str | None, RECIPE_ARGUMENT]
RunNames = Annotated[
    list[str] | None, typer.Argument(help="Runs: ids, paths or patterns; all runs by default.", autocompletion=complete_runs)
]
AddEncoding = Annotated[
    str | None,
    typer.Option(
        metavar="NAME,...",
        help="Encodings beside the others, such as ./mine.py.",
        autocompletion=complete_names("encodings"),
    ),
]
Sets = Annotated[list[str] | None, typer.Option("--set", help="A recipe key as key=value, like its flag.")]
Runs = Annotated[Path, typer.Option("--runs", help="Folder of run directories.")]
Jobs = Annotated[
    int | None,
    typer.Option("--jobs", "-j", min=0, help="Runs at a time, by default one per core; 0: one by one in this process."),
]
On = Annotated[
    str | None,
    typer.Option(
        metavar="PLACE",
        help="Run elsewhere: slurm, slurm:time=60,partition=gpu, or the address of a Dask scheduler, tcp://HOST:8786.",
    ),
]
Nproc = Annotated[
    int, typer.Option("--nproc", min=1, help="Processes per run, for one big model: each computes a share of every batch.")
]
Track = Annotated[
    str | None, typer.Option("--track", metavar="NAME,...", help="Send metrics to wandb, tensorboard or trackio, offline.")
]
Stack = Annotated[
    str,
    typer.Option(
        metavar="auto|on|off|N",
        help="Train runs that differ only in seed or learning rate as one batched program, at most N at a time. auto: on for "
        "CUDA, where small models wait for kernel launches; off for a CPU, where separate processes are faster.",
    ),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
Name = Annotated[str | None, typer.Option(help="Name of the report; by default that of the recipe.")]
Out = Annotated[Path, typer.Option(help="Folder of reports.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
Tables = Annotated[bool, typer.Option("--tables", help="Print every table below the summary.")]
WithReference = Annotated[bool, typer.Option("--with-reference", help="Count shipped reference results in tests and means.")]
NoReference = Annotated[bool, typer.Option("--no-reference", help="Show no shipped reference results.")]
State = Annotated[str | None, typer.Option(help="Only runs in these states: trained, failed.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Measure lengths again that are already done.")]
Data = Annotated[Path | None, typer.Option(help="Evaluation sets from a dataset that `rpe data` wrote.")]
SwapEncoding = Annotated[
    str | None, typer.Option(help="Evaluate the trained models with another encoding: none, rope:scaling=yarn, rerope.")
]
RopeScaling = Annotated[
    str | None, typer.Option(help="Scaling of RoPE frequencies beyond the training length: pi, ntk, dynamic, yarn, llama3.")
]

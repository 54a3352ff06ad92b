"""`rpe bench`: measures speed and memory, compared with plain attention and with other libraries."""

import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rpecli import catalog
from rpecli.choice import parse_choice, split_layers, split_list
from rpecli.cli import _flags as flags
from rpecli.cli._exit import USAGE, stop
from rpecli.cli._inputs import absolute_lengths, check_device, named_choice, require_writable, try_code
from rpecli.cli._output import print_rich, print_written
from rpecli.config.settings import MAX_THREADS
from rpecli.signals import Interrupted, Terminated

if TYPE_CHECKING:
    from rpecli.bench import Options

APPLIES = {"--lengths": ("attention", "eval"), "--sizes": ("train", "stack"), "--dtype": ("train",), "--run": ("eval",)}
LENGTHS_REMEDY = "multiples need a training length: write 2048:16384 or 512,2048"
EXAMPLES = """
Examples:
  # a short version of three benchmarks
  rpe bench

  rpe bench attention --encodings t5,alibi --lengths 2048:16384

  rpe bench train --sizes 64x2x4x64x128 --dtype float32
"""


def bench(
    what: Annotated[str | None, typer.Argument(help="attention, train, eval or stack; by default three in short.")] = None,
    encodings: Annotated[
        str | None, typer.Option(help="Encodings: rope,t5:buckets=16.", autocompletion=flags.complete_names("encodings"))
    ] = None,
    lengths: Annotated[str | None, typer.Option(help="Lengths: 2048:16384 or 512,2048.")] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Rounds; in each round, every case is timed once.")] = 5,
    threads: Annotated[int, typer.Option(min=1, max=MAX_THREADS, help="Number of torch threads.")] = 1,
    device: flags.Device = "cpu",
    sizes: Annotated[
        str | None, typer.Option(help="Models for `train`: width x layers x heads x length x batch, such as 64x2x4x64x128,...")
    ] = None,
    dtype: Annotated[str, typer.Option(help="Matmul dtypes for `train`.")] = "float32,bfloat16",
    trained: Annotated[
        Path | None, typer.Option("--run", help="A trained run for `eval`; without it, a small one is created.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder to write the tables to.")] = Path("results/bench"),
) -> None:
    """Measure speed and memory, compared with plain attention and with other installed libraries.

    The tables go to results/bench/.
    """
    from rpecli.bench import DEFAULT, MODULES, Options, parse_dtypes, parse_size
    from rpecli.trial.child import Trial

    if what is not None and what not in MODULES:
        stop(catalog.unknown("benchmark", what, list(MODULES)), USAGE)
    for flag, benchmarks in APPLIES.items():
        if what is not None and what not in benchmarks:
            flags.refuse(flags.given(flag), f"of use with {' and '.join(benchmarks)} only, not with {what}")
    check_device(device)
    require_writable("--out", out)
    if trained is not None:
        _check_run(trained)
    try:
        options = Options(
            encodings=_choices(encodings) if encodings else None,
            lengths=tuple(absolute_lengths("--lengths", lengths, LENGTHS_REMEDY)) if lengths else None,
            repeats=repeats,
            threads=threads,
            device=device,
            sizes=tuple(parse_size(part.strip()) for part in sizes.split(",")) if sizes else None,
            dtypes=parse_dtypes(dtype),
            run=trained,
            short=what is None,
        )
    except ValueError as error:
        stop(str(error), USAGE)
    _check_sizes(what, options)
    try_code(Trial("encodings", part, 64, 4, (64,)) for choice in options.encodings or () for part in split_layers(choice))
    for name in [what] if what else DEFAULT:
        _measure(name, options, out)


def _check_run(path: Path) -> None:
    from rpecli.run.directory import Run
    from rpecli.run.files import RunError

    try:
        Run(path).config  # noqa: B018 - what it raises
    except RunError as error:
        stop(f"--run: {error}", USAGE)


def _check_sizes(what: str | None, options: "Options") -> None:
    """Stops for what cannot fit in memory, before anything is measured."""
    from rpecli.bench import REFERENCE, attention, steps
    from rpecli.device import available_memory, memory_problem
    from rpecli.launch import sizes

    needed = {f"--lengths: {length}": attention.input_bytes(length) for length in options.lengths or () if what != "eval"}
    for size in options.sizes or ():
        needed[f"--sizes: {size}"] = sizes.training_bytes(steps.config_of(size, REFERENCE), size.length, vocabulary=0)
    for name, number in needed.items():
        if problem := memory_problem(number, available_memory()):
            stop(f"{name} {problem}: write a smaller one", USAGE)


def _choices(text: str) -> tuple[str, ...]:
    """`rope, t5:buckets=16` in canonical spelling. Raises ChoiceError for an unknown name."""
    choices = tuple(map(named_choice, split_list(text)))
    for choice in choices:
        catalog.find("encodings", parse_choice(choice)[0])
    return choices


def _measure(name: str, options: "Options", out: Path) -> None:
    """Runs one benchmark, prints its tables and writes them."""
    from rpecli import bench
    from rpecli.run.directory import Stopped

    try:
        result = bench.measure(name, options, lambda text: typer.echo(text, err=True))
    except Stopped as stopped:
        raise (Interrupted if stopped.signal == signal.SIGINT else Terminated) from None
    print_rich(result.tables, result.markdown())
    files = result.write(out)
    print_written(f"{files[0].with_suffix('')}.md, .csv and .json")

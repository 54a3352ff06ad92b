"""Benchmarks of attention, training and evaluation, beside plain attention and beside the other libraries that are installed."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from rpecli.config.recipe import Recipe, Settings

if TYPE_CHECKING:
    from rpecli.bench.result import Result

MODULES = {"attention": "attention", "train": "train", "eval": "evaluation", "stack": "stack"}  # by the name on the command line
DEFAULT = ("attention", "train", "eval")  # run, in short, if none is named
DTYPES = get_args(Settings.model_fields["dtype"].annotation)
TASK = Recipe.model_fields["task"].default[0]  # copy: half of a sequence is read and half is answered, at every length
REFERENCE = Recipe.model_fields["encoding"].default[0]  # the encoding that others are compared with
Log = Callable[[str], None]  # receives one line per case that is about to be measured


@dataclass(frozen=True)
class Options:
    """What to measure; None stands for the default of the benchmark."""

    encodings: tuple[str, ...] | None = None
    lengths: tuple[int, ...] | None = None
    repeats: int = 5
    threads: int = 1
    device: str = "cpu"
    sizes: tuple["Size", ...] | None = None
    dtypes: tuple[str, ...] = ("float32", "bfloat16")
    run: Path | None = None
    short: bool = False


@dataclass(frozen=True)
class Size:
    """A model and its batch; `length` is the number of tokens that the model reads per sequence."""

    width: int
    layers: int
    heads: int
    length: int
    batch: int

    def __str__(self) -> str:
        return f"{self.width}x{self.layers}x{self.heads}x{self.length}x{self.batch}"


def parse_size(text: str) -> Size:
    """`64x2x4x64x128`: width, layers, heads, length, batch. Raises ValueError that says what to type."""
    parts = text.split("x")
    if len(parts) != 5 or not all(part.isdigit() and int(part) for part in parts):
        raise ValueError(f"{text!r} is not a size: write width x layers x heads x length x batch, as in 64x2x4x64x128")
    size = Size(*map(int, parts))
    if size.width % (2 * size.heads):
        raise ValueError(f"{text!r}: width {size.width} cannot be split into {size.heads} heads of an even width")
    if size.length < 4 or size.length % 2:
        raise ValueError(f"{text!r}: length {size.length} must be an even number, 4 or more: half of it is copied")
    return size


def parse_dtypes(text: str) -> tuple[str, ...]:
    """`float32,bfloat16`. Raises ValueError that says what to type."""
    dtypes = tuple(part.strip() for part in text.split(","))
    if unknown := [dtype for dtype in dtypes if dtype not in DTYPES]:
        raise ValueError(f"unknown dtype {unknown[0]!r}: write {' or '.join(DTYPES)}")
    return dtypes


def measure(name: str, options: Options, log: Log) -> "Result":
    """Runs one benchmark."""
    result: Result = importlib.import_module(f"rpecli.bench.{MODULES[name]}").run(options, log)
    return result

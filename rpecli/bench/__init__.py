"""Benchmarks: attention, training and evaluation, beside plain attention as the limit and beside the peers that are installed."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from rpecli.config.recipe import Settings

if TYPE_CHECKING:
    from rpecli.bench.table import Result

BENCHES = {
    "attention": "attention",
    "train": "train",
    "eval": "evaluation",
    "stack": "stack",
}  # what the command calls them, and the module that runs them
IN_SHORT = ("attention", "train", "eval")  # what runs where none is named
DTYPES = get_args(Settings.model_fields["dtype"].annotation)


@dataclass(frozen=True)
class Options:
    """What the command was asked for; None where a benchmark has its own default."""

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
    """A model and its batch; `length` is the tokens the model reads of a sequence."""

    width: int
    layers: int
    heads: int
    length: int
    batch: int

    def __str__(self) -> str:
        return f"{self.width}x{self.layers}x{self.heads}x{self.length}x{self.batch}"


def size_of(text: str) -> Size:
    """`64x2x4x64x128`: width, layers, heads, length, batch. Raises ValueError that says what to type."""
    parts = text.split("x")
    if len(parts) != 5 or not all(part.isdigit() and int(part) for part in parts):
        raise ValueError(f"{text!r} is no size: write width x layers x heads x length x batch, as in 64x2x4x64x128")
    size = Size(*map(int, parts))
    if size.width % (2 * size.heads):
        raise ValueError(f"{text!r}: {size.width} does not give {size.heads} heads of an even width")
    if size.length < 4 or size.length % 2:
        raise ValueError(f"{text!r}: a length is an even number from 4 on, since the copied half has the length of the other")
    return size


def dtypes_of(text: str) -> tuple[str, ...]:
    """`float32,bfloat16`. Raises ValueError that says what to type."""
    found = tuple(part.strip() for part in text.split(","))
    if wrong := [part for part in found if part not in DTYPES]:
        raise ValueError(f"unknown dtype {wrong[0]!r}: write {' or '.join(DTYPES)}")
    return found


def measure(name: str, options: Options, say: Callable[[str], None]) -> "Result":
    """Runs one benchmark; `say` hears what it is at."""
    result: Result = importlib.import_module(f"rpecli.bench.{BENCHES[name]}").run(options, say)
    return result

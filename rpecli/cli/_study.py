"""What `rpe choose` is asked: a task, encodings to choose from, the training length, and the lengths that decide."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rpecli.choice import ESCAPES
from rpecli.cli._exit import USAGE, stop
from rpecli.cli._inputs import check_recipe, read_recipe
from rpecli.cli._output import say
from rpecli.config.ranges import parse_lengths
from rpecli.config.recipe import Config, Recipe, label
from rpecli.config.yaml_source import RecipeSource
from rpecli.run.directory import Run
from rpecli.titles import display

if TYPE_CHECKING:
    from rpecli.task import Task

BIG = 1_000_000  # a training length whose multiples tell the factors in a text
FEW_ROWS = 200  # of the user's data that a training length should have at least
WARMUP = 5  # the warm-up takes at most one in so many of the steps


@dataclass(frozen=True)
class Study:
    """One run per encoding and seed; `configs` are those of the first seed with the steps that were asked for."""

    configs: dict[str, Config]  # by encoding
    source: RecipeSource
    fixed_steps: bool  # whether the user gave them
    fixed_samples: bool
    runs: Path
    jobs: int | None
    device: str

    @property
    def config(self) -> Config:
        return next(iter(self.configs.values()))

    @property
    def lengths(self) -> list[int]:
        return parse_lengths(self.config.eval.lengths)

    @property
    def name(self) -> str:
        """Of the report: `choose-recall`, `choose-data-pairs.jsonl`."""
        words = re.sub(r"[^A-Za-z0-9.]+", "-", label(self.config.task).replace("path=", ""))
        return f"choose-{words[:60]}".strip("-.")

    @property
    def plan_file(self) -> Path:
        """Beside the runs; its name tells what was asked, apart from the time.

        Steps and samples that the user fixed are another plan than the same numbers by default, which may be cut.
        """
        facts = [*sorted(config.id for config in self.configs.values()), self.config.eval.model_dump_json(), self.device]
        facts += ["fixed steps"] * self.fixed_steps + ["fixed samples"] * self.fixed_samples
        return self.runs / f"choose-{hashlib.sha256(' '.join(facts).encode()).hexdigest()[:8]}.json"

    def config_of(self, encoding: str, seed: int, steps: int) -> Config:
        """The same with another seed and other steps, and a warm-up that fits into them."""
        config = self.configs[encoding]
        warmup = min(config.warmup, steps // WARMUP)
        return config.model_copy(update={"seed": seed, "steps": steps, "warmup": warmup})

    def titles(self, encodings: list[str]) -> str:
        return ", ".join(display("encodings", encoding) for encoding in encodings)

    def run_of(self, encoding: str, seed: int, steps: int) -> Run:
        return Run(self.runs / self.config_of(encoding, seed, steps).id)


def data_choice(text: str) -> str:
    """The task for `--data`: a path as it is, or followed by options: `pairs.csv:input=question:target=answer`."""
    path, *options = [text] if Path(text).expanduser().exists() else text.split(":")
    return ":".join([f"data:path={path.translate(ESCAPES)}", *options])


def read_study(
    overrides: dict[str, str], sets: list[str] | None, added: str | None, place: tuple[Path, int | None, str]
) -> Study:
    """The study of these flags; stops for what is wrong with them."""
    keys = dict(overrides)
    recipe, source = read_recipe(None, keys, sets, added)
    _require_one(recipe)
    _require_rows(recipe)
    built = _split_of(recipe, None)
    if built.problems() is not None and "length" not in keys:
        keys["length"] = str(_training_length(recipe))
        say(f"Training length: {keys['length']} (--length sets another).", err=True)
        recipe, source = read_recipe(None, dict(keys), None, added)
    config = recipe.configs()[0]
    keys["lengths"] = ",".join(map(str, _tested_lengths(_split_of(recipe, config.length), recipe, config.length)))
    recipe, source = read_recipe(None, dict(keys), None, added)
    check_recipe(recipe, source)
    configs = {config.encoding: config for config in recipe.configs()}
    return Study(configs, source, "steps" in keys, "samples" in keys, *place)


def _require_one(recipe: Recipe) -> None:
    """Stops unless there is one task, trained in one way."""
    for key, values in (("--task", recipe.task), ("--set positions", recipe.positions)):
        if len(values) > 1:
            stop(f"{key} {','.join(map(label, map(str, values)))}: rpe choose looks at one: keep one", USAGE)
    if recipe.seed != [0]:
        stop("--set seed: rpe choose takes seeds from 0 on, as many as there is time for: remove it (--seeds is the most)", USAGE)
    if recipe.lr_search:
        stop("--set lr_search: rpe choose trains with one learning rate: write lr, or use rpe run", USAGE)
    if len({config.encoding for config in recipe.configs()}) < 2:
        stop("--encoding: there is nothing to choose between: write two or more", USAGE)


def _require_rows(recipe: Recipe) -> None:
    """Stops where rows of the user's are too few to train on some and test on others."""
    from rpecli import data, task

    trained_to = recipe.length if "length" in recipe.model_fields_set else None
    if problem := data.missing_part(task.build(recipe.task[0]), trained_to):
        stop(f"{label(recipe.task[0])}: {problem}", USAGE)


def _split_of(recipe: Recipe, trained_to: int | None, name: str = "test") -> "Task":
    from rpecli import task

    return task.build(recipe.task[0]).split(name, trained_to)


def _training_length(recipe: Recipe) -> int:
    """Of own data: the longest of which the data have the asked multiples, if it has rows enough; else a longer one.

    That is at most half of the longest, also if it has few rows: longer rows are what decides.
    """
    text = recipe.lengths
    if "x" not in text:
        return parse_lengths(text)[0]
    whole = _split_of(recipe, None)
    longest = whole.longest() or 1
    first = whole.nearest_length(max(1, longest * BIG // parse_lengths(text, BIG)[-1]))
    lengths = [length for length in range(first, max(first, longest // 2) + 1) if whole.has_length(length)]
    enough = (n for n in lengths if (_split_of(recipe, n, "train").problems(n) or 0) >= FEW_ROWS)
    return next(enough, lengths[-1])


def _tested_lengths(test: "Task", recipe: Recipe, trained_to: int) -> list[int]:
    """The lengths asked for; in place of one that there is no problem of, the nearest below that is there."""
    asked = parse_lengths(recipe.lengths, trained_to)
    nearest = {length: length if test.has_length(length) else test.nearest_length(length) for length in asked}
    moved = {length: other for length, other in nearest.items() if length != other}
    lengths = sorted({*nearest.values()} | ({trained_to} if test.has_length(trained_to) else set()))
    if moved:
        say(f"There are no problems of length {_list(moved)}: tested at {_list(lengths)}.", err=True)
    if lengths[-1] <= trained_to:
        say(f"There is nothing longer than {trained_to} to test with: encodings are judged at the training length.", err=True)
    return lengths


def _list(lengths: "dict[int, int] | list[int]") -> str:
    return ", ".join(map(str, lengths))

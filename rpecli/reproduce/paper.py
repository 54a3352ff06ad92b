"""A paper's published numbers as data: `recipes/papers/NAME.yaml`, one line a cell.

A cell is one setting of the paper (task, arm, size) with its published values, one list per seed and one value per bin: of
lengths, or of lengths and other options of the task, as test sets that are sparser than training. The keys of its runs are those
of the paper's protocol, then of its task, its arm, its size and its own; narrower ones win. A cell is named
TASK/ARM/LAYERS/HEADS/WIDTH, and `variant` is added where two would have one name.
"""

import math
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, FiniteFloat, ValidationError

from rpecli import catalog, trust
from rpecli.choice import ChoiceError, canonical, is_path
from rpecli.config.recipe import Config, Recipe
from rpecli.config.settings import EvalSettings, TaskChoice
from rpecli.run.files import reason

SAMPLES = 32  # strings of every length of a bin
RANGES = {"perplexity": (1.0, math.inf)}  # of values; others are shares
NOT_OF_A_CELL = {
    "lr_search": "a published protocol has one learning rate: write lr",
    "seed": "seeds are 0, 1, ... (rpe reproduce --seeds): remove it",
}


class PaperError(ValueError):
    """A file of a paper that cannot be used: what is wrong, and where."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _size(text: Any) -> dict[str, int]:
    """`2/1/64` -> layers, heads and width."""
    if isinstance(text, dict):
        return text
    parts = str(text).split("/")
    if len(parts) != 3 or not all(part.isdigit() for part in parts):
        raise ValueError("a size is LAYERS/HEADS/WIDTH, as 2/1/64")
    return dict(zip(("n_layer", "n_head", "d_model"), map(int, parts), strict=True))


class Bin(_Strict):
    """What one value is the mean over: the lengths from first to last, of the trained task or of one with other options."""

    lengths: tuple[int, int]
    task: TaskChoice | None = Field(None, description="The task with the options of this test set; without it, the trained one.")
    label: str = ""

    @property
    def name(self) -> str:
        return self.label or "[{},{}]".format(*self.lengths)


def _bin(value: Any) -> Any:
    """`[1, 50]` -> a bin of these lengths."""
    return {"lengths": value} if isinstance(value, list) else value


class Cell(_Strict):
    """One setting, with what was published for it."""

    task: str
    arm: str
    size: Annotated[dict[str, int], BeforeValidator(_size)]
    seeds: list[list[FiniteFloat]] = Field(min_length=1, description="Published values: one list per seed, one value per bin.")
    file: str = Field(description="Where the values stand in the source.")
    variant: str = ""
    keys: dict[str, Any] = {}
    keep: Literal["all", "perfect"] = Field(
        "all", description="Seeds that count, here as in the paper: perfect means those that got every validation string right."
    )
    note: str = ""

    @property
    def name(self) -> str:
        return "/".join(filter(None, [self.task, self.arm, *map(str, self.size.values()), self.variant]))

    def published(self, number: int) -> list[float]:
        """The values of one bin, one per seed."""
        return [values[number] for values in self.seeds]


class Paper(_Strict):
    """A paper: where its numbers come from, how its runs are made, and its cells."""

    title: str
    source: str = Field(description="Where the numbers stand: repository and commit, or the table of the paper.")
    summary: str
    bins: list[Annotated[Bin, BeforeValidator(_bin)]] = Field(
        min_length=1, description="[first, last] length of each, or lengths, task and label; the first is in distribution."
    )
    measure: Literal["exact_match_eos", "token_accuracy", "perplexity"] = Field(
        "exact_match_eos", description="What the values are: strings right, end token included, tokens right, or perplexity."
    )
    compare: Literal["values", "order"] = Field(
        "values", description="Whether values are to agree, or, at another size, the order of the arms of a task alone."
    )
    protocol: dict[str, Any] = {}
    tasks: dict[str, dict[str, Any]]
    arms: dict[str, dict[str, Any]]
    deviations: list[str] = Field([], description="Where our runs differ from the paper's.")
    defects: list[str] = Field([], description="What is wrong or untold in the paper's numbers.")
    cells: list[Cell]

    @cached_property
    def by_name(self) -> dict[str, Cell]:
        return {cell.name: cell for cell in self.cells}

    @property
    def best_is_least(self) -> bool:
        return self.measure == "perplexity"

    @property
    def bin_names(self) -> list[str]:
        return [part.name for part in self.bins]

    def configs(self, cell: Cell, n_seeds: int) -> list[Config]:
        """The runs of a cell, of seeds 0, 1, ..."""
        keys = {**self.protocol, **self.tasks[cell.task], **self.arms[cell.arm], **cell.size, **cell.keys}
        recipe = Recipe(**{"lengths": self._lengths(None), "samples": SAMPLES, **keys, "seed": list(range(n_seeds))})
        return recipe.configs()

    def evaluations(self, config: Config) -> list[EvalSettings]:
        """What a run is evaluated on: the lengths of the trained task, then those of each other test set."""
        others = dict.fromkeys(part.task for part in self.bins if part.task)
        return [config.eval, *(config.eval.model_copy(update={"eval_task": t, "lengths": self._lengths(t)}) for t in others)]

    def _lengths(self, task: str | None) -> str:
        return ",".join("{}:{}:1".format(*part.lengths) for part in self.bins if part.task == task)


def names() -> list[str]:
    """The papers that ship."""
    return sorted(path.stem for path in _folder().glob("*.yaml"))


def load(name: str) -> Paper:
    """A paper that ships, or a file of the same form. Raises PaperError for an unknown name or a wrong file."""
    path = Path(name).expanduser() if is_path(name) else _folder() / f"{name}.yaml"
    if not path.is_file():
        raise PaperError(f"there is no file {name}" if is_path(name) else catalog.unknown("paper", name, names()))
    try:
        paper = Paper.model_validate(_read(path))
    except ValidationError as error:
        raise PaperError(f"{path}: {_first(error)}") from None
    _name_files(paper, path)
    _check(paper, path)
    return paper


class _Loader(yaml.SafeLoader):
    """Refuses a key that is given twice, of which YAML would take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        first: dict[str, int] = {}
        for key, _ in node.value:
            name = str(key.value)
            if name in first:
                message = f"{name} is given twice (first in line {first[name]}): keep one"
                raise yaml.constructor.ConstructorError(None, None, message, key.start_mark)
            first[name] = key.start_mark.line + 1
        return super().construct_mapping(node, deep)


def _read(path: Path) -> dict[str, Any]:
    """What a file holds. Raises PaperError where it is not the YAML of a paper."""
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise PaperError(f"{path}: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise PaperError(f"{path}: is nested too deeply") from None
    except OSError as error:
        raise PaperError(f"{path} cannot be read: {reason(error)}") from None
    if not isinstance(content, dict):
        needed = ", ".join(name for name, field in Paper.model_fields.items() if field.is_required())
        raise PaperError(f"{path}: is no paper: a file has the keys {needed}, as those in recipes/papers")
    return content


def _folder() -> Path:
    return catalog.folder("recipes") / catalog.PAPERS


def _name_files(paper: Paper, path: Path) -> None:
    """Makes the paths of the user's tasks and encodings relative to the paper's file, and lets them run: the user named it."""
    for keys in (paper.protocol, *paper.tasks.values(), *paper.arms.values(), *(cell.keys for cell in paper.cells)):
        for kind in keys.keys() & {"task", "encoding"}:
            try:
                keys[kind] = canonical(str(keys[kind]), path.parent)
            except ChoiceError as error:
                raise PaperError(f"{path}: {kind}: {error}") from None
            trust.allow([keys[kind]])


def _check(paper: Paper, path: Path) -> None:
    """Raises PaperError for what no type can say."""
    if len(paper.by_name) < len(paper.cells):
        twice = sorted({cell.name for cell in paper.cells if [other.name for other in paper.cells].count(cell.name) > 1})
        raise PaperError(f"{path}: two cells are named {twice[0]}: tell them apart with variant")
    if paper.bins[0].task:
        raise PaperError(f"{path}: bins: the first is in distribution, so that its task is the trained one: leave task out there")
    for part in paper.bins:
        if not 1 <= part.lengths[0] <= part.lengths[1]:
            raise PaperError(f"{path}: bins: {part.name}: write the first length, from 1 on, and then the last")
    if paper.measure == "perplexity" and paper.compare != "order":
        raise PaperError(f"{path}: measure: a perplexity is of one text and vocabulary: write compare: order")
    every = (paper.protocol, *paper.tasks.values(), *paper.arms.values(), *(cell.keys for cell in paper.cells))
    for key, why in NOT_OF_A_CELL.items():
        if any(key in keys for keys in every):
            raise PaperError(f"{path}: {key}: {why}")
    for cell in paper.cells:
        for key, known in (("task", paper.tasks), ("arm", paper.arms)):
            if getattr(cell, key) not in known:
                raise PaperError(f"{path}: cell {cell.name}: {catalog.unknown(key, getattr(cell, key), list(known))}")
        if any(len(values) != len(paper.bins) for values in cell.seeds):
            raise PaperError(f"{path}: cell {cell.name}: every seed has {len(paper.bins)} values, one per bin")
        low, high = RANGES.get(paper.measure, (0.0, 1.0))
        if wrong := [value for values in cell.seeds for value in values if not low <= value <= high]:
            raise PaperError(f"{path}: cell {cell.name}: {wrong[0]:g}: a value of {paper.measure} is from {low:g} to {high:g}")
        try:
            configs = paper.configs(cell, 1)
        except ValidationError as error:
            raise PaperError(f"{path}: cell {cell.name}: {_first(error)}") from None
        except ChoiceError as error:
            raise PaperError(f"{path}: cell {cell.name}: {error}") from None
        if len(configs) != 1:
            raise PaperError(
                f"{path}: cell {cell.name}: its keys name {len(configs)} runs: a cell is one, so write a cell for each"
            )


def _first(error: ValidationError) -> str:
    problem = error.errors()[0]
    return f"{'.'.join(map(str, problem['loc']))}: {problem['msg'].removeprefix('Value error, ')}"

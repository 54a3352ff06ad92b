"""A paper's published numbers as data: `recipes/papers/NAME.yaml`, one line a cell.

A cell is one setting of the paper (task, arm, size) with its published values, one list per seed and one value per bin: of
lengths, or of lengths and other options of the task, as test sets that are sparser than training. The keys of its runs are those
of the paper's protocol, then of its task, its arm, its size and its own; narrower ones win. A cell is named
TASK/ARM/LAYERS/HEADS/WIDTH, and `variant` is added where two would have one name.
"""

from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, FiniteFloat, ValidationError

from rpecli import catalog, trust
from rpecli import task as tasks
from rpecli.choice import ChoiceError, canonical, is_path
from rpecli.config.recipe import Config, Recipe
from rpecli.config.settings import EvalSettings, TaskChoice
from rpecli.reproduce import checks
from rpecli.run.files import reason

SAMPLES = 32  # strings of every length of a bin


class PaperError(ValueError):
    """A file of a paper that cannot be used: what is wrong, and where."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _size(text: Any) -> dict[str, int]:
    """`2/1/64` -> layers, heads and width."""
    if isinstance(text, dict):
        return text
    parts = str(text).split("/")
    if len(parts) != 3 or not all(part.isdecimal() for part in parts):
        raise ValueError("a size is LAYERS/HEADS/WIDTH, as 2/1/64")
    return dict(zip(("n_layer", "n_head", "d_model"), map(int, parts), strict=True))


def _number(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError(f"{str(value).lower()} is not a number")
    return value


Whole = Annotated[int, BeforeValidator(_number)]
Value = Annotated[FiniteFloat, BeforeValidator(_number)]


class Bin(_Strict):
    """What one value is the mean over: the lengths from first to last, of the trained task or of one with other options."""

    lengths: tuple[Whole, Whole]
    step: Whole = Field(1, ge=1, description="Every length from first to last, or one in so many.")
    task: TaskChoice | None = Field(None, description="The task with the options of this test set; without it, the trained one.")
    label: str = ""

    @property
    def name(self) -> str:
        return self.label or "[{},{}]".format(*self.lengths)

    def lengths_of(self, config: Config) -> list[int]:
        """The lengths that a run is evaluated at for this bin: those of them that the task has."""
        task = tasks.build(self.task or config.task).split("test", config.length)
        return list(filter(task.has_length, range(self.lengths[0], self.lengths[1] + 1, self.step)))


def _bin(value: Any) -> Any:
    """`[1, 50]` -> a bin of these lengths."""
    return {"lengths": value} if isinstance(value, list) else value


class Cell(_Strict):
    """One setting, with what was published for it."""

    task: str
    arm: str
    size: Annotated[dict[str, Whole], BeforeValidator(_size)]
    seeds: list[list[Value]] = Field(min_length=1, description="Published values: one list per seed, one value per bin.")
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
        min_length=1,
        description="[first, last] length of each, or lengths, step, task and label; the first is of the trained task.",
    )
    measure: Literal["exact_match_eos", "token_accuracy", "perplexity"] = Field(
        "exact_match_eos", description="What the values are: strings right, end token included, tokens right, or perplexity."
    )
    compare: Literal["values", "order"] = Field(
        "values", description="Whether values are to agree, or, at another size, the order of the arms of a task alone."
    )
    protocol: dict[str, Any] = {}
    tasks: dict[str, dict[str, Any]] = Field(min_length=1)
    arms: dict[str, dict[str, Any]] = Field(min_length=1)
    deviations: list[str] = Field([], description="Where our runs differ from the paper's.")
    defects: list[str] = Field([], description="What is wrong or untold in the paper's numbers.")
    findings: list[str] = Field([], description="What our runs show of where they differ, with the numbers it rests on.")
    cells: list[Cell] = Field(min_length=1)

    @cached_property
    def by_name(self) -> dict[str, Cell]:
        return {cell.name: cell for cell in self.cells}

    @property
    def best_is_least(self) -> bool:
        return self.measure == "perplexity"

    @property
    def bin_names(self) -> list[str]:
        return [part.name for part in self.bins]

    def keys(self, cell: Cell) -> dict[str, Any]:
        """The recipe keys of a cell, but for those that its bins and seeds decide."""
        return {**self.protocol, **self.tasks[cell.task], **self.arms[cell.arm], **cell.size, **cell.keys}

    def configs(self, cell: Cell, n_seeds: int) -> list[Config]:
        """The runs of a cell, of seeds 0, 1, ..."""
        decided = {"lengths": self._lengths(None), "seed": list(range(n_seeds))}
        return Recipe(**{"samples": SAMPLES, **self.keys(cell), **decided}).configs()

    def evaluations(self, config: Config) -> list[EvalSettings]:
        """What a run is evaluated on: the lengths of the trained task, then those of each other test set."""
        others = dict.fromkeys(part.task for part in self.bins if part.task)
        return [config.eval, *(config.eval.model_copy(update={"eval_task": t, "lengths": self._lengths(t)}) for t in others)]

    def _lengths(self, task: str | None) -> str:
        return ",".join("{}:{}:{}".format(*part.lengths, part.step) for part in self.bins if part.task == task)


def names() -> list[str]:
    """The papers that ship."""
    return sorted(path.stem for path in _folder().glob("*.yaml"))


def _unknown(name: str) -> str:
    own = catalog.own_file(name, ".yaml")
    return f"unknown paper {name!r}: did you mean {own}?" if own else catalog.unknown("paper", name, names())


def load(name: str) -> Paper:
    """A paper that ships, or a file of the same form. Raises PaperError for an unknown name or a wrong file."""
    path = Path(name).expanduser() if is_path(name) else _folder() / f"{name}.yaml"
    if not path.is_file():
        raise PaperError(f"there is no file {name}" if is_path(name) else _unknown(name))
    try:
        paper = Paper.model_validate(_read(path))
    except ValidationError as error:
        raise PaperError(f"{path}: {checks.first_of(error, Paper, {'bins': Bin, 'cells': Cell})}") from None
    _name_files(paper, path)
    for problem in checks.problems(paper):
        raise PaperError(f"{path}: {problem}")
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
    except yaml.YAMLError as error:
        raise PaperError(_yaml_problem(path, error)) from None
    except UnicodeDecodeError:
        raise PaperError(f"{path}: not YAML: it is no text in UTF-8") from None
    except RecursionError:
        raise PaperError(f"{path}: is nested too deeply") from None
    except OSError as error:
        raise PaperError(f"{path} cannot be read: {reason(error)}") from None
    if not isinstance(content, dict):
        needed = ", ".join(name for name, field in Paper.model_fields.items() if field.is_required())
        raise PaperError(f"{path}: is no paper: a file has the keys {needed}, as those in recipes/papers")
    return content


def _yaml_problem(path: Path, error: yaml.YAMLError) -> str:
    """`mine.yaml:3: not YAML: ...`"""
    mark = getattr(error, "problem_mark", None)
    kind = "" if isinstance(error, yaml.constructor.ConstructorError) else "not YAML: "
    problem = getattr(error, "problem", None) or str(error).partition("\n")[0]
    return f"{path}{f':{mark.line + 1}' if mark else ''}: {kind}{problem}"


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

"""A recipe: what to train and evaluate, as strict YAML with flags on top; every error at once, with file, line, key and remedy.

Precedence: defaults (of the schema, then of the task) < recipe < flags. YAML scalars are read as plain text and typed by the
schema, so `lengths: 16:32` stays text (YAML 1.1 would make it 992), `lr: 1e-3` is a number and `no` is not false.
"""

import hashlib
import itertools
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from rpecli import content

FORMAT = 1  # part of a run's identity; goes up when the same recipe would train something else
Positions = Literal["start", "offset", "randomized"]


@dataclass(frozen=True)
class Problem:
    """One thing wrong, where it stands (`file:line` or `--flag`), under which key, and what to type instead."""

    where: str
    key: str
    text: str

    def __str__(self) -> str:
        return ": ".join(part for part in (self.where, self.key, self.text) if part)


class RecipeError(ValueError):
    """Everything wrong with a recipe, in the order of the file."""

    def __init__(self, problems: Iterable[Problem]):
        self.problems = list(problems)
        super().__init__("\n".join(map(str, self.problems)))


# ---------------------------------------------------------------------------------------------------------------- lengths


def parse_lengths(text: str, train_length: int = 1) -> list[int]:
    """`512:4096` doubles, `16:64:16` adds, `16,32` lists, `1x,4x` (or `1x:4x`) are multiples of the training length.

    Returns whole lengths, ascending, each once. Raises ValueError with what to write instead.
    """
    found: set[int] = set()
    for part in str(text).split(","):
        found.update(_part_lengths(part.strip(), train_length))
    return sorted(found)


def _part_lengths(part: str, train_length: int) -> list[int]:
    bounds = part.split(":")
    if not part or len(bounds) > 3:
        raise ValueError(f"{part!r} is no length: write 16,32 or 512:4096 (doubling) or 16:64:16 (adding) or 1x,2x")
    numbers = [_one_length(bound.strip(), train_length, part) for bound in bounds]
    if len(numbers) == 1:
        return numbers
    first, last = numbers[:2]
    if last < first:
        raise ValueError(f"{part!r} descends: write {bounds[1]}:{bounds[0]}")
    if len(numbers) == 3:
        return list(range(first, last + 1, numbers[2]))
    return list(itertools.takewhile(lambda n: n <= last, (first * 2**k for k in itertools.count())))


def _one_length(text: str, train_length: int, part: str) -> int:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)x|(\d+)", text)
    if not match:
        raise ValueError(f"{part!r}: {text!r} is no length: write a whole number, or a multiple of the training length as 2x")
    value = round(float(match[1]) * train_length) if match[1] else int(match[2])
    if value < 1:
        raise ValueError(f"{part!r}: lengths start at 1: write {part.replace(text, '1', 1)}")
    return value


def parse_seeds(text: str) -> list[int]:
    """`3` is one seed, `0,4` lists, `0:3` is 0, 1, 2."""
    seeds: list[int] = []
    for part in str(text).split(","):
        match = re.fullmatch(r"\s*(\d+)(?::(\d+))?\s*", part)
        if not match:
            raise ValueError(f"{part!r} is no seed: write 3, or 0,4, or 0:3 for 0, 1, 2")
        first = int(match[1])
        last = int(match[2]) if match[2] else first + 1
        if last <= first:
            raise ValueError(f"{part!r} holds no seed: the end is not included; write 0:3 for 0, 1, 2")
        seeds.extend(range(first, last))
    return list(dict.fromkeys(seeds))


# ----------------------------------------------------------------------------------------------------------------- schema


def _items(value: Any) -> list[str]:
    parts = value if isinstance(value, list) else str(value).split(",")
    return [str(part).strip() for part in parts]


def _choices(kind: str) -> Any:
    def check(value: Any) -> list[str]:
        found = [content.canonical(item) for item in _items(value)]
        for item in found:
            content.find(kind, content.parse_choice(item)[0])
        return list(dict.fromkeys(found))

    return Annotated[list[str], BeforeValidator(check), Field(min_length=1)]


def _seeds(value: Any) -> list[int]:
    return parse_seeds(",".join(_items(value)))


def _lengths(value: Any) -> str:
    text = ",".join(_items(value))
    parse_lengths(text)
    return text


class Settings(BaseModel):
    """The keys that one run has and a recipe shares among its runs."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    length: int = Field(16, ge=1, description="training length: problems of 1..length are trained on")
    min_length: int = Field(1, ge=1, description="shortest problem trained on")
    steps: int = Field(1000, ge=1, description="training steps")
    curriculum: float = Field(0.0, ge=0, le=1, description="share of the steps over which the longest length grows to length")
    tokens: int = Field(1024, ge=1, description="tokens in a batch; a batch holds sequences of one length")
    lr: float = Field(6e-3, gt=0, description="peak learning rate (AdamW)")
    warmup: int = Field(100, ge=0, description="steps of linear warm-up")
    lr_end: float = Field(0.05, ge=0, le=1, description="share of lr left at the end of the cosine")
    weight_decay: float = Field(0.0, ge=0, description="AdamW weight decay")
    beta1: float = Field(0.9, ge=0, lt=1, description="AdamW beta1")
    beta2: float = Field(0.98, ge=0, lt=1, description="AdamW beta2")
    clip: float = Field(1.0, gt=0, description="largest gradient norm")
    d_model: int = Field(64, ge=1, description="width")
    n_layer: int = Field(2, ge=1, description="layers")
    n_head: int = Field(4, ge=1, description="heads; must divide d_model")
    mlp_ratio: int = Field(4, ge=1, description="width of the MLP over d_model")
    dtype: Literal["float32", "bfloat16"] = Field("float32", description="of the linear layers' products in training")
    data_seed: int | None = Field(None, ge=0, description="seed of the training data; the run's seed unless given")
    max_position: int = Field(512, ge=1, description="positions offset and randomized draw from 0..max_position-1")
    validate_every: int = Field(50, ge=1, description="steps between validations (training lengths only)")
    stop_at: float | None = Field(None, gt=0, le=1, description="stop early at this validation exact match")
    lengths: Annotated[str, BeforeValidator(_lengths)] = Field("1x,2x,4x,8x", description="lengths evaluated by default")
    samples: int = Field(256, ge=1, description="evaluation sequences a length")
    eval_tokens: int = Field(131072, ge=1, description="tokens a length at most: fewer sequences when long, never under 32")
    eval_seed: int = Field(0, ge=0, description="seed of the evaluation sets, the same strings for every run")


NOT_IDENTITY = {"lengths", "samples", "eval_tokens", "eval_seed"}  # these change what is measured, not what is trained
Task = _choices("tasks")
Encoding = _choices("encodings")


def _positions(value: Any) -> list[str]:
    known = list(get_args(Positions))
    for item in _items(value):
        if item not in known:
            raise ValueError(f"unknown positions {item!r}: {content.nearest(item, known)}")
    return list(dict.fromkeys(_items(value)))


class Recipe(Settings):
    """An experiment: every task x encoding x positions x seed is a run."""

    task: Task = Field(["copy", "sort", "parity", "recall"], description="tasks, as NAME or NAME:option=value")
    encoding: Encoding = Field(["rope"], description="encodings, as NAME or NAME:option=value")
    positions: Annotated[list[Positions], BeforeValidator(_positions)] = Field(
        ["start"], min_length=1, description="where positions start in training: start (at 0), offset (random), randomized"
    )
    seed: Annotated[list[int], BeforeValidator(_seeds)] = Field(
        [0], min_length=1, description="seeds: 3, or 0,4, or 0:3 for 0, 1, 2"
    )

    def configs(self) -> list["Config"]:
        """One Config a run, the task's own defaults below what the recipe sets."""
        given = {k: getattr(self, k) for k in self.model_fields_set if k in Settings.model_fields}
        grid = itertools.product(self.task, self.encoding, self.positions, self.seed)
        return [
            Config(**{**task_defaults(task), **given}, task=task, encoding=encoding, positions=positions, seed=seed)
            for task, encoding, positions, seed in grid
        ]


class Config(Settings):
    """One run, fully resolved: what `recipe.yaml` in a run directory holds."""

    task: str
    encoding: str
    positions: Positions = "start"
    seed: int = 0

    @property
    def identity(self) -> dict[str, Any]:
        """What decides the weights: every key but those of the evaluation, and the content of the user's own files."""
        keys = self.model_dump(exclude=NOT_IDENTITY | ({"max_position"} if self.positions == "start" else set()))
        for kind, key in (("tasks", "task"), ("encodings", "encoding")):
            name = content.parse_choice(keys[key])[0]
            if content.is_path(name):
                keys[key] = keys[key].replace(name, content.fingerprint(content.find(kind, name)), 1)
        return {"format": FORMAT, **keys}

    @property
    def id(self) -> str:
        """`copy-rope-s1-<8 hex digits of the identity>`: the same recipe is the same directory."""
        digits = hashlib.sha256(json.dumps(self.identity, sort_keys=True).encode()).hexdigest()[:8]
        parts = [label(self.task), label(self.encoding), *([self.positions] if self.positions != "start" else [])]
        return re.sub(r"[^A-Za-z0-9.]+", "-", "-".join(parts)) + f"-s{self.seed}-{digits}"

    def to_yaml(self) -> str:
        return yaml.safe_dump(self.model_dump(exclude_none=True), sort_keys=False)


def label(choice: str) -> str:
    """How tables name a choice: a user's file by its stem, options kept."""
    name, colon, options = choice.partition(":")
    return (content.name_of(Path(name)) if content.is_path(name) else name) + colon + options


def task_defaults(task: str) -> dict[str, Any]:
    """The `defaults` a task's file gives for recipe keys (its training length and steps)."""
    return content.facts(content.find("tasks", content.parse_choice(task)[0])).get("defaults", {})


# ---------------------------------------------------------------------------------------------------------------- loading


@dataclass
class Source:
    """Where a recipe came from: its name, and where each key stands, for messages."""

    name: str = "default"
    where: dict[str, str] = field(default_factory=dict)


def load(recipe: str | None = None, flags: dict[str, str] | None = None) -> tuple[Recipe, Source]:
    """The recipe of a name or path (None: the defaults) with `flags` on top. Raises RecipeError with every problem."""
    source, values, problems = Source(), {}, []
    if recipe is not None:
        path = _find(recipe)
        source.name = content.name_of(path) if path.stem != "recipe" else path.parent.name
        values, source.where, problems = _read_yaml(path)
    for key, value in (flags or {}).items():
        key = key.replace("-", "_")
        values[key], source.where[key] = value, f"--{key.replace('_', '-')}"
    try:
        made = Recipe(**values)
        problems += [Problem(source.where.get(k, ""), k, text) for k, text in _cross_checks(made)]
    except ValidationError as error:
        problems += [_explain(item, source.where) for item in error.errors()]
    if problems:
        raise RecipeError(problems)
    return made, source


def _find(recipe: str) -> Path:
    try:
        return content.find("recipes", recipe)
    except content.ContentError as error:
        raise RecipeError([Problem("", "", str(error))]) from None


def _read_yaml(path: Path) -> tuple[dict[str, Any], dict[str, str], list[Problem]]:
    """Keys to plain text, keys to `file:line`, and what the file itself gets wrong (syntax, repeated keys)."""
    try:
        root = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise RecipeError([Problem(f"{path}{line}", "", f"not YAML: {getattr(error, 'problem', None) or error}")]) from None
    if root is None:
        return {}, {}, []
    if not isinstance(root, yaml.MappingNode):
        raise RecipeError([Problem(f"{path}:1", "", "a recipe is lines of `key: value`")])
    values: dict[str, Any] = {}
    where: dict[str, str] = {}
    problems = []
    for key_node, value_node in root.value:
        key, here = str(key_node.value), f"{path}:{key_node.start_mark.line + 1}"
        if key in values:
            problems.append(Problem(here, key, f"stands twice (first at {where[key]}): keep one"))
            continue
        where[key] = here
        values[key] = _plain(value_node)
        if isinstance(values[key], dict):
            problems.append(Problem(here, key, "takes a value or a list, not keys of its own; options go as NAME:option=value"))
            del values[key]
    return values, where, problems


def _plain(node: yaml.Node) -> Any:
    if isinstance(node, yaml.SequenceNode):
        return [_plain(item) for item in node.value]
    if isinstance(node, yaml.MappingNode):
        return {}
    text = str(node.value)
    return None if node.style is None and text in ("", "null", "~") else text


ARTICLES = {"int": "a whole number", "float": "a number", "bool": "true or false"}


def _explain(error: Any, where: dict[str, str]) -> Problem:
    """One of pydantic's errors in the words of the user's file."""
    key, kind, given = str(error["loc"][0]), error["type"], error["input"]
    place = where.get(key, "")
    known = sorted(Recipe.model_fields)
    if kind == "extra_forbidden":
        return Problem(place, key, f"unknown key: {content.nearest(key, known)}  (rpe check --keys)")
    if kind == "value_error":
        return Problem(place, key, str(error["ctx"]["error"]))
    if kind in ("int_parsing", "float_parsing", "int_from_float", "int_type", "float_type"):
        default = Recipe.model_fields[key].default
        number = "a whole number" if kind.startswith("int") else "a number"
        return Problem(place, key, f"{given!r} is not {number}: write for example {1 if default is None else default}")
    return Problem(place, key, f"{given!r}: {error['msg'][0].lower()}{error['msg'][1:]}")


def _cross_checks(recipe: Recipe) -> list[tuple[str, str]]:
    found = []
    if recipe.d_model % recipe.n_head:
        near = max(recipe.n_head, recipe.d_model - recipe.d_model % recipe.n_head)
        found.append(("d_model", f"{recipe.d_model} is not divisible by n_head={recipe.n_head}: write d_model: {near}"))
    for config in recipe.configs():
        if config.min_length > config.length:
            found.append(("min_length", f"{config.min_length} is above the training length {config.length} of {config.task}"))
            break
    return found

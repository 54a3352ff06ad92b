"""A recipe: what to train and evaluate, as strict YAML with flags on top; every error at once, with file, line, key and remedy.

Precedence: defaults (of the schema, then of the task) < recipe < flags. YAML scalars are read as plain text and typed by the
schema, so `lengths: 16:32` stays text (YAML 1.1 would make it 992), `lr: 1e-3` is a number and `no` is not false.
"""

import hashlib
import itertools
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from rpecli import content
from rpecli.grammar import bounds_of, parse_lengths, parse_seeds

FORMAT = 2  # part of a run's identity; goes up when a default or the code changes what the same recipe trains
Positions = Literal["start", "offset", "randomized", "coupled"]


@dataclass(frozen=True)
class Problem:
    """One thing wrong, where it stands (`file:line` or `--flag`), under which key, and what to type instead."""

    where: str
    key: str
    text: str

    def __str__(self) -> str:
        key = "" if self.where.startswith("--") else self.key
        return ": ".join(part for part in (self.where, key, self.text) if part)


class RecipeError(ValueError):
    """Everything wrong with a recipe, in the order of the file."""

    def __init__(self, problems: Iterable[Problem]):
        self.problems = list(problems)
        super().__init__("\n".join(map(str, self.problems)))


# ----------------------------------------------------------------------------------------------------------------- schema


def _items(value: Any) -> list[str]:
    if value in (None, "", []):
        raise ValueError("is empty: write a value, or leave the line out")
    parts = value if isinstance(value, list) else str(value).split(",")
    return [str(part).strip() for part in parts]


def _choices(kind: str) -> Callable[[Any], list[str]]:
    def check(value: Any) -> list[str]:
        found, wrong = [], []
        for item in _items(value):
            try:
                found.append(content.canonical(item))
                for part in content.parts("+".join(filter(None, content.phases(item)))):
                    content.find(kind, content.parse_choice(part)[0])
            except content.ContentError as error:
                wrong.append(str(error))
        if wrong:
            raise ValueError("; ".join(wrong))
        return list(dict.fromkeys(found))

    return check


def _seeds(value: Any) -> list[int]:
    return parse_seeds(",".join(_items(value)))


def _lengths(value: Any) -> str:
    """What can be said before the training length is known; `_cross_checks` says the rest."""
    text = ",".join(_items(value))
    for part in text.split(","):
        if "x" in part:
            bounds_of(part.strip())
        else:
            parse_lengths(part)
    return text


Whole = Annotated[int, Field(lt=10**9)]  # nine digits: more is a slip, and past 64 bits torch and numpy fall over


class Settings(BaseModel):
    """The keys that one run has and a recipe shares among its runs."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    length: Whole = Field(16, ge=1, description="training length: problems of 1..length are trained on")
    min_length: Whole = Field(1, ge=1, description="shortest problem trained on")
    steps: Whole = Field(1000, ge=1, description="training steps")
    curriculum: float = Field(0.0, ge=0, le=1, description="share of the steps over which the longest length grows to length")
    tokens: Whole = Field(1024, ge=1, description="tokens in a batch; a batch holds sequences of one length")
    lr: float = Field(6e-3, gt=0, description="peak learning rate (AdamW)")
    warmup: Whole = Field(100, ge=0, description="steps of linear warm-up")
    lr_end: float = Field(0.05, ge=0, le=1, description="share of lr left at the end of the cosine")
    weight_decay: float = Field(0.0, ge=0, description="AdamW weight decay")
    beta1: float = Field(0.9, ge=0, lt=1, description="AdamW beta1")
    beta2: float = Field(0.98, ge=0, lt=1, description="AdamW beta2")
    clip: float = Field(1.0, gt=0, description="largest gradient norm")
    d_model: Whole = Field(64, ge=1, description="width")
    n_layer: Whole = Field(2, ge=1, description="layers")
    n_head: Whole = Field(4, ge=1, description="heads; must divide d_model")
    mlp_ratio: Whole = Field(4, ge=1, description="width of the MLP over d_model")
    attention: Literal["causal", "bidirectional"] = Field("causal", description="decoder, or encoder with answers left blank")
    normalizer: Literal["softmax", "stick-breaking"] = Field("softmax", description="what turns scores into weights")
    logit_scale: Literal["none", "logn", "ssmax"] = Field("none", description="factor on queries that grows with the keys seen")
    switch_at: float = Field(0.8, gt=0, lt=1, description="share of the steps after which rope:then=none becomes none (DroPE)")
    dtype: Literal["float32", "bfloat16"] = Field("float32", description="of matrix products in training")
    data_seed: Whole | None = Field(None, ge=0, description="seed of the training data; the run's seed unless given")
    max_position: Whole = Field(512, ge=1, description="positions offset and randomized draw from 0..max_position-1")
    positions_per: Literal["batch", "layer"] = Field("batch", description="draw randomized positions once, or for each layer")
    eval_positions: Literal["same", "start", "randomized"] = Field("same", description="positions in evaluation")
    validate_every: Whole = Field(50, ge=1, description="steps between validations (training lengths only)")
    stop_at: float | None = Field(None, gt=0, le=1, description="stop early at this validation exact match")
    lengths: Annotated[str, BeforeValidator(_lengths)] = Field("1x,2x,4x,8x", description="lengths evaluated by default")
    samples: Whole = Field(256, ge=1, description="evaluation sequences a length")
    eval_tokens: Whole = Field(131072, ge=1, description="tokens a length at most: fewer sequences when long, never under 32")
    eval_seed: Whole = Field(0, ge=0, description="seed of the evaluation sets, the same strings for every run")


NOT_IDENTITY = {
    "lengths",
    "samples",
    "eval_tokens",
    "eval_seed",
    "eval_positions",
}  # these change what is measured, not what is trained


def _positions(value: Any) -> list[str]:
    known = list(get_args(Positions))
    for item in _items(value):
        if item not in known:
            raise ValueError(f"unknown positions {item!r}: {content.nearest(item, known)}")
    return list(dict.fromkeys(_items(value)))


class Recipe(Settings):
    """An experiment: every task x encoding x positions x seed is a run."""

    task: Annotated[list[str], BeforeValidator(_choices("tasks"))] = Field(
        ["copy", "sort", "parity", "recall"], min_length=1, description="tasks, as NAME or NAME:option=value"
    )
    encoding: Annotated[list[str], BeforeValidator(_choices("encodings"))] = Field(
        ["rope"], min_length=1, description="encodings, as NAME or NAME:option=value"
    )
    positions: Annotated[list[Positions], BeforeValidator(_positions)] = Field(
        ["start"],
        min_length=1,
        description="positions in training: start (0, 1, ...), offset (random start), randomized, coupled (the task's)",
    )
    seed: Annotated[list[int], BeforeValidator(_seeds)] = Field(
        [0], min_length=1, description="seeds: 3, or 0,4, or 0:3 for 0, 1, 2"
    )

    def configs(self) -> list["Config"]:
        """One Config a run, the task's own defaults below what the recipe sets."""
        given = {k: getattr(self, k) for k in self.model_fields_set if k in Settings.model_fields}
        grid: Iterable[tuple[str, str, Positions, int]] = itertools.product(self.task, self.encoding, self.positions, self.seed)
        return [
            Config(**{**task_defaults(task), **given}, task=task, encoding=encoding, positions=positions, seed=seed)
            for task, encoding, positions, seed in grid
        ]


def recipe_fields() -> dict[str, Any]:
    """Every recipe key with its schema field, the four axes of an experiment first."""
    fields = Recipe.model_fields
    return {key: fields[key] for key in sorted(fields, key=lambda key: key in Settings.model_fields)}


class Config(Settings):
    """One run, fully resolved: what `recipe.yaml` in a run directory holds."""

    task: str
    encoding: str
    positions: Positions = "start"
    seed: int = 0

    @property
    def identity(self) -> dict[str, Any]:
        """What decides the weights: every key but those of the evaluation, and the content of the user's own files."""
        idle = {"max_position"} if self.positions == "start" else set()
        idle |= {"positions_per"} if self.positions != "randomized" else set()
        idle |= {"switch_at"} if content.phases(self.encoding)[1] is None else set()
        keys = self.model_dump(exclude=NOT_IDENTITY | idle)
        for kind, key in (("tasks", "task"), ("encodings", "encoding")):
            for name in (content.parse_choice(part)[0] for part in content.parts(keys[key])):
                if content.is_path(name):
                    keys[key] = keys[key].replace(name, content.fingerprint(content.find(kind, name)), 1)
        return {"format": FORMAT, **keys}

    @property
    def id(self) -> str:
        """`copy-rope-s1-<8 hex digits of the identity>`: the same recipe is the same directory.

        Keys at their defaults do not count, so a new key leaves the runs that do not use it where they are.
        """
        plain = {key: field.default for key, field in Settings.model_fields.items()}
        counts = {key: value for key, value in self.identity.items() if key not in plain or value != plain[key]}
        digits = hashlib.sha256(json.dumps(counts, sort_keys=True).encode()).hexdigest()[:8]
        parts = [label(self.task), label(self.encoding), *([self.positions] if self.positions != "start" else [])]
        words = re.sub(r"[^A-Za-z0-9.]+", "-", "-".join(parts)).strip("-.")  # no hidden directory, no option of a command
        return f"{words[:100]}-s{self.seed}-{digits}"  # file systems take 255 bytes

    def to_yaml(self) -> str:
        """Every key, null ones too: an absent key would take the task's default when it is read again."""
        keys = self.model_dump()
        keys |= {key: [keys[key]] for key in ("task", "encoding") if "," in keys[key]}
        return yaml.safe_dump(keys, sort_keys=False, allow_unicode=True)


def label(choice: str) -> str:
    """How tables name a choice: a user's file by its stem, options kept."""
    return "+".join(_label(part) for part in content.parts(choice))


def _label(choice: str) -> str:
    name, colon, options = choice.partition(":")
    return (content.name_of(Path(name)) if content.is_path(name) else name) + colon + options


def task_defaults(task: str) -> dict[str, Any]:
    """The `defaults` a task's file gives for recipe keys (its training length and steps). Raises ContentError."""
    path = content.find("tasks", content.parse_choice(task)[0])
    defaults = content.facts(path).get("defaults", {})
    try:
        Settings.model_validate(defaults)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, item['loc'])) or 'it'}: {item['msg'].lower()}" for item in error.errors())
        raise content.ContentError(f"{path}: `defaults` takes keys of a recipe: {wrong}") from None
    return defaults


# ---------------------------------------------------------------------------------------------------------------- loading


@dataclass
class Source:
    """Where a recipe came from: its name, and where each key stands, for messages."""

    name: str = "default"
    where: dict[str, str] = field(default_factory=dict)


def load(recipe: str | None = None, flags: dict[str, str] | None = None) -> tuple[Recipe, Source]:
    """The recipe of a name or path (None: the defaults) with `flags` on top. Raises RecipeError with every problem."""
    source, values, problems = Source(), dict[str, Any](), list[Problem]()
    if recipe is not None:
        path = _find(recipe)
        source.name = content.name_of(path) if path.stem != "recipe" else path.parent.name
        values, source.where, problems = _read_yaml(path)
    for key, value in (flags or {}).items():
        key = key.replace("-", "_")
        values[key], source.where[key] = value, f"--{key.replace('_', '-')}"
    made, wrong = _validate(values)
    problems += [_explain(item, source.where) for item in wrong]
    bad = {str(item["loc"][0]) for item in wrong}
    for keys, text in _cross_checks(made):
        if not bad & set(keys):
            key = next((key for key in keys if key in source.where), keys[0])
            problems.append(Problem(source.where.get(key, ""), key, text))
    if problems:
        raise RecipeError(sorted(problems, key=_line))
    return made, source


def _validate(values: dict[str, Any]) -> tuple[Recipe, list[Any]]:
    """A recipe of the keys that are right, and pydantic's errors about the others."""
    try:
        return Recipe(**values), []
    except ValidationError as error:
        bad = {item["loc"][0] for item in error.errors()}
        return Recipe(**{key: value for key, value in values.items() if key not in bad}), error.errors()


def _line(problem: Problem) -> int:
    """The file's problems in its order, then those of flags."""
    line = problem.where.rpartition(":")[2]
    return int(line) if line.isdigit() else sys.maxsize


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
        reason = getattr(error, "problem", None) or str(error).partition("\n")[0]
        raise RecipeError([Problem(f"{path}{line}", "", f"not YAML: {reason}")]) from None
    if root is None:
        return {}, {}, []
    if not isinstance(root, yaml.MappingNode):
        raise RecipeError([Problem(f"{path}:1", "", "a recipe is lines of `key: value`")])
    values: dict[str, Any] = {}
    where: dict[str, str] = {}
    problems: list[Problem] = []
    for key_node, value_node in root.value:
        here = f"{path}:{key_node.start_mark.line + 1}"
        if not isinstance(key_node, yaml.ScalarNode):
            problems.append(Problem(here, "", "a recipe is lines of `key: value`, and a key is one word"))
            continue
        key = str(key_node.value)
        if key in where:
            problems.append(Problem(here, key, f"stands twice (first at {where[key]}): keep one"))
            continue
        where[key] = here
        if isinstance(value_node, yaml.ScalarNode):
            values[key] = _plain(value_node)
        elif all(isinstance(item, yaml.ScalarNode) for item in value_node.value):
            values[key] = [str(item.value) for item in value_node.value]
        else:
            problems.append(Problem(here, key, "takes a value or a list of values, no more; options go as NAME:option=value"))
    return values, where, problems


def _plain(node: yaml.ScalarNode) -> str | None:
    text = str(node.value)
    return None if not node.style and text in ("", "null", "~") else text


def _explain(error: Any, where: dict[str, str]) -> Problem:
    """One of pydantic's errors in the words of the user's file."""
    key, kind, given = str(error["loc"][0]), error["type"], error["input"]
    place = where.get(key, "")
    known = sorted(Recipe.model_fields)
    if kind == "extra_forbidden":
        return Problem(place, key, f"unknown key: {content.nearest(key, known)}  (rpe check --keys)")
    if given is None:
        return Problem(place, key, "is empty: write a value, or leave the line out")
    if kind == "value_error":
        return Problem(place, key, str(error["ctx"]["error"]))
    if kind in ("int_parsing", "float_parsing", "int_from_float", "int_type", "float_type"):
        default = Recipe.model_fields[key].default
        number = "a whole number" if kind.startswith("int") else "a number"
        return Problem(place, key, f"{given!r} is not {number}: write for example {1 if default is None else default}")
    return Problem(place, key, f"{given!r:.60}: {error['msg'][0].lower()}{error['msg'][1:]}")


def _cross_checks(recipe: Recipe) -> Iterator[tuple[tuple[str, ...], str]]:
    """What only several keys together can get wrong: the keys (the one to change first) and what to write instead."""
    if recipe.d_model % recipe.n_head:
        near = 2 * recipe.n_head * max(1, round(recipe.d_model / (2 * recipe.n_head)))  # even heads: rotations need pairs
        text = f"d_model={recipe.d_model} is not divisible by n_head={recipe.n_head}: d_model={near} is"
        yield ("d_model", "n_head"), text
    if recipe.normalizer == "stick-breaking" and recipe.attention != "causal":
        yield ("normalizer", "attention"), "stick-breaking goes back from the newest token: write attention: causal"
    try:
        configs = recipe.configs()
    except content.ContentError as error:
        yield ("task",), str(error)
        return
    for config in {config.length: config for config in reversed(configs)}.values():
        if config.min_length > config.length:
            text = f"{config.min_length} is above the training length {config.length} of {config.task}"
            yield ("min_length", "length", "task"), f"min_length={text}: lower it, or raise length"
        try:
            parse_lengths(config.lengths, config.length)
        except ValueError as error:
            yield ("lengths", "length", "task"), f"{error}  ({config.task} trains on length {config.length})"

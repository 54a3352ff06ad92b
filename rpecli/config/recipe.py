"""A recipe: what to train and evaluate, as strict YAML with flags on top; every error at once, with file, line, key and remedy.

Precedence: defaults (of the schema, then of the task) < what the recipe says for all tasks < what it says `by_task` < flags. The
narrower word wins within a file, or nothing could be said of one task beside a key for all; a flag is typed for this command
alone and holds for every task. YAML scalars are read as plain text and typed by the schema, so `lengths: 16:32` stays text
(YAML 1.1 would make it 992), `lr: 1e-3` is a number and `no` is not false.
"""

import hashlib
import itertools
import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from rpecli import catalog
from rpecli.choice import ChoiceError, canonical, is_path, parse_choice, split_layers, split_switch
from rpecli.config.ranges import bounds_of, parse_lengths, parse_seeds

FORMAT = 2  # part of a run's identity; goes up when a default or the code changes what the same recipe trains
Positions = Literal["start", "offset", "randomized", "coupled"]


def _items(value: Any) -> list[str]:
    if value in (None, "", []):
        raise ValueError("is empty: write a value, or leave the line out")
    parts = value if isinstance(value, list) else str(value).split(",")
    return [str(part).strip() for part in parts]


def _choice(kind: str, text: str) -> str:
    """A choice in its one spelling, every name in it that of a file. Raises ChoiceError."""
    for part in split_layers("+".join(filter(None, split_switch(text)))):
        catalog.find(kind, parse_choice(part)[0])
    return canonical(text)


def _choices(kind: str) -> Callable[[Any], list[str]]:
    def check(value: Any) -> list[str]:
        found, wrong = [], []
        for item in _items(value):
            try:
                found.append(_choice(kind, item))
            except ChoiceError as error:
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


STRICT = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class EvalSettings(BaseModel):
    """How a run is evaluated; none of these keys changes what is trained, so a run's identity leaves them out."""

    model_config = STRICT

    lengths: Annotated[str, BeforeValidator(_lengths)] = Field("1x,2x,4x,8x", description="lengths evaluated by default")
    samples: Whole = Field(256, ge=1, description="evaluation sequences per length")
    eval_tokens: Whole = Field(131072, ge=1, description="tokens per length at most: fewer sequences when long, at least 32")
    eval_seed: Whole = Field(0, ge=0, description="seed of the evaluation sets, which are the same for every run")
    eval_positions: Literal["same", "start", "randomized"] = Field("same", description="positions in evaluation")


class TrainSettings(BaseModel):
    """How a run is trained."""

    model_config = STRICT

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
    switch_fraction: float = Field(
        0.8, gt=0, lt=1, description="share of the steps after which rope:then=none becomes none (DroPE)"
    )
    dtype: Literal["float32", "bfloat16"] = Field("float32", description="of matrix products in training")
    data_seed: Whole | None = Field(None, ge=0, description="seed of the training data; the run's seed unless given")
    max_position: Whole = Field(512, ge=1, description="positions offset and randomized draw from 0..max_position-1")
    positions_per: Literal["batch", "layer"] = Field("batch", description="draw randomized positions once, or for each layer")
    validate_every: Whole = Field(50, ge=1, description="steps between validations (training lengths only)")
    stop_at: float | None = Field(None, gt=0, le=1, description="stop early at this validation exact match")


class Settings(EvalSettings, TrainSettings):
    """The keys that a recipe shares among its runs, flat as in its file: training first, then evaluation."""


def _positions(value: Any) -> list[str]:
    known = list(get_args(Positions))
    for item in _items(value):
        if item not in known:
            raise ValueError(f"unknown positions {item!r}: {catalog.nearest(item, known)}")
    return list(dict.fromkeys(_items(value)))


OneTask = Annotated[str, BeforeValidator(lambda text: _choice("tasks", text))]


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

    by_task: dict[OneTask, Settings] = Field(
        {}, description="settings of single tasks, in a recipe file: by_task: {NAME: {steps: 500}}; above the keys for all"
    )

    def settings(self, task: str) -> dict[str, Any]:
        """What is set for a task: its own defaults < the keys for all < `by_task` of its name < `by_task` of the very choice."""
        found = task_defaults(task) | {key: getattr(self, key) for key in self.model_fields_set & Settings.model_fields.keys()}
        for choice in (parse_choice(task)[0], task):
            if choice in self.by_task:
                found |= self.by_task[choice].model_dump(exclude_unset=True)
        return found

    def configs(self) -> list["Config"]:
        """One Config a run."""
        settings = {task: self.settings(task) for task in self.task}
        grid: Iterable[tuple[str, str, Positions, int]] = itertools.product(self.task, self.encoding, self.positions, self.seed)
        return [
            Config.from_keys(**settings[task], task=task, encoding=encoding, positions=positions, seed=seed)
            for task, encoding, positions, seed in grid
        ]


def recipe_fields() -> dict[str, Any]:
    """Every recipe key with its schema field, those of the whole experiment first."""
    fields = Recipe.model_fields
    return {key: fields[key] for key in sorted(fields, key=lambda key: key in Settings.model_fields)}


class Config(TrainSettings):
    """One run, fully resolved: what `recipe.yaml` in a run directory holds."""

    task: str
    encoding: str
    positions: Positions = "start"
    seed: int = 0
    eval: EvalSettings = EvalSettings()

    @classmethod
    def from_keys(cls, **keys: Any) -> "Config":
        """A config of the flat keys of a recipe: `Config.from_keys(task="copy", encoding="rope", lr=1e-3, samples=64)`."""
        evaluation = {key: keys.pop(key) for key in EvalSettings.model_fields if key in keys}
        return cls(**keys, eval=EvalSettings(**evaluation))

    def to_keys(self) -> dict[str, Any]:
        """Every key of the config, flat as in a recipe: the inverse of `from_keys`."""
        return self.model_dump(exclude={"eval"}) | self.eval.model_dump()

    @property
    def identity(self) -> dict[str, Any]:
        """What decides the weights: every key but those of the evaluation, and the content of the user's own files."""
        idle = {"max_position"} if self.positions == "start" else set()
        idle |= {"positions_per"} if self.positions != "randomized" else set()
        idle |= {"switch_fraction"} if split_switch(self.encoding)[1] is None else set()
        keys = self.model_dump(exclude={"eval"} | idle)
        for kind, key in (("tasks", "task"), ("encodings", "encoding")):
            for name in (parse_choice(part)[0] for part in split_layers(keys[key])):
                if is_path(name):
                    keys[key] = keys[key].replace(name, catalog.fingerprint(catalog.find(kind, name)), 1)
        return {"format": FORMAT, **keys}

    @property
    def id(self) -> str:
        """`copy-rope-s1-<8 hex digits of the identity>`: the same recipe is the same directory.

        Keys at their defaults do not count, so a new key leaves the runs that do not use it where they are.
        """
        plain = {key: field.default for key, field in TrainSettings.model_fields.items()}
        counts = {key: value for key, value in self.identity.items() if key not in plain or value != plain[key]}
        digits = hashlib.sha256(json.dumps(counts, sort_keys=True).encode()).hexdigest()[:8]
        parts = [label(self.task), label(self.encoding), *([self.positions] if self.positions != "start" else [])]
        words = re.sub(r"[^A-Za-z0-9.]+", "-", "-".join(parts)).strip("-.")  # no hidden directory, no option of a command
        return f"{words[:100]}-s{self.seed}-{digits}"  # file systems take 255 bytes

    def to_yaml(self) -> str:
        """Every key, null ones too: an absent key would take the task's default when it is read again."""
        keys = self.to_keys()
        keys |= {key: [keys[key]] for key in ("task", "encoding") if "," in keys[key]}
        return yaml.safe_dump(keys, sort_keys=False, allow_unicode=True)


def label(choice: str) -> str:
    """How tables name a choice: a user's file by its stem, options kept."""
    return "+".join(_label(part) for part in split_layers(choice))


def _label(choice: str) -> str:
    name, colon, options = choice.partition(":")
    return (catalog.name_of(Path(name)) if is_path(name) else name) + colon + options


def task_defaults(task: str) -> dict[str, Any]:
    """The `defaults` a task's file gives for recipe keys (its training length and steps). Raises ChoiceError."""
    path = catalog.find("tasks", parse_choice(task)[0])
    defaults = catalog.class_constants(path).get("defaults", {})
    try:
        Settings.model_validate(defaults)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, item['loc'])) or 'it'}: {item['msg'].lower()}" for item in error.errors())
        raise ChoiceError(f"{path}: `defaults` takes keys of a recipe: {wrong}") from None
    return defaults

"""A recipe and the runs that it stands for, each with an id that says what it trains.

Precedence: defaults of the schema < defaults of the task < keys of the recipe < its `by_task` < flags. Within a file the narrower
key wins; a flag is given for one command and holds for every task. YAML scalars are read as plain text and typed by the schema,
so `lengths: 16:32` stays text (YAML 1.1 would make it 992), `lr: 1e-3` is a number and `no` is not false.
"""

import hashlib
import itertools
import json
import re
from functools import lru_cache, partial
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BeforeValidator, Field, ValidationError

from rpecli import catalog
from rpecli.choice import (
    ChoiceError,
    canonical,
    data_in,
    map_data,
    map_paths,
    parse_choice,
    paths_in,
    relative_to,
    split_switch,
    without_options,
)
from rpecli.config import sweep
from rpecli.config.exclusions import Exclusion, parse_exclusions
from rpecli.config.ranges import parse_lengths
from rpecli.config.settings import (
    EncodingChoice,
    EncodingChoices,
    EvalSettings,
    Positions,
    PositionsList,
    Rates,
    Seeds,
    Settings,
    TaskChoice,
    TaskChoices,
    TrainSettings,
    checked,
)
from rpecli.config.sweep import Point
from rpecli.titles import own_name

FORMAT = 3  # part of a run's identity; goes up when a default or the code changes what the same recipe trains


def _axes(value: Any) -> dict[str, sweep.Axis]:
    if not isinstance(value, dict):
        raise ValueError(f"{value!r:.60}: write keys with lists of values: vary: {{lr: [1e-3, 3e-3]}}")
    return dict(zip(value, checked(lambda axis: sweep.parse_axis(*axis), value.items()), strict=True))


Axes = Annotated[dict[str, sweep.Axis], BeforeValidator(_axes)]
Exclusions = Annotated[list[Exclusion], BeforeValidator(parse_exclusions)]


class Recipe(Settings):
    """An experiment: one run for every combination of task, encoding, positions and seed."""

    task: TaskChoices = Field(
        ["copy", "sort", "parity", "recall"], min_length=1, description="Tasks: NAME, NAME:option=value or ./mine.py."
    )
    encoding: EncodingChoices = Field(
        ["rope"],
        min_length=1,
        description="Encodings: NAME, NAME:option=value or ./mine.py; rope+none alternates over layers; "
        "baselines stands for seven that ship.",
    )
    positions: PositionsList = Field(
        ["start"],
        min_length=1,
        description="Positions in training: start (from 0), offset (random start), randomized, coupled (set by the task).",
    )
    seed: Seeds = Field([0], min_length=1, description="Seeds: 3 or 0,4 or 0:3 for 0, 1, 2.")

    vary: Axes = Field(
        {},
        description="More keys that vary, every combination; in a file: vary: {lr: [1e-3, 3e-3], d_model/n_head: [64/4, 128/8]}.",
    )
    exclude: Exclusions = Field(
        [], description="Combinations that are left out; in a file: exclude: [encoding=learned and positions=randomized]."
    )
    lr_search: Rates = Field(
        [], description="Learning rates to choose from, for each task and encoding, by validation on the training lengths alone."
    )
    lr_search_seed: Seeds = Field(
        [1000], min_length=1, description="Seeds of the runs that lr_search compares; they are not reported."
    )
    by_task: dict[TaskChoice, Settings] = Field(
        {}, description="Settings of single tasks, above the keys for all; in a file: by_task: {NAME: {steps: 500}}."
    )
    by_encoding: dict[EncodingChoice, Settings] = Field(
        {}, description="Settings of single encodings, above by_task; in a file: by_encoding: {NAME: {lr: 1e-3}}."
    )

    def settings(self, defaults: dict[str, Any], task: str, encoding: str, point: Point) -> dict[str, Any]:
        """The settings of a task's runs with an encoding, at a point of what varies; `defaults` are its `task_defaults`.

        Its defaults < keys of the recipe < the point < `by_task` of its name < `by_task` of name and options < `by_encoding`.
        """
        own_keys = {key: getattr(self, key) for key in self.model_fields_set & Settings.model_fields.keys()}
        settings = defaults | own_keys | point
        for choices, own in ((task, self.by_task), (encoding, self.by_encoding)):
            for choice in (without_options(choices), choices):
                if choice in own:
                    settings |= own[choice].model_dump(exclude_unset=True)
        return settings

    def trials(self) -> list["Config"]:
        """The runs that `lr_search` compares: the recipe with each of its rates, and with other seeds.

        `exclude` is about the runs that are reported: what has one of them, with whatever seed, is searched.
        """
        if not self.lr_search:
            return []
        rates: sweep.Axis = [{"lr": rate} for rate in self.lr_search]
        keys = {"vary": {**self.vary, "lr": rates}, "seed": self.lr_search_seed, "exclude": []}
        reported = {config.searched_together for config in self.configs()}
        return [trial for trial in self.model_copy(update=keys).configs() if trial.searched_together in reported]

    def configs(self) -> list["Config"]:
        """One Config per run; where the learning rate is searched, with the rate that the recipe has without the search."""
        defaults = {task: task_defaults(task) for task in self.task}  # once a task: their files are looked for
        grid = itertools.product(self.task, self.encoding, self.positions, sweep.points(self.vary), self.seed)
        configs = dict.fromkeys(
            Config.from_keys(
                **self.settings(defaults[task], task, encoding, point),
                task=task,
                encoding=encoding,
                positions=positions,
                seed=seed,
            )
            for task, encoding, positions, point, seed in grid
        )  # each once: where by_encoding sets what varies, its points are one
        if not self.exclude:
            return list(configs)
        return [config for config in configs if not self.is_excluded(config.to_keys())]

    @property
    def unused_keys(self) -> dict[str, str]:
        """The keys that decide nothing in the training of any run, `exclude` aside, each with what it is of use with."""
        unused = [config.unused_keys for config in self.model_copy(update={"exclude": [], "seed": self.seed[:1]}).configs()]
        return {key: use for key, use in unused[0].items() if all(key in keys for keys in unused)}

    @property
    def unread_keys(self) -> dict[str, str]:
        """Those of `unused_keys` that decide nothing in evaluation either."""
        drawn = self.eval_positions == "randomized"
        return {key: use for key, use in self.unused_keys.items() if not (drawn and key == "max_position")}

    def is_excluded(self, keys: dict[str, Any]) -> bool:
        """Whether a line of `exclude` leaves out the run with these keys."""
        return any(line.leaves_out(keys) for line in self.exclude)


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
    def evaluated_task(self) -> str:
        """The task of the evaluation: the trained one, unless `eval_task` names another."""
        return self.eval.eval_task or self.task

    @property
    def choosing_lengths(self) -> list[int]:
        """The problem lengths that choose the weights that are kept, ascending; none where the last step decides."""
        return parse_lengths(self.checkpoint_lengths, self.length) if self.checkpoint_lengths else []

    @property
    def searched_together(self) -> "Config":
        """What runs share whose learning rate is searched together: all but the rate, the seed and the evaluation."""
        return self.model_copy(update={"lr": 1.0, "seed": 0, "eval": EvalSettings()})

    @property
    def unused_keys(self) -> dict[str, str]:
        """The keys that decide nothing in training, each with what it is of use with."""
        unused = {} if self.positions != "start" else {"max_position": "positions offset, randomized or coupled"}
        unused |= {} if self.positions == "randomized" else {"positions_per": "positions randomized"}
        unused |= {"tokens": "batches that are counted in tokens, not in sequences"} if self.batch else {}
        scaled = dict.fromkeys(("logit_scale_on", "logit_scale_in"), "logit_scale")
        unused |= scaled if self.logit_scale == "none" else {}
        return unused | ({} if split_switch(self.encoding)[1] else {"switch_fraction": "an encoding such as rope:then=none"})

    @property
    def identity(self) -> dict[str, Any]:
        """What decides the weights: every key but those of the evaluation, and the content of the user's own files."""
        keys = self.model_dump(exclude={"eval", *self.unused_keys})
        for kind, key in (("tasks", "task"), ("encodings", "encoding")):
            keys[key] = _plain(keys[key]) or map_data(map_paths(keys[key], partial(_content, kind)), catalog.data_fingerprint)
        return {"format": FORMAT, **keys}

    @property
    def id(self) -> str:
        """`copy-rope-s1-<8 hex digits of the identity>`: equal recipes have the same directory.

        Keys at their defaults are left out of the digits, so that a new key does not change the ids of runs without it.
        """
        defaults = {key: field.default for key, field in TrainSettings.model_fields.items()}
        keys = {key: value for key, value in self.identity.items() if key not in defaults or value != defaults[key]}
        digits = hashlib.sha256(json.dumps(keys, sort_keys=True).encode()).hexdigest()[:8]
        parts = [label(self.task), label(self.encoding), *([self.positions] if self.positions != "start" else [])]
        parts += [] if (text := "-".join(parts)).isascii() else [hashlib.sha256(text.encode()).hexdigest()[:4]]
        words = re.sub(r"[^A-Za-z0-9.]+", "-", "-".join(parts)).strip("-.")  # no hidden directory, no option of a command
        return f"{words[:100]}-s{self.seed}-{digits}"  # file systems allow 255 bytes

    def to_yaml(self, folder: Path) -> str:
        """Every key, null ones too: an absent key would get the task's default when the file is read again.

        The paths of the user's own files are written relative to the folder of the file.
        """
        keys = self.to_keys()
        for key in ("task", "encoding"):
            choice = relative_to(keys[key], folder)
            keys[key] = [choice] if "," in choice else choice
        keys["eval_task"] = keys["eval_task"] and relative_to(keys["eval_task"], folder)
        return yaml.safe_dump(keys, sort_keys=False, allow_unicode=True)


@lru_cache(maxsize=4096)
def _plain(choice: str) -> str | None:
    """The choice, joined again, where it names no files, so that it means the same always; None where it does."""
    return None if paths_in(choice) or data_in(choice) else map_paths(choice, str)


def _content(kind: str, path: Path) -> str:
    return catalog.fingerprint(catalog.find(kind, str(path)))


def label(choice: str) -> str:
    """How tables name a choice: a user's code by its stem, with a number where two files have one; data by its file name.

    A user's file that has the name of one that ships is `own-NAME`.
    """
    if plain := _plain(choice):
        return plain
    stems: dict[Path, str] = {}

    def stem(path: Path) -> str:
        if path not in stems:
            first = re.sub("[%+:,=]", "-", own_name(path))
            numbered = (f"{first}-{number}" for number in itertools.count(2))
            stems[path] = next(name for name in itertools.chain([first], numbered) if name not in stems.values())
        return stems[path]

    return map_data(map_paths(choice, stem), lambda path: Path(path).name)


def task_defaults(task: str) -> dict[str, Any]:
    """The values that a task's file sets for recipe keys, such as its length and steps: `defaults`, above them `variants`.

    A task that reads data of the user's may have `own_defaults` in place of `defaults` then.

    Raises:
        ChoiceError: the task is unknown, or its defaults are not valid settings.
    """
    path = catalog.find("tasks", parse_choice(task)[0])
    constants = catalog.class_constants(path)
    variant = constants.get("variants", {}).get(canonical(task).partition(":")[2], {})
    defaults = constants.get("defaults", {})
    if data_in(task):
        defaults = constants.get("own_defaults", defaults)
    try:
        for keys in (defaults, variant):
            Settings.model_validate(keys)
    except ValidationError as error:
        wrong = "; ".join(map(_wrong_default, error.errors()))
        raise ChoiceError(f"{path}: `defaults` must hold recipe keys with valid values: {wrong}") from None
    return {**defaults, **variant}


def _wrong_default(error: Any) -> str:
    """One of pydantic's errors: `steps: 'x': input should be a valid integer`."""
    key = ".".join(map(str, error["loc"]))
    if error["type"] == "extra_forbidden":
        return f"{key}: unknown key: {catalog.nearest(key, sorted(Settings.model_fields))}  (rpe check --keys)"
    return f"{key}: {error['input']!r:.60}: {error['msg'].lower()}"

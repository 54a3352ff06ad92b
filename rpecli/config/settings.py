"""The keys of a run with their types, bounds, defaults and meanings; help, docs and messages all read them from here."""

import itertools
import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from rpecli import catalog
from rpecli.choice import ChoiceError, canonical, names_in, split_list
from rpecli.config import suites
from rpecli.config.ranges import check_grid, check_lengths, parse_grid, parse_lengths, parse_seeds

EMPTY = "is empty: write a value, or leave it out"
MIN_SEQUENCES = 32  # of an evaluation set, however long they are
Positions = Literal["start", "offset", "randomized", "coupled"]
Whole = Annotated[int, Field(lt=10**9)]  # nine digits: more is a typing error, and torch and numpy fail past 64 bits
Item = TypeVar("Item")
Value = TypeVar("Value")


def list_items(value: Any) -> list[str]:
    """The items of a YAML list, or of a text with commas. Raises ValueError where there is none."""
    if value in (None, "", []):
        raise ValueError(EMPTY)
    parts = value if isinstance(value, list) else str(value).split(",")
    return [str(part).strip() for part in parts]


def checked(check: Callable[[Item], Value], items: Iterable[Item]) -> list[Value]:
    """What a check gives for each item. Raises ValueError with what is wrong with every item that is not valid."""
    values, errors = [], []
    for item in items:
        try:
            values.append(check(item))
        except ValueError as error:  # a ChoiceError too
            errors.append(str(error))
    if errors:
        raise ValueError("; ".join(errors))
    return values


def check_choice(kind: str, text: str) -> str:
    """The canonical spelling of a choice of encodings or tasks. Raises ChoiceError if one of its names is unknown, or no name."""
    suites.refuse(text)
    choice = canonical(text)
    for name in names_in(choice):
        catalog.find(kind, name)
    return choice


def _check_choices(kind: str) -> Callable[[Any], list[str]]:
    def check(value: Any) -> list[str]:
        items = _expanded(kind, split_list(value) if isinstance(value, str) and value else list_items(value))
        return list(dict.fromkeys(checked(partial(check_choice, kind), items)))

    return check


def _expanded(kind: str, items: list[str]) -> list[str]:
    try:
        return suites.expand(items) if kind == "tasks" else suites.with_baselines(items)
    except ChoiceError as error:
        raise ValueError(str(error)) from None


def check_positions(word: str) -> str:
    """One kind of positions. Raises ValueError for an unknown one."""
    schemes = list(get_args(Positions))
    if word not in schemes:
        raise ValueError(catalog.unknown("positions", word, schemes))
    return word


def _check_positions(value: Any) -> list[str]:
    return list(dict.fromkeys(checked(check_positions, list_items(value))))


def _check_rates(value: Any) -> list[float]:
    """Learning rates to choose from, ascending, each once."""
    rates = set[float]()
    for item in list_items(value):
        try:
            rates.add(float(item))
        except ValueError:
            raise ValueError(f"{item!r} is not a learning rate: write for example 1e-3,3e-3,6e-3") from None
    if len(rates) < 2:
        raise ValueError("one learning rate is no choice: write two or more, or lr")
    if not all(0 < rate < math.inf for rate in rates):
        raise ValueError("learning rates are above 0 and finite: write for example 1e-3,3e-3,6e-3")
    return sorted(rates)


def _check_lengths(value: Any) -> str:
    text = ",".join(list_items(value))
    check_lengths(text)
    return text


def _check_optional_lengths(value: Any) -> str | None:
    return None if value is None or value == "" else _check_lengths(value)


def _check_grid(value: Any) -> str | None:
    if value is None or value == "":
        return None
    text = ",".join(list_items(value))
    check_grid(text)
    return text


def _check_canon(value: Any) -> str:
    """`ac` -> `AC`: letters in order, each once."""
    letters = "".join(str(value or "").replace(",", "").upper().split())
    if unknown := sorted(set(letters) - set("ABCD")):
        raise ValueError(f"{unknown[0]!r} is no place of a Canon layer: write any of A, B, C and D, such as AC")
    return "".join(sorted(set(letters)))


Canon = Annotated[str, BeforeValidator(_check_canon)]
TaskChoice = Annotated[str, BeforeValidator(lambda text: check_choice("tasks", text))]
TaskChoices = Annotated[list[str], BeforeValidator(_check_choices("tasks"))]
EncodingChoices = Annotated[list[str], BeforeValidator(_check_choices("encodings"))]
PositionsList = Annotated[list[Positions], BeforeValidator(_check_positions)]
Seeds = Annotated[list[int], BeforeValidator(lambda value: parse_seeds(",".join(list_items(value))))]
Rates = Annotated[list[float], BeforeValidator(_check_rates)]
Lengths = Annotated[str, BeforeValidator(_check_lengths)]
OptionalLengths = Annotated[str | None, BeforeValidator(_check_optional_lengths)]
Grid = Annotated[str | None, BeforeValidator(_check_grid)]

EncodingChoice = Annotated[str, BeforeValidator(lambda text: check_choice("encodings", text))]
MAX_LOOPS = 1000
MAX_THREADS = 1024  # beyond some ten thousand, OpenMP ends the process


class Strict(BaseModel):
    """Unknown keys, infinities and changes are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class LengthSettings(Strict):
    """The lengths that a run is trained on."""

    length: Whole = Field(16, ge=1, description="Training length: the longest problem trained on.")
    min_length: Whole = Field(1, ge=1, description="Shortest problem trained on.")
    curriculum: float = Field(
        0.0, ge=0, le=1, description="Share of the steps over which the longest training problem grows to length."
    )


class OptimizationSettings(Strict):
    """How a run is trained."""

    steps: Whole = Field(1000, ge=1, description="Training steps.")
    tokens: Whole = Field(1024, ge=1, description="Tokens per batch, of which the length decides how many sequences they are.")
    batch: Whole | None = Field(None, ge=1, description="Sequences per batch, in place of tokens.")
    batch_lengths: Literal["one", "mixed"] = Field(
        "one", description="Problem lengths of a batch: one, or mixed: every sequence draws its own, padded to the longest."
    )
    lr: float = Field(6e-3, gt=0, description="Peak learning rate of AdamW.")
    warmup: Whole = Field(100, ge=0, description="Steps of linear warm-up.")
    schedule: Literal["cosine", "linear"] = Field("cosine", description="How lr falls after the warm-up.")
    lr_end: float = Field(0.05, ge=0, le=1, description="Share of lr that is left at the end of the schedule.")
    weight_decay: float = Field(0.0, ge=0, description="Weight decay of AdamW.")
    decayed: Literal["all", "matrices"] = Field("all", description="Parameters that decay: all, or no biases and norms.")
    beta1: float = Field(0.9, ge=0, lt=1, description="Beta1 of AdamW.")
    beta2: float = Field(0.98, ge=0, lt=1, description="Beta2 of AdamW.")
    position_penalty: float = Field(
        0.0,
        ge=0,
        description="Weight of a penalty on what positions that are added to the embeddings give to scores (Huang et al. 2025).",
    )
    clip: float = Field(1.0, gt=0, description="Maximum gradient norm; larger gradients are scaled down.")
    switch_fraction: float = Field(
        0.8, gt=0, lt=1, description="Share of the steps after which rope:then=none becomes none (DroPE)."
    )
    threads: Whole = Field(
        1,
        ge=1,
        le=MAX_THREADS,
        description="CPU threads of a run; more of them add in another order and so change the last bits of the weights.",
    )
    dtype: Literal["float32", "bfloat16"] = Field("float32", description="Type of matrix products in training.")
    data_seed: Whole | None = Field(None, ge=0, description="Seed of the training data; without it, the run's seed.")
    max_position: Whole = Field(512, ge=1, description="Positions offset and randomized draw from 0 to max_position - 1.")
    positions_per: Literal["batch", "layer"] = Field(
        "batch", description="Draw randomized positions once per batch, or once per layer."
    )
    validate_every: Whole = Field(50, ge=1, description="Steps between validations, which are on training lengths only.")
    validation_lengths: Literal["quarters", "all"] = Field(
        "quarters", description="Lengths of validation: half, three quarters and all of length, or every trained length."
    )
    validation_samples: Whole = Field(64, ge=1, description="Validation sequences per length.")
    stop_at: float | None = Field(None, gt=0, le=1, description="Stop early at this validation exact match.")
    checkpoint_lengths: OptionalLengths = Field(
        None,
        description="Lengths that choose the weights that are kept: those of the validation with the most strings right at these "
        "lengths, of several the last; without it, those of the last step. Lengths beyond the training length choose on what is "
        "tested, as some papers do.",
    )


class ModelSettings(Strict):
    """The transformer."""

    d_model: Whole = Field(64, ge=1, description="Width of the model.")
    n_layer: Whole = Field(2, ge=1, description="Number of layers.")
    n_head: Whole = Field(4, ge=1, description="Number of heads; must divide d_model.")
    mlp_ratio: Whole = Field(4, ge=1, description="Width of the MLP divided by d_model.")
    block: Literal["plain", "gpt2", "llama"] = Field(
        "plain",
        description="Layers: plain (LayerNorm, GELU, no biases), gpt2 (biases, tied output), llama (RMSNorm, SwiGLU); "
        "each with its initial weights.",
    )
    init: Literal["block", "torch"] = Field(
        "block", description="Initial weights: those of the block, or what torch gives linear layers and embeddings."
    )
    dropout: float = Field(0.0, ge=0, lt=1, description="Dropout in training of what attention and MLP add.")
    attention: Literal["causal", "bidirectional"] = Field(
        "causal", description="Decoder, or encoder that fills in masked answers."
    )
    normalizer: Literal["softmax", "stick-breaking"] = Field(
        "softmax", description="How attention logits are normalized to weights."
    )
    logit_scale: Literal["none", "logn", "ssmax", "stair"] = Field(
        "none", description="Length-dependent temperature: a factor on queries that grows with the number of visible keys."
    )
    logit_scale_on: Literal["all", "unrotated"] = Field(
        "all", description="Layers with logit_scale: all, or those whose encoding is none."
    )
    logit_scale_in: Literal["both", "evaluation"] = Field("both", description="Whether logit_scale acts in training too.")
    qk_norm: Literal["none", "plain", "gain"] = Field(
        "none",
        description="RMS norm of queries and keys per head, before the encoding: plain, or with a learned gain per channel.",
    )
    canon: Canon = Field(
        "",
        description="Canon layers, which mix each token with the three before it: any of A (before attention), "
        "B (queries, keys, values), C (before the MLP), D (in it).",
    )
    token_shift: Literal["none", "k", "kv"] = Field(
        "none", description="Mix each key, or key and value, with that of the token before, by a learned gate."
    )
    loops: Whole = Field(1, ge=1, le=MAX_LOOPS, description="Times that the layers run one after another, with the same weights.")


class EvalSettings(Strict):
    """How a run is evaluated; none of these keys changes what is trained, so a run's identity leaves them out."""

    lengths: Lengths = Field("1x,2x,4x,8x", description="Evaluated lengths: 16,32 or 512:4096 or 1x:8x.")
    grid: Grid = Field(
        None, description="Pairs of two sizes, of tasks that have two: 2:16, or 2:16/2:5 for the first and the second."
    )
    samples: Whole = Field(256, ge=1, description="Evaluation sequences per length.")
    eval_tokens: Whole = Field(
        131072, ge=1, description="Maximum tokens per length: long lengths have fewer sequences, but at least 32."
    )
    eval_seed: Whole = Field(0, ge=0, description="Seed of the evaluation sets, which are the same for every run.")
    eval_positions: Literal["same", "start", "randomized"] = Field(
        "same", description="Positions in evaluation; same: as in training."
    )
    eval_loops: Whole | None = Field(
        None, ge=1, le=MAX_LOOPS, description="Loops in evaluation; without it, as many as in training."
    )
    eval_task: TaskChoice | None = Field(
        None, description="Task to evaluate on: the trained one with other options, as in flip-flop:ignore=0.98."
    )

    def n_sequences(self, T: int) -> int:
        """How many sequences of T tokens an evaluation set has."""
        return min(self.samples, max(MIN_SEQUENCES, self.eval_tokens // T))

    def check_lengths(self, trained: int, name: str = "lengths") -> None:
        """Raises ValueError, which calls them by a name, for lengths and sizes that do not suit a run trained to `trained`."""
        grid_name = name.replace("lengths", "grid")
        for called, parse, text in ((name, parse_lengths, self.lengths), (grid_name, parse_grid, self.grid or "1x")):
            try:
                parse(text, trained)
            except ValueError as error:
                raise ValueError(f"{called}: {error}  (trained on length {trained})") from None

    def lengths_after(self, trained: int) -> list[int]:
        """The lengths that a run trained to `trained` is evaluated at, ascending.

        They are those asked for, and the training length and its doublings below the first of them, so that every run shows where
        it breaks.
        """
        requested = parse_lengths(self.lengths, trained)
        doublings = itertools.takewhile(lambda length: length < requested[0], (trained * 2**k for k in itertools.count()))
        return sorted({trained, *doublings, *requested})


class TrainSettings(ModelSettings, OptimizationSettings, LengthSettings):
    """Everything that decides what is trained, apart from the task, the encoding, the positions and the seed."""


class Settings(EvalSettings, TrainSettings):
    """The keys that a recipe shares among its runs, flat as in its file: training first, then evaluation."""

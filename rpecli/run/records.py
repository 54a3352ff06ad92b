"""The schema of run.json and of the lines of metrics.jsonl, eval.jsonl and probes.jsonl, checked whenever one is read.

A key that the schema does not have is refused: it could be a condition under which a newer version of rpe measured.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import (
    Annotated,
    Any,
    Literal,
    NotRequired,  # pydantic takes no others before Python 3.12
    TypeVar,
    cast,
)

from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import from_json
from typing_extensions import TypedDict

from rpecli.run.files import CHECKSUM, RECORD_FORMAT, Damaged, OtherFormat, unseal

EXAMPLE_WORDS = 64
SOLVED = 0.9  # exact match at the training length from which a run counts as having learned its task
AS_DRAWN = ", as drawn"  # of a data set whose sequences are those that the task draws from the same seed
SCORE_TERMS = ("content-content", "content-position", "position-content", "position-position")  # query first
OLDEST_KEYS = {"task", "encoding", "seed", "status"}  # of run.json in every format
PROBES = ("attention", "similarity", "positions", "prefix")  # values of the key `probe`

Real = Annotated[float, Field(allow_inf_nan=False)]
Measured = Real | None  # None: not a number, or infinite
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Interval = Annotated[list[Share], Field(min_length=2, max_length=2)]
Count = Annotated[int, Field(ge=0)]
Item = TypeVar("Item")
NotEmpty = Annotated[list[Item], Field(min_length=1)]
Positive = Annotated[int, Field(ge=1)]  # a length, a number of sequences, a layer or head counted from 1


class Record(TypedDict):
    """A record as JSON has it: no key beside those of the schema, no text in the place of a number."""


Record.__pydantic_config__ = ConfigDict(extra="forbid", strict=True)  # type: ignore[attr-defined]


class Sources(Record):
    """Fingerprints of the files of a run's task and encoding."""

    tasks: str  # of the file of its task
    encodings: str  # of the files of its encoding


class StepsToAccuracy(Record):
    """Steps and tokens of the first validation with 90 % and 99 % token accuracy; None where there is none."""

    steps_to_90: Count | None  # training steps to 90 %
    tokens_to_90: Count | None  # tokens trained on by then
    steps_to_99: Count | None  # training steps to 99 %
    tokens_to_99: Count | None  # tokens trained on by then


class LrTrials(Record):
    """The runs of a learning-rate search with one rate: their last validations, averaged over seeds."""

    lr: Amount  # the rate
    runs: list[str]  # their ids, in the folder .lr_search of the folder of runs
    token_accuracy: Share | None  # mean over the runs; None: the loss of one was not finite
    loss: Measured  # mean training loss of the steps before that validation


class LrSearch(Record):
    """How the learning rate of a run was chosen."""

    taken: Amount  # the rate that the run was trained with
    seeds: list[Count]  # of the runs that were compared
    tried: NotEmpty[LrTrials]  # one entry per rate


class ChosenCheckpoint(Record):
    """The validation whose weights a run ended with, where `checkpoint_lengths` chose it."""

    step: Count  # the step of that validation
    exact_match: Share  # mean over the lengths
    lengths: NotEmpty[Positive]  # problem lengths of the validation sets that chose it


class RunRecord(Record):
    """What a run is, and from its training on, where it was trained and how far it is."""

    format: int  # version of these records; RECORD_FORMAT now
    id: str  # the name of the directory: task, encoding, seed, and eight digits of what decides the weights
    task: str  # the task, with its options
    encoding: str  # the encoding, with its options
    positions: str  # positions in training: start, offset, randomized or coupled
    seed: Count  # from which, with the name of the task, weights and training data are drawn
    status: Literal["created", "training", "stopped", "failed", "trained"]  # how far it is:
    # created, training, stopped (by Ctrl-C or SIGTERM, to go on where it was), failed or trained
    study: str  # the recipe that the run was made for
    group: str  # group of the encoding: APE, RPE, content or none
    family: str  # family of the task
    measure: NotRequired[Literal["accuracy", "perplexity"]]  # what reports show and test of the task
    sources: Sources  # fingerprints of the files of the task and the encoding
    code: NotRequired[dict[str, str]]  # fingerprints of the shipped files that decide its numbers, by name
    data: NotRequired[dict[str, str]]  # fingerprints of the user's own data, by path
    recipe: str  # checksum of recipe.yaml
    created: str  # when the directory was made
    error: NotRequired[str | None]  # why the run failed; None if it did not
    started: NotRequired[str]  # when training began, or went on
    stacked: NotRequired[Positive | None]  # number of runs that trained as one program in the last session; None for a run that
    # trained alone
    processes: NotRequired[Positive]  # number of processes that trained it together, where it was not always one
    device: NotRequired[str]  # cpu, mps, or the name of the GPU
    parameters: NotRequired[Count]  # number of parameters of the model
    sequence: NotRequired[Positive]  # tokens of the longest training sequence
    steps: NotRequired[Positive]  # training steps in its recipe
    length: NotRequired[Positive]  # training length in its recipe
    pid: NotRequired[int]  # of the process that trains it, or that is to start it
    process: NotRequired[str | None]  # that process among all others: machine, boot and start
    commit: NotRequired[str | None]  # commit of the code; None outside a checkout
    dirty: NotRequired[bool | None]  # whether the checkout differed from that commit
    versions: NotRequired[dict[str, str | None]]  # versions of Python and packages
    machine: NotRequired[str]  # processor and number of cores
    platform: NotRequired[str]  # operating system: linux or darwin
    step: NotRequired[Count]  # training steps done
    tokens: NotRequired[Count]  # tokens trained on
    seconds: NotRequired[Amount]  # of training, earlier sessions included; those of a stack count for each of its runs
    finished: NotRequired[str]  # when training ended
    weights: NotRequired[str]  # fingerprint of the weights file that training ended with
    diverged: NotRequired[Count]  # the step of the validation before which the loss was not finite; 0 after a start anew
    lr_search: NotRequired[LrSearch]  # of a run whose learning rate was searched
    checkpoint: NotRequired[ChosenCheckpoint]  # of a run whose weights `checkpoint_lengths` chose
    receipt: NotRequired[str | None]  # of the last job that did all it was asked for, by which a later one knows that nothing
    # is missing
    steps_to_accuracy: NotRequired[StepsToAccuracy]  # how soon validation reached 90 % and 99 % of tokens
    peak_memory: NotRequired[Count | None]  # bytes; None where the system does not tell
    tokens_per_second: NotRequired[Count]  # speed of training


class MetricsScores(Record):
    """One validation during training, at training lengths."""

    step: Count  # training steps done
    tokens: Count  # tokens trained on so far
    loss: Real  # mean training loss of the steps since the line before, in nats per scored token
    lr: Real  # learning rate of the last step
    token_accuracy: Share  # mean over the validation sets, which have the training length, three quarters and half of it unless
    # the recipe says otherwise
    exact_match: Share  # the same of whole answers
    checkpoint_match: NotRequired[Share]  # mean exact match over the sets of `checkpoint_lengths`, where the recipe has these


class MetricsLine(MetricsScores):
    """A line of metrics.jsonl."""

    seconds: Amount  # of training so far, earlier sessions included


class Example(Record):
    """The first sequence of an evaluation set and what the model answered, as words; the last EXAMPLE_WORDS of each."""

    prompt: list[str]  # what stands outside the answer, without the marks of begin, separator and end
    target: list[str]  # the answer
    answer: list[str]  # the likeliest token at each place of it, where the true tokens stand before (teacher forcing)
    read: NotRequired[list[str]]  # where sets are predicted: the token before each of them
    other_targets: NotRequired[list[list[str]]]  # where several answers are right: those that `answer` resembles less than
    # `target`


def _of_one_length(example: Example) -> Example:
    lengths = {len(example["target"]), len(example["answer"]), len(example.get("read", example["target"]))}
    if lengths == {0} or len(lengths) > 1:
        raise ValueError("target, answer and read must have one word for each place of the answer")
    return example


class SetScores(Record):
    """What is counted over the sequences of an evaluation set."""

    length: Positive  # problem length
    n: Positive  # number of sequences
    exact_match: Share  # share of sequences with every answer token right
    exact_match_eos: Share  # the same, with the end token
    interval: Interval  # Wilson 95 % interval of exact_match
    token_accuracy: Share  # share of answer tokens that are right
    token_accuracy_rescaled: Measured  # (accuracy - chance) / (1 - chance); None if chance is 1
    chance: Share  # token accuracy of the best guess that does not look at the input
    nll: Measured  # mean negative log-likelihood of an answer token, in nats; None if it is not finite
    accuracy_by_decile: list[Share | None]  # token accuracy by tenth of the answer; None for a tenth without a token
    correct: str  # one bit per sequence, hexadecimal: whether it matched exactly
    sequence: Positive  # tokens per sequence
    eval_seed: Count  # seed of the evaluation set
    fingerprint: str  # of the evaluation set
    positions: str  # positions in evaluation: start, randomized or coupled
    loops: NotRequired[Positive]  # loops over the layers, where they are not those of training
    untrained_positions: Share  # share of positions whose parameters training never touched
    seconds: Amount  # duration


class EvalScores(SetScores):
    """What `rpe eval` measures of a model at one length, all of it over the same sequences."""

    example: Annotated[Example, AfterValidator(_of_one_length)]  # the first sequence, as words
    chance_nll: NotRequired[Amount]  # of tasks measured by perplexity: nats per answer token of the best guess that does not
    # look at the input
    nll_by_place: NotRequired[list[Measured]]  # of tasks measured by perplexity: nats per answer token at places 1, 2, 3-4,
    # 5-8, ...
    rope_factor: NotRequired[Amount]  # of encodings with RoPE scaling: the factor by which it was scaled for this length


class GridCell(Record):
    """Two sizes that all problems of a set have, where a line is about a cell of a grid and not about a length."""

    sizes: Annotated[list[Positive], Field(min_length=2, max_length=2)]  # the two sizes
    names: Annotated[list[str], Field(min_length=2, max_length=2)]  # what they count
    trained: Annotated[list[Positive], Field(min_length=2, max_length=2)]  # the greatest sizes of training


class EvalLine(EvalScores):
    """A line of eval.jsonl."""

    weights: str  # fingerprint of the evaluated weights file
    encoding_override: str | None  # the encoding that took the place of the trained one; None for none; a path is relative to
    # the run
    task_override: NotRequired[str | None]  # the trained task with other options, where the sequences came from that; None for
    # none; a path is relative to the run
    code: NotRequired[str]  # fingerprint of the shipped files that measured it
    grid: NotRequired[GridCell]  # of a line that is about two sizes: `length` is then the greater one
    repeated: NotRequired[Share]  # share of the sequences that stand before in the set
    seen: NotRequired[Share]  # share of the sequences that training had; 0 beyond the training length
    data: str | None  # name and fingerprint of the data set that was read; `, as drawn` behind them: its sequences are those
    # that the task draws from the same seed; None: they were drawn


class EvalIdentity(Record):
    """The model and the conditions that a line of probes.jsonl belongs to; lines that differ here are never mixed."""

    weights: str  # fingerprint of the weights file
    encoding_override: str | None  # the encoding that took the place of the trained one; None for none
    positions: str  # positions in evaluation
    eval_seed: Count  # seed of the evaluation sets
    loops: NotRequired[Positive | None]  # loops over the layers, where they are not those of training; None where they are


def eval_identity_of(line: Mapping[str, Any]) -> tuple[Any, ...]:
    """The values of a line that EvalIdentity has, in its order; None for those that the line does not have."""
    return tuple(line.get(key) for key in EvalIdentity.__annotations__)


class ShiftScores(Record):
    """How a model's answers change when the content moves `shift` positions: alone, or behind a prefix of random symbols."""

    probe: Literal["positions", "prefix"]  # whether the positions alone were moved, or random symbols put before the begin
    # token
    shift: Count  # by how many positions
    n: Positive  # number of sequences
    logits_mean: Measured  # mean absolute change of a logit
    logits_max: Measured  # the largest change
    kl_mean: Measured  # mean KL divergence of the shifted prediction from the first, in nats
    kl_max: Measured  # the largest
    changed: Share  # share of answer tokens whose likeliest token changed
    exact_match_before: Share  # share of whole answers right before the shift
    exact_match: Share  # the same after it
    token_accuracy_before: Share  # share of tokens right before the shift
    token_accuracy: Share  # the same after it
    attention: list[Measured]  # per layer, the share of attention that went elsewhere
    on_prefix: list[Measured]  # per layer, the share of attention on the prefix
    untrained_positions: Share  # share of positions whose parameters training never touched
    seconds: Amount  # duration


class ShiftLine(ShiftScores, EvalIdentity):
    """A line of probes.jsonl that `rpe inspect --shift` writes."""

    length: Positive  # problem length
    fingerprint: str  # of the evaluation set


class ToeplitzFit(Record):
    """How much of a matrix over (query, key) a function of the distance i-j explains, as R^2; None if it is constant."""

    r2: Measured  # explained by f(i-j)
    r2_row_centered: Measured  # explained by f(i-j) + g(i) with a free g(i) per query, relative to g(i) alone
    r2_chance: Measured  # expected r2 of noise


class HeadFit(ToeplitzFit):
    """How much of the mean score of a head a function of the distance i-j explains, as R^2; None if the score is constant."""

    head: Positive  # number of the head, from 1


class HeadAttention(Record):
    """Where one head attends, over the rows that predict the answer."""

    head: Positive  # number of the head, from 1
    distance: Real  # mean attended distance, in tokens
    entropy: Real  # mean entropy of its weights, in nats
    uniform: Real  # entropy of equal weights
    by_distance: list[Real]  # mean weight by distance 0..T-1; -(T-1)..T-1 in bidirectional attention


def _of_every_term(shares: dict[str, float]) -> dict[str, float]:
    if shares.keys() != set(SCORE_TERMS):
        raise ValueError(f"must have the terms {', '.join(SCORE_TERMS)}")
    return shares


TermShares = Annotated[dict[str, Real], AfterValidator(_of_every_term)]


class HeadTerms(Record):
    """The shares of the four terms of a first-layer head's scores, by name, and the fit of its position-position term."""

    head: Positive  # number of the head, from 1
    share: TermShares  # shares of the four terms, by name
    covariance: TermShares  # covariances of the four terms with the score, by name
    toeplitz: ToeplitzFit  # the fit of the position-position term


class LengthAttention(Record):
    """What `rpe inspect` measures at one length."""

    length: Positive  # problem length
    sequence: Positive  # tokens that the model reads
    n: Positive  # number of sequences
    layers: NotEmpty[NotEmpty[HeadAttention]]  # where each head attends, per layer; with loops, per pass through one
    scores: list[list[HeadFit]] | None  # fits of the mean scores, per layer and head; None where the matrices are too large
    terms: (
        list[HeadTerms] | None
    )  # the four terms of the scores, per head of the first layer; None too where no position is added to the embeddings


def _with_all_distances(at: LengthAttention) -> LengthAttention:
    """Raises ValueError where a head has not one weight per distance, which is as many as all others have."""
    T = at["sequence"]
    for head in (head for layer in at["layers"] for head in layer):
        if len(head["by_distance"]) not in (T, 2 * T - 1):
            raise ValueError(f"by_distance has {len(head['by_distance'])} weights, a sequence has {T} tokens")
    return at


class PatternedHead(Record):
    """A head that holds most of its attention at one distance or place."""

    layer: Positive  # number of the layer, from 1
    head: Positive  # number of the head, from 1
    pattern: str  # in words: `distance n+1`
    family: str  # kind of the pattern
    growth: int  # of the offset, in problem lengths
    offset: int  # what is added to that, in tokens
    share: dict[str, Real]  # of its attention on the pattern, by length


def strongest_head(heads: Sequence[PatternedHead], length: int) -> PatternedHead | None:
    """The head with the most weight on its pattern at a length; one whose pattern grows with the length before all others."""
    return max(heads, key=lambda head: (head["growth"] > 0, head["share"].get(str(length), 0.0)), default=None)


class AttentionMap(Record):
    """What one head attends to in one sequence: a row per answer token, a character per key, 0 to 9 for weights 0 to 1."""

    layer: Positive  # number of the layer, from 1
    head: Positive  # number of the head, from 1
    pattern: str  # the pattern of the head
    rows: dict[str, list[str]]  # the map, by length


class AttentionScores(Record):
    """Where and why the heads of a model attend."""

    normalizer: str  # normalizer of attention
    train_length: Positive  # training length
    causal: bool  # whether attention is causal
    lengths: NotEmpty[Annotated[LengthAttention, AfterValidator(_with_all_distances)]]  # one entry per length
    patterned_heads: list[PatternedHead]  # heads that follow a pattern
    attention_map: AttentionMap | None  # of the head with the largest share in its pattern; None without such a head


class AttentionLine(AttentionScores, EvalIdentity):
    """A line of probes.jsonl that `rpe inspect` writes."""

    probe: Literal["attention"]  # the kind of the line
    fingerprints: dict[str, str]  # of the evaluation sets, by length


class LayerSimilarity(Record):
    """How alike a layer of two runs attends: 1 - JS/ln 2 of its mean over heads, and of the best pairing of heads."""

    mean: Real  # of the mean over heads
    paired: Real  # of the best pairing of heads
    pairs: list[list[Positive]]  # these pairs of heads, from 1


class RunIdentity(EvalIdentity):
    """The run that a line of similarity is about, and the conditions under which it was measured."""

    run: str  # name of the run


class SimilarityLine(EvalIdentity):
    """A line of probes.jsonl of the run whose name sorts first, about the run `other`."""

    probe: Literal["similarity"]  # the kind of the line
    length: Positive  # problem length
    fingerprint: str  # of the evaluation set
    other: RunIdentity  # the other run
    layers: NotEmpty[LayerSimilarity]  # one entry per layer


ProbeLine = Annotated[ShiftLine | AttentionLine | SimilarityLine, Field(discriminator="probe")]
KINDS: dict[str, Any] = {"run": RunRecord, "metrics": MetricsLine, "eval": EvalLine, "probes": ProbeLine}


def parse(kind: str, text: bytes) -> Any:
    """A record of one of KINDS from its JSON, without the checksum. Raises Damaged with the key that is wrong."""
    try:
        return _schema(kind).validate_json(text)
    except ValidationError as error:
        raise Damaged(_first_problem(error)) from None


def parse_run(data: bytes) -> dict[str, Any]:
    """The record of a run.json. Raises OtherFormat for one that another version of rpe wrote, and Damaged."""
    text = unseal(data) if CHECKSUM in data else data
    try:
        record = from_json(text)
    except ValueError:
        raise Damaged("damaged: not JSON") from None
    if not isinstance(record, dict) or not record.keys() >= OLDEST_KEYS:
        raise Damaged("not a record of rpe")
    if (written := record.get("format")) != RECORD_FORMAT:
        raise OtherFormat("no record format" if written is None else f"record format {written}")
    return cast("dict[str, Any]", parse("run", unseal(data)))


@cache
def _schema(kind: str) -> TypeAdapter[Any]:
    return TypeAdapter(KINDS[kind])


def _first_problem(error: ValidationError) -> str:
    """`lengths.0.head: 0: input should be greater than or equal to 1`."""
    first = error.errors(include_url=False)[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "missing":
        return f"{key}: missing"
    if first["type"] == "extra_forbidden":
        return f"{key}: unknown key, perhaps of a newer version of rpe"
    value = "" if isinstance(first["input"], dict | list | bytes) else f"{first['input']!r:.60}: "
    message = f"{first['msg'][0].lower()}{first['msg'][1:]}"
    return f"{key}: {value}{message}" if key else f"not a record of rpe: {message}"

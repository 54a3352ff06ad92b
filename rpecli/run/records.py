"""The lines of metrics.jsonl, eval.jsonl and probes.jsonl, typed."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict

EXAMPLE_WORDS = 64
AS_DRAWN = ", as drawn"  # of a data set whose sequences are those that the task draws from the same seed
SCORE_TERMS = ("content-content", "content-position", "position-content", "position-position")  # query first
PROBES = ("attention", "similarity", "positions", "prefix")  # values of the key `probe`


class MetricsScores(TypedDict):
    """One validation during training, at training lengths."""

    step: int  # steps done
    tokens: int  # tokens trained on so far
    loss: float  # mean training loss of the steps since the line before, in nats per scored token
    lr: float  # learning rate of the last step
    token_accuracy: float  # mean over the validation sets
    exact_match: float  # mean over the validation sets


class MetricsLine(MetricsScores):
    """A line of metrics.jsonl."""

    seconds: float  # of training so far, earlier sessions included


class Example(TypedDict):
    """The first sequence of an evaluation set and what the model answered, as words; the last EXAMPLE_WORDS of each."""

    prompt: list[str]  # what stands outside the answer, without the marks of begin, separator and end
    target: list[str]  # the answer
    answer: list[str]  # the likeliest token at each place of it, where the true tokens stand before (teacher forcing)


class SetScores(TypedDict):
    """What is counted over the sequences of an evaluation set."""

    length: int  # problem length
    n: int  # number of sequences
    exact_match: float  # share of sequences with every answer token right
    exact_match_eos: float  # the same, with the end token
    interval: list[float]  # Wilson 95 % interval of exact_match
    token_accuracy: float  # over all answer tokens
    token_accuracy_rescaled: float | None  # (accuracy - chance) / (1 - chance); None if chance is 1
    chance: float  # token accuracy of the best guess that does not look at the input
    nll: float  # nats per answer token
    accuracy_by_decile: list[float | None]  # token accuracy by tenth of the answer; None for a tenth without a token
    correct: str  # one bit per sequence, packed, hexadecimal: whether it matched exactly
    sequence: int  # tokens per sequence
    eval_seed: int
    fingerprint: str  # of the evaluation set
    positions: str  # start, randomized or coupled
    untrained_positions: float  # share of positions whose parameters training never touched
    seconds: float


class EvalScores(SetScores):
    """What `rpe eval` measures of a model at one length, all of it over the same sequences."""

    example: Example


class EvalLine(EvalScores):
    """A line of eval.jsonl."""

    weights: str  # fingerprint of the weights file
    encoding_override: str | None  # the encoding that took the place of the trained one
    data: str | None  # name and fingerprint of the data set that was read, with AS_DRAWN at the end or not; None: drawn


class EvalIdentity(TypedDict):
    """The model and the conditions that a line of probes.jsonl belongs to; lines that differ here are never mixed."""

    weights: str
    encoding_override: str | None
    positions: str
    eval_seed: int


def eval_identity_of(line: Mapping[str, Any]) -> tuple[Any, ...]:
    """The values of a line that EvalIdentity has, in its order; None for those that the line does not have."""
    return tuple(line.get(key) for key in EvalIdentity.__annotations__)


class ShiftScores(TypedDict):
    """How a model's answers change when the content moves `shift` positions: alone, or behind a prefix of random symbols."""

    probe: Literal["positions", "prefix"]
    shift: int
    n: int  # number of sequences
    logits_mean: float  # absolute change of a logit
    logits_max: float
    kl_mean: float  # KL divergence of the shifted prediction from the first, in nats
    kl_max: float
    changed: float  # share of answer tokens whose likeliest token changed
    exact_match_before: float
    exact_match: float
    token_accuracy_before: float
    token_accuracy: float
    attention: list[float]  # per layer, the share of attention that went elsewhere
    on_prefix: list[float]  # per layer, the share of attention on the prefix
    untrained_positions: float
    seconds: float


class ShiftLine(ShiftScores, EvalIdentity):
    """A line of probes.jsonl that `rpe inspect --shift` writes."""

    length: int
    fingerprint: str


class ToeplitzFit(TypedDict):
    """How much of a matrix over (query, key) a function of the distance i-j explains, as R^2; None if it is constant."""

    r2: float | None  # by f(i-j)
    r2_row_centered: float | None  # by f(i-j) + g(i), relative to g(i) alone
    r2_chance: float | None  # expected r2 of noise


class HeadFit(ToeplitzFit):
    head: int  # from 1


class HeadAttention(TypedDict):
    """Where one head attends, over the rows that predict the answer."""

    head: int  # from 1
    distance: float  # mean attended distance, in tokens
    entropy: float  # nats
    uniform: float  # entropy of equal weights
    by_distance: list[float]  # mean weight by distance 0..T-1; -(T-1)..T-1 in bidirectional attention


class HeadTerms(TypedDict):
    """The shares of the four terms of a first-layer head's scores, by name, and the fit of its position-position term."""

    head: int  # from 1
    share: dict[str, float]
    covariance: dict[str, float]
    toeplitz: ToeplitzFit


class LengthAttention(TypedDict):
    """What `rpe inspect` measures at one length."""

    length: int
    sequence: int  # tokens that the model reads
    n: int  # number of sequences
    layers: list[list[HeadAttention]]
    scores: list[list[HeadFit]] | None  # of the mean scores per layer; None where the matrices are too large
    terms: list[HeadTerms] | None  # None too where no position is added to the embeddings


class PatternedHead(TypedDict):
    """A head that holds most of its attention at one distance or place."""

    layer: int  # from 1
    head: int  # from 1
    pattern: str  # in words: `distance n+1`
    family: str
    growth: int  # of the offset, in lengths
    offset: int
    share: dict[str, float]  # of its attention, by length


def strongest_head(heads: Sequence[PatternedHead], length: int) -> PatternedHead | None:
    """The head with the most weight on its pattern at a length; one whose pattern grows with the length before all others."""
    return max(heads, key=lambda head: (head["growth"] > 0, head["share"].get(str(length), 0.0)), default=None)


class AttentionMap(TypedDict):
    """What one head attends to in one sequence: a row per answer token, a character per key, 0 to 9 for weights 0 to 1."""

    layer: int  # from 1
    head: int  # from 1
    pattern: str  # as in PatternedHead
    rows: dict[str, list[str]]  # by length


class AttentionScores(TypedDict):
    """Where and why the heads of a model attend."""

    normalizer: str
    train_length: int
    causal: bool
    lengths: list[LengthAttention]
    patterned_heads: list[PatternedHead]
    attention_map: AttentionMap | None  # of the head with the largest share in its pattern; None without such a head


class AttentionLine(AttentionScores, EvalIdentity):
    """A line of probes.jsonl that `rpe inspect` writes."""

    probe: Literal["attention"]
    fingerprints: dict[str, str]  # of the evaluation sets, by length


class LayerSimilarity(TypedDict):
    """How alike a layer of two runs attends: 1 - JS/ln 2 of its mean over heads, and of the best pairing of heads."""

    mean: float
    paired: float
    pairs: list[list[int]]  # heads, from 1


class RunIdentity(EvalIdentity):
    run: str


class SimilarityLine(EvalIdentity):
    """A line of probes.jsonl of the run whose name sorts first, about the run `other`."""

    probe: Literal["similarity"]
    length: int
    fingerprint: str
    other: RunIdentity
    layers: list[LayerSimilarity]


ProbeLine = ShiftLine | AttentionLine | SimilarityLine

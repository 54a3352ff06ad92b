"""Memory that a run needs at least, from the numbers of its recipe alone: said before anything of that size is made."""

from collections.abc import Iterable

from rpecli.config.recipe import Config, EvalSettings
from rpecli.evaluate.eval_set import eval_lengths
from rpecli.task import Task

SHIFTED = 32  # sequences
MOST_PRODUCTS = 1e15  # that are measured: some hours on a processor
FLOAT, TOKEN = 4, 9  # bytes; a token of an evaluation set has its number and whether it is scored
SCORES = 1652  # bytes of the scores of a sequence, twice 826: they are concatenated (evaluate/measure.py: SequenceScores)


def training_bytes(config: Config, sequence: int, vocabulary: int) -> int:
    """Weights, gradients and the two averages of AdamW, and what the backward pass reads, without attention."""
    parameters = config.n_layer * config.d_model**2 * (4 + 2 * config.mlp_ratio) + vocabulary * config.d_model
    tokens = config.batch * sequence if config.batch else max(config.tokens, sequence)  # a batch has one sequence at least
    activations = config.loops * config.n_layer * tokens * config.d_model * (6 + 2 * config.mlp_ratio)
    return FLOAT * (4 * parameters + activations)


def evaluation_set_bytes(settings: EvalSettings, sequence: int, scored: bool = True) -> int:
    """The sequences of one length, which are drawn before they are measured, and their scores."""
    return (TOKEN * sequence + SCORES * scored) * settings.n_sequences(sequence)


def validation_bytes(config: Config, lengths: Iterable[int]) -> int:
    """The sequences of validations at these lengths, which are held through all of training."""
    return TOKEN * config.validation_samples * sum(lengths)


def evaluation_tokens(config: Config, task: Task) -> int:
    """Tokens of the evaluation sets of a run, all lengths together."""
    sequences = map(task.sequence, eval_lengths(config, task))
    return sum(sequence * config.eval.n_sequences(sequence) for sequence in sequences)


def shift_bytes(config: Config, sequence: int, shift: int) -> int:
    """Hidden states of one sequence behind a prefix, and the attention of its answer in every layer."""
    tokens = sequence + shift
    return FLOAT * tokens * (config.d_model * (6 + 2 * config.mlp_ratio) + config.n_layer * config.n_head * sequence // 2)


def shift_products(config: Config, sequence: int, shift: int) -> float:
    """Multiplications of the attention behind a prefix, of the sequences that a shift is measured on."""
    return 2.0 * SHIFTED * config.n_layer * config.d_model * (sequence + shift) ** 2


def evaluation_products(config: Config, sequence: int) -> float:
    """Multiplications of the attention over the sequences of one length."""
    return 2.0 * config.eval.n_sequences(sequence) * config.n_layer * config.d_model * sequence**2

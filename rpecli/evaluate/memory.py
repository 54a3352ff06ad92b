"""How many sequences fit a batch, how much memory an evaluation needs, and whether an error says that memory ran out."""

import torch

from rpecli import data
from rpecli.attention import dispatch as attention
from rpecli.attention.blocks import BlockSizes
from rpecli.encoding import Encoding, overrides, rotated_width
from rpecli.model import LoadedModel

BATCH_TOKENS = 16384  # tokens per forward pass; one sequence at least
# Where torch has no exception type: messages of the CPU's allocator and of Metal's.
ALLOCATOR_MESSAGES = ("DefaultCPUAllocator", "MPS backend out of memory")


def batch_size_for(T: int, batch_tokens: int = BATCH_TOKENS) -> int:
    """The number of sequences of T tokens in a batch."""
    return max(1, batch_tokens // T)


def ran_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on whatever device."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(message in str(error) for message in ALLOCATOR_MESSAGES)


def memory_problem(loaded: LoadedModel, length: int, available: int) -> str | None:
    """Why a length cannot be evaluated in `available` bytes; None if it can, and on other devices than the CPU."""
    if loaded.device.type != "cpu":
        return None
    needed = peak_memory(loaded, length)
    if needed <= available:  # a sequence has at least `length` tokens; only now is it safe to draw one and count them
        needed = peak_memory(loaded, loaded.task.sequence(length))
    if needed <= available:
        return None
    return f"length {length}: needs about {needed / 2**30:.0f} GiB, {available / 2**30:.0f} GiB are free: leave it out"


def peak_memory(loaded: LoadedModel, T: int) -> int:
    """Bytes that a batch of sequences of T tokens takes at its peak, in an MLP or in attention, within a factor of 2."""
    config = loaded.config
    tokens = T * min(batch_size_for(T), config.eval.samples)
    contiguous = data.fixed_kind(config) == "start"
    with torch.no_grad(), loaded.device:
        layers = {
            _attention_floats(
                encoding.on_scores,
                config.normalizer,
                tokens,
                T,
                contiguous and not overrides(encoding, "relocate"),
                loaded.model.block_sizes,
            )
            for encoding in loaded.model.current
        }
    mlp_floats = tokens * config.d_model * (2 * config.mlp_ratio + 10)
    return int(4 * (max(mlp_floats, *layers) + tokens * loaded.task.vocabulary))


def _attention_floats(encoding: Encoding, normalizer: str, tokens: int, T: int, contiguous: bool, sizes: BlockSizes) -> float:
    """Numbers that attention holds at once: those of every token, and a block of scores if the kernel has one."""
    shape = encoding.shape
    kernel = attention.kernel(encoding, normalizer, by_curve=contiguous and shape.causal)
    width = shape.d_head if kernel == "curve" else rotated_width(encoding)
    per_token = tokens * shape.n_head * (6 * shape.d_head + 4 * width)  # q, k, v; q and k rotated, which may widen them; y
    if kernel == "plain" or (kernel == "distance" and contiguous):
        return per_token
    if kernel == "curve":
        rows = sizes.curve_rows
        return per_token + encoding.score_buffers(rows, T) * max(2 * sizes.cells, rows * tokens)
    keys = tokens if kernel == "eager" else T  # a bias is the same for all sequences
    rows = min(T, sizes.rows(T, keys // T))
    return per_token + encoding.score_buffers(rows, T) * shape.n_head * rows * keys

"""How much memory an evaluation needs, and how many sequences fit a batch."""

import torch

from rpecli import data
from rpecli.attention import dispatch as attention
from rpecli.attention.blocks import BlockSizes
from rpecli.device import available_memory
from rpecli.encoding import Encoding, QueryKey
from rpecli.model import LoadedModel

BATCH_TOKENS = 16384  # tokens in one forward pass; one sequence at least


def _why_not(loaded: LoadedModel, length: int) -> str | None:
    if loaded.device.type != "cpu":
        return None
    there, needed = available_memory(), memory(loaded, length)
    if needed <= there:  # only then can one sequence be drawn, to count its tokens
        needed = memory(loaded, loaded.task.sequence(length))
    if needed > there:
        return f"length {length}: needs about {needed / 2**30:.0f} GiB, {there / 2**30:.0f} GiB are free: leave it out"
    return None


def memory(loaded: LoadedModel, T: int) -> int:
    """Bytes that one batch of sequences of T tokens takes at its peak, within a factor of 2: in an MLP, or in attention."""
    config = loaded.config
    tokens = T * min(at_once(T), config.eval.samples)
    running = data.fixed_kind(config) == "start"
    with torch.no_grad(), loaded.device:
        sizes = loaded.model.block_sizes
        layers = {_attended(each.on_scores, config.normalizer, tokens, T, running, sizes) for each in loaded.model.current}
    most = max(tokens * config.d_model * (2 * config.mlp_ratio + 10), *layers)
    return int(4 * (most + tokens * loaded.task.vocabulary))


def _attended(encoding: Encoding, normalizer: str, tokens: int, T: int, running: bool, sizes: BlockSizes) -> float:
    """Numbers there are at once in attention: those of every token, and a block of scores where the kernel has one."""
    shape = encoding.shape
    way = attention.kernel(encoding, normalizer, by_curve=running and shape.causal)
    width = shape.d_head if way == "curve" else _width(encoding)
    each = tokens * shape.n_head * (6 * shape.d_head + 4 * width)  # q, k, v, those turned, as wide as they are then, the result
    if way == "plain" or (way == "distance" and running):
        return each
    if way == "curve":
        return each + encoding.score_buffers(sizes.curve_rows, T) * max(2 * sizes.cells, sizes.curve_rows * tokens)
    keys = tokens if way == "eager" else T  # a bias is the same for all sequences
    rows = min(T, sizes.rows(T, keys // T))
    return each + encoding.score_buffers(rows, T) * shape.n_head * rows * keys


def _width(encoding: Encoding) -> int:
    """Of a head's queries once they are turned: tried with one token."""
    shape, at_1x1 = encoding.shape, torch.zeros(1, 1, dtype=torch.long)
    q_1xHx1xD, f = torch.zeros(1, shape.n_head, 1, shape.d_head), encoding.features(torch.zeros(1, 1, shape.d_model))
    return encoding.rotate(QueryKey.last(q_1xHx1xD, q_1xHx1xD, at_1x1, f))[0].shape[-1]


def at_once(tokens: int) -> int:
    """Sequences of so many tokens that go through the model together."""
    return max(1, BATCH_TOKENS // tokens)

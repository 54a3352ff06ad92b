"""FlexAttention with a bias of the distance, compiled: one more case on a GPU. Never run on one so far: not tested on a GPU."""

import torch
from torch import Tensor

from rpecli.bench import timing
from rpecli.encoding import DistanceBias, Encoding


def cases(made: dict[str, Encoding], q: Tensor, k: Tensor, v: Tensor) -> dict[str, timing.Call]:
    """A case for each encoding whose bias depends on the distance alone."""
    return {
        f"{choice} (FlexAttention)": call_of(each.to(q.device), q, k, v)
        for choice, each in made.items()
        if isinstance(each, DistanceBias)
    }


def call_of(made: DistanceBias, q: Tensor, k: Tensor, v: Tensor) -> timing.Call:
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    S = k.shape[2]
    with torch.no_grad():
        bias_HxS = made.by_distance(torch.arange(S, device=q.device, dtype=torch.float32)).contiguous()

    def biased(score: Tensor, b: Tensor, h: Tensor, i: Tensor, j: Tensor) -> Tensor:
        return score + bias_HxS[h, (i - j).clamp(min=0)]

    mask = create_block_mask(lambda b, h, i, j: i >= j, None, None, S, S, device=str(q.device))
    compiled = torch.compile(flex_attention)
    return lambda: compiled(q, k, v, score_mod=biased, block_mask=mask)

"""Numbers as sums of numbers of a short dtype: bfloat16 has 8 bits, too few for positions and for running sums."""

import torch
from torch import Tensor


def in_parts(x_BxHxSx1: Tensor, dtype: torch.dtype, n: int = 3) -> Tensor:
    """Numbers of `dtype` that add up to x, `[B, H, S, n]`, and x itself if the dtype is float32."""
    if dtype == torch.float32:
        return x_BxHxSx1
    parts, rest = [], x_BxHxSx1.detach()
    for _ in range(n):
        parts.append(rest.to(dtype).float())
        rest = rest - parts[-1]
    passes_gradient = x_BxHxSx1 - x_BxHxSx1.detach()
    return torch.cat([parts[0] + passes_gradient, *parts[1:]], dim=-1)


def product(a_BxHxTx1: Tensor, b_BxHxSx1: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Channels of queries and keys whose dot products are a_i b_j: one of each in float32, every pair of parts in `dtype`."""
    a_BxHxTxN, b_BxHxSxN = in_parts(a_BxHxTx1, dtype), in_parts(b_BxHxSx1, dtype)
    n, one_N = b_BxHxSxN.shape[-1], [1] * (b_BxHxSxN.dim() - 1)
    return a_BxHxTxN.repeat_interleave(n, dim=-1), b_BxHxSxN.repeat(*one_N, a_BxHxTxN.shape[-1])

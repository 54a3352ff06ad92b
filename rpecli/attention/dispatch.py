"""Attention with any encoding: picks the kernel that serves it (kernels.py says which), and applies the scale and the normalizer.

Rows are the last T of S keys. In causal attention a row sees the keys up to its own place, whatever their positions are.
"""

from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from rpecli.attention import cpu_bfloat16, cpu_float32, kernels
from rpecli.attention.blocks import BlockSizes, Toeplitz, bias_blocks, curve_blocks, distance_blocks, eager_blocks, falling_bias
from rpecli.attention.reference import NORMALIZERS, causal_mask, without_padding
from rpecli.encoding import DistanceBias, DistanceCurve, Encoding, QueryKey, overrides


@dataclass(frozen=True)
class ForwardContext:
    """What all layers of one forward pass share.

    `padding_mask_BxS` is true for padding keys. `contiguous_positions` promises consecutive positions, so that one vector holds a
    bias by distance. `bias_cache` keeps dense biases of contiguous positions by the id of their encoding, so that layers which
    share an encoding build its bias once.
    """

    padding_mask_BxS: Tensor | None = None
    contiguous_positions: bool = False
    bias_cache: dict[int, Tensor] | None = None
    sizes: BlockSizes = field(default_factory=BlockSizes)


def kernel(encoding: Encoding, normalizer: str = "softmax", by_curve: bool = True) -> str:
    """The name of the kernel that serves an encoding; `by_curve` is false where the curve kernel does not apply."""
    encoding = encoding.on_scores
    if normalizer != "softmax":
        return "eager"
    curve = by_curve and isinstance(encoding, DistanceCurve) and type(encoding).score in (DistanceCurve.score, Encoding.score)
    return kernels.choose(
        score=overrides(encoding, "score") and not curve,
        curve=curve,
        distance=isinstance(encoding, DistanceBias),
        bias=overrides(encoding, "bias"),
    )


def attend(
    encoding: Encoding,
    qk: QueryKey,
    v_BxHxSxD: Tensor,
    context: ForwardContext = ForwardContext(),
    normalizer: str = "softmax",
) -> Tensor:
    """normalizer(scores) v, `[B, H, T, D]`, for any encoding.

    `qk` holds raw queries and keys, in float32 or bfloat16 as the values. The output is float32, or bfloat16 if the values are
    and a kernel for it serves. `normalizer` is one of NORMALIZERS.
    """
    encoding, padding_mask_BxS, trains = encoding.on_scores, context.padding_mask_BxS, torch.is_grad_enabled()
    if qk.k_feat_BxHxSxF is not None and padding_mask_BxS is not None:
        features = without_padding(qk.k_feat_BxHxSxF, padding_mask_BxS)
        qk = QueryKey.last(qk.q_BxHxTxD, qk.k_BxHxSxD, qk.k_pos_BxS, features)
    one_way = encoding.shape.causal and padding_mask_BxS is None
    by_curve = context.contiguous_positions and qk.lengths[0] > 1 and not trains and one_way
    name = kernel(encoding, normalizer, by_curve)
    if name == "curve":
        assert isinstance(encoding, DistanceCurve)
        return curve_blocks(encoding, qk, v_BxHxSxD, context.sizes)
    fused = name != "eager" and padding_mask_BxS is None
    qk, v_BxHxSxD = _in_kernel_dtype(encoding, qk, v_BxHxSxD, fused)
    if not fused:
        return eager_blocks(encoding, qk, v_BxHxSxD, padding_mask_BxS, NORMALIZERS[normalizer], context.sizes)
    q, k = encoding.rotate(qk)
    qk = replace(qk, q_BxHxTxD=q, k_BxHxSxD=k)
    D, wider = v_BxHxSxD.shape[-1], q.shape[-1] - v_BxHxSxD.shape[-1]
    v = F.pad(v_BxHxSxD, (0, wider)) if wider else v_BxHxSxD  # other widths fall off the fused kernel, 4 to 8 times slower
    if name == "plain":
        out = _plain(encoding, qk, v)
    elif trains or qk.lengths[1] <= context.sizes.dense_keys:
        out = _dense(encoding, qk, v, _cached_bias(encoding, qk, context))
    elif context.contiguous_positions and isinstance(encoding, DistanceBias):
        out = distance_blocks(encoding, qk, v)
    else:
        out = bias_blocks(encoding, qk, v, context.sizes)
    return out[..., :D] if wider else out


def _in_kernel_dtype(encoding: Encoding, qk: QueryKey, v: Tensor, fused: bool) -> tuple[QueryKey, Tensor]:
    """bfloat16 only where a kernel gains by it, and rotations always of float32."""
    if v.dtype != torch.bfloat16:
        return qk, v
    gains = fused and _gains_by_bfloat16(encoding, qk)
    if not gains or overrides(encoding, "rotate"):
        qk = replace(qk, q_BxHxTxD=qk.q_BxHxTxD.float(), k_BxHxSxD=qk.k_BxHxSxD.float())
    if gains:
        qk = replace(qk, product_dtype=v.dtype)
    return qk, v if gains else v.float()


def _gains_by_bfloat16(encoding: Encoding, qk: QueryKey) -> bool:
    """Whether training has a kernel that is faster in bfloat16: cpu_bfloat16 on a CPU, PyTorch's elsewhere."""
    if qk.device.type != "cpu":
        return torch.is_grad_enabled()
    return encoding.shape.causal and cpu_bfloat16.helps(qk.q_BxHxTxD, qk.k_BxHxSxD)


def _plain(encoding: Encoding, qk: QueryKey, v: Tensor) -> Tensor:
    (T, S), causal, scale = qk.lengths, encoding.shape.causal, encoding.shape.scale
    if (out := _cpu_training(encoding, qk, v, None)) is not None:
        return out
    q, k = qk.q_BxHxTxD.to(v.dtype), qk.k_BxHxSxD.to(v.dtype)
    if T == S or not causal:
        return F.scaled_dot_product_attention(q, k, v, is_causal=causal, scale=scale)
    mask = ~causal_mask(T, S, q.device) if T > 1 else None  # the flag would line up the first rows, not the last
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale)


def _dense(encoding: Encoding, qk: QueryKey, v: Tensor, bias: Tensor) -> Tensor:
    if (out := _cpu_training(encoding, qk, v, bias)) is not None:
        return out
    q, k, bias = qk.q_BxHxTxD.to(v.dtype), qk.k_BxHxSxD.to(v.dtype), bias.to(v.dtype)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=bias, scale=encoding.shape.scale)


def _cpu_training(encoding: Encoding, qk: QueryKey, v: Tensor, bias: Tensor | None) -> Tensor | None:
    """The output of one of this package's CPU kernels if one applies and is faster than PyTorch's."""
    q, k, scale = qk.q_BxHxTxD, qk.k_BxHxSxD, encoding.shape.scale
    if v.dtype == torch.bfloat16 and v.device.type == "cpu":  # still bfloat16 only where the kernel helps
        return cpu_bfloat16.attend(q, k, v, bias, scale)
    if encoding.shape.causal and cpu_float32.helps(q, k, bias):
        return cpu_float32.attend(q, k, v, bias, scale)
    return None


def _cached_bias(encoding: Encoding, qk: QueryKey, context: ForwardContext) -> Tensor:
    """The dense bias, ready for products in `qk.product_dtype`; its last rows if an earlier layer has built more of them."""
    cache, (T, _) = context.bias_cache, qk.lengths
    if cache is None or not context.contiguous_positions:
        return _for_rounding(dense_bias(encoding, qk, context.contiguous_positions), qk.product_dtype)
    if id(encoding) not in cache or cache[id(encoding)].shape[2] < T:
        cache[id(encoding)] = _for_rounding(dense_bias(encoding, qk, contiguous_positions=True), qk.product_dtype)
    bias = cache[id(encoding)]
    return bias[:, :, bias.shape[2] - T :]


def _for_rounding(bias: Tensor, dtype: torch.dtype) -> Tensor:
    """A bias that may be rounded to `dtype`: less the largest of each row, which a softmax does not see.

    bfloat16 is off by up to 0.4 %, of a bias of 30 that all keys have in common by 0.1.
    """
    return bias if dtype == torch.float32 else bias - bias.detach().amax(-1, keepdim=True)


def dense_bias(encoding: Encoding, qk: QueryKey, contiguous_positions: bool) -> Tensor:
    """The whole bias `[B or 1, H, T, S]`, minus infinity for the future in causal attention."""
    T, S = qk.lengths
    if contiguous_positions and isinstance(encoding, DistanceBias):
        bias_HxTxS: Tensor = Toeplitz.apply(falling_bias(encoding, S, -T, qk.device), T)
        return bias_HxTxS[None]
    bias = encoding.bias(qk.q_pos_BxT, qk.k_pos_BxS)
    return bias.masked_fill(causal_mask(T, S, qk.device), -torch.inf) if encoding.shape.causal else bias

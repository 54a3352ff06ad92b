"""Scores, masks and normalizers: attention as its formula reads."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from rpecli.encoding import Encoding, QueryKey, overrides

MASKED = -1e4  # a score below it is a mask, whatever number an encoding masks with


def split_heads(x_BxTxM: Tensor, n_head: int) -> Tensor:
    """`[B, T, M]` to `[B, H, T, D]`."""
    return x_BxTxM.unflatten(-1, (n_head, -1)).transpose(1, 2)


def scores(
    encoding: Encoding,
    q_BxHxTxD: Tensor,
    k_BxHxSxD: Tensor,
    x_BxSxM: Tensor | None = None,
    positions: Tensor | None = None,
    padding_mask_BxS: Tensor | None = None,
) -> Tensor:
    """Pre-softmax logits `[B, H, T, S]`, scaled and biased but not masked: the plain reference of every kernel.

    The queries are those of the last T of the S keys. `x_BxSxM` is the layer's normalized input, which encodings with features
    need. `positions` are those of the keys, `[S]` or `[B or 1, S]`; by default 0, 1, ... `padding_mask_BxS` is true for padding
    keys: their features become 0, but they are not masked either.
    """
    encoding = encoding.on_scores
    positions = torch.arange(k_BxHxSxD.shape[2], device=q_BxHxTxD.device) if positions is None else positions
    positions_BxS = positions[None] if positions.dim() == 1 else positions
    features = encoding.features(x_BxSxM) if x_BxSxM is not None else None
    qk = QueryKey.last(q_BxHxTxD, k_BxHxSxD, positions_BxS, without_padding(features, padding_mask_BxS))
    return compute_logits(encoding, qk, encoding.rotate(qk))


def compute_logits(encoding: Encoding, qk: QueryKey, rotated: tuple[Tensor, Tensor]) -> Tensor:
    """Logits `[B, H, T, S]` of raw queries and keys and of those that `rotate` has returned."""
    q, k = rotated
    logits_BxHxTxS = q @ k.transpose(-1, -2) * encoding.shape.scale
    if overrides(encoding, "bias"):
        logits_BxHxTxS = logits_BxHxTxS + encoding.bias(qk.q_pos_BxT, qk.k_pos_BxS)
    return encoding.score(logits_BxHxTxS, qk)


def without_padding(feat_BxHxSxF: Tensor | None, padding_mask_BxS: Tensor | None) -> Tensor | None:
    """Features with 0 for padding tokens, so that sums over tokens do not depend on the padding."""
    if feat_BxHxSxF is None or padding_mask_BxS is None:
        return feat_BxHxSxF
    return feat_BxHxSxF.masked_fill(padding_mask_BxS[:, None, :, None], 0.0)


def causal_mask(T: int, S: int, device: torch.device | str = "cpu") -> Tensor:
    """True where a row must not look, at the keys after its own place: `[T, S]`, the rows the last T of S."""
    return torch.ones(T, S, dtype=torch.bool, device=device).triu(S - T + 1)


def stick_breaking(logits: Tensor, masked: Tensor) -> Tensor:
    """att_ij = sigmoid(z_ij) prod_{j<l<i} (1 - sigmoid(z_il)), without the token itself; rows need not sum to 1.

    Tan et al. 2024, "Scaling Stick-Breaking Attention", arXiv 2410.17980. `masked` is true where a row must not look.
    """
    T, S = logits.shape[-2:]
    masked = masked | torch.ones(T, S, dtype=torch.bool, device=logits.device).triu(S - T)  # the token itself too
    log_rest = F.logsigmoid(-logits).masked_fill(masked, 0.0)
    between = F.pad(log_rest[..., 1:], (0, 1)).flip(-1).cumsum(-1).flip(-1)  # summed over the keys after j
    return (F.logsigmoid(logits) + between).exp().masked_fill(masked, 0.0)


def softmax(logits: Tensor, masked: Tensor) -> Tensor:
    """Softmax over the keys that are not `masked`. A row with all keys masked (padding) sees all of them; nobody reads it."""
    return logits.masked_fill(masked & ~masked.all(-1, keepdim=True), -torch.inf).softmax(-1)


Normalizer = Callable[[Tensor, Tensor], Tensor]
NORMALIZERS: dict[str, Normalizer] = {"softmax": softmax, "stick-breaking": stick_breaking}

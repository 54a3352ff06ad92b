"""Scores, masks and normalizers: attention as its formula reads."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from rpecli.encoding import Encoding, overrides


def scores(
    encoding: Encoding,
    q: Tensor,
    k: Tensor,
    x: Tensor | None = None,
    positions: Tensor | None = None,
    hidden_BxS: Tensor | None = None,
) -> Tensor:
    """Pre-softmax logits `[B, H, T, S]`, scale and bias included, no mask: the plain reference of every kernel.

    `q_BxHxTxD`, `k_BxHxSxD`; `x_BxSxM` where the encoding takes features of the layer's input; `positions` `[S]` or
    `[B or 1, S]` of the keys (0, 1, ... unless given), the queries being the last T of them. `hidden_BxS` marks padding keys,
    which are not masked either.
    """
    T, S = q.shape[2], k.shape[2]
    positions = torch.arange(S, device=q.device) if positions is None else positions
    k_pos = positions.expand(1, S) if positions.dim() == 1 else positions
    kf = _without_padding(encoding.features(x) if x is not None else None, hidden_BxS)
    qf = None if kf is None else kf[:, :, S - T :]
    return _logits(encoding, q, k, k_pos[:, S - T :], k_pos, qf, kf)


def _without_padding(f: Tensor | None, hidden_BxS: Tensor | None) -> Tensor | None:
    """Features of the last tokens, 0 where they are padding: what adds up over tokens must not depend on it."""
    if f is None or hidden_BxS is None:
        return f
    return f.masked_fill(hidden_BxS[:, None, hidden_BxS.shape[1] - f.shape[2] :, None], 0.0)


def causal_mask(T: int, S: int, device: torch.device | str = "cpu") -> Tensor:
    """True where a row may not look: keys after its own place. `[T, S]`, rows the last T of S."""
    return torch.ones(T, S, dtype=torch.bool, device=device).triu(S - T + 1)


def stick_breaking(logits: Tensor, dark: Tensor) -> Tensor:
    """att_ij = sigmoid(z_ij) prod_{j<l<i} (1 - sigmoid(z_il)), the token itself left out; rows need not sum to 1.

    Tan et al. 2024, "Scaling Stick-Breaking Attention", arXiv 2410.17980. `dark` is true where a row may not look.
    """
    S = logits.shape[-1]
    itself = torch.ones(logits.shape[-2], S, dtype=torch.bool, device=logits.device).triu(S - logits.shape[-2])
    dark = dark | itself
    kept = F.logsigmoid(-logits).masked_fill(dark, 0.0)
    between = F.pad(kept[..., 1:], (0, 1)).flip(-1).cumsum(-1).flip(-1)  # over the keys behind j
    return (F.logsigmoid(logits) + between).exp().masked_fill(dark, 0.0)


def softmax(logits: Tensor, dark: Tensor) -> Tensor:
    """Softmax over the keys that are not `dark`; a row that sees none (padding) may look anywhere, nobody reads it."""
    return logits.masked_fill(dark & ~dark.all(-1, keepdim=True), -torch.inf).softmax(-1)


Normalizer = Callable[[Tensor, Tensor], Tensor]


NORMALIZERS: dict[str, Normalizer] = {"softmax": softmax, "stick-breaking": stick_breaking}


def _logits(
    encoding: Encoding, q: Tensor, k: Tensor, q_pos: Tensor, k_pos: Tensor, qf: Tensor | None, kf: Tensor | None
) -> Tensor:
    return _scored(encoding, encoding.rotate(q, k, q_pos, k_pos, qf, kf), q, k, q_pos, k_pos, qf, kf)


def _scored(
    encoding: Encoding,
    turned: tuple[Tensor, Tensor],
    q: Tensor,
    k: Tensor,
    q_pos: Tensor,
    k_pos: Tensor,
    qf: Tensor | None,
    kf: Tensor | None,
) -> Tensor:
    """Logits of queries and keys, raw and `turned`."""
    logits_BxHxTxS = turned[0] @ turned[1].transpose(-1, -2) * encoding.shape.scale
    if overrides(encoding, "bias"):
        logits_BxHxTxS = logits_BxHxTxS + encoding.bias(q_pos, k_pos)
    return encoding.score(logits_BxHxTxS, q, k, q_pos, k_pos, qf, kf)

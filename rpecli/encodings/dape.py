"""DAPE: a small network over all heads reads the scores and the bias of another encoding, and corrects their sum.

logit_ij = A_ij + B_ij + MLP([A_ij; B_ij]),  A_ij = q_i . k_j / sqrt(D), B the bias of the encoding `over`

MLP 2H -> 32 -> H over the heads of one pair, LeakyReLU, one network per layer (kind=v1, arXiv 2405.14722). With kind=v2
(arXiv 2410.04798) both of its layers are convolutions over 3 neighbouring keys. Keys that a row must not see are 0 before each
layer: keys after the row's own position, padding, and what would stand before the first key. In the authors' code the second
layer sees the first layer's output one key past the row's position, except at the end of the sequence; there a decoded token's
score of itself differs from that of a full pass, here it does not. `over` is any encoding with a bias, or none.
Past the training length the bias decides.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rpecli import encoding, options
from rpecli.encoding import Encoding, QueryKey, Shape
from rpecli.encodings import _require as require


class DAPE(Encoding):
    title = "DAPE"
    group = "content"
    paper = "DAPE: Data-Adaptive Positional Encoding for Length Extrapolation, 2024, arXiv 2405.14722"
    extrapolation = "as the bias under it"

    def __init__(self, shape: Shape, *, over: str = "alibi", kind: str = "v1", hidden: int = 32):
        super().__init__(shape)
        require.one_of(("v1", "v2"), kind=kind)
        require.at_least(1, hidden=hidden)
        if problem := options.parameters_problem(hidden * 3 * (3 if kind == "v2" else 1) * shape.n_head, "lower it"):
            raise ValueError(f"hidden={hidden} {problem}")
        self.over = _bias_encoding(over, shape)
        self.shift_invariant, self.kind = self.over.shift_invariant, kind
        window = (1, 3) if kind == "v2" else (1, 1)
        self.first = nn.Conv2d(2 * shape.n_head, hidden, window, padding="same")
        self.second = nn.Conv2d(hidden, shape.n_head, window, padding="same")

    def share_with(self, first: "DAPE") -> None:
        if first.over.shared:
            self.over = first.over
        self.over.share_with(first.over)

    def features(self, x_BxTxM: Tensor) -> Tensor | None:
        """1 for every token. The engine sets it to 0 for padding, which is how v2 tells padding apart."""
        return x_BxTxM.new_ones(len(x_BxTxM), 1, x_BxTxM.shape[1], 1) if self.kind == "v2" else None

    def score_buffers(self, rows: int, keys: int) -> float:
        return 6.0 + 2 * self.first.out_channels / self.shape.n_head  # hidden units before and after the ReLU

    def score(self, logits_BxHxTxS: Tensor, qk: QueryKey) -> Tensor:
        bias_BxHxTxS = torch.zeros_like(logits_BxHxTxS)
        if encoding.overrides(self.over, "bias"):
            bias_BxHxTxS = self.over.bias(qk.q_pos_BxT, qk.k_pos_BxS)
        visible_BxHxTxS = self._visible(logits_BxHxTxS, qk)
        pair_Bx2HxTxS = torch.cat([logits_BxHxTxS, bias_BxHxTxS.expand_as(logits_BxHxTxS)], dim=1) * visible_BxHxTxS
        hidden_BxUxTxS = F.leaky_relu(self.first(pair_Bx2HxTxS)) * visible_BxHxTxS
        return logits_BxHxTxS + bias_BxHxTxS + self.second(hidden_BxUxTxS)

    def _visible(self, logits_BxHxTxS: Tensor, qk: QueryKey) -> Tensor:
        """1 for the keys that a row sees, `[1, 1, T, S]` (v1) or `[B, 1, T, S]` (v2)."""
        T, S = qk.lengths
        visible_TxS = logits_BxHxTxS.new_ones(T, S).tril(S - T if self.shape.causal else S)
        return visible_TxS[None, None] if self.kind == "v1" else visible_TxS * qk.k_feat_BxHxSxF.transpose(2, 3)


def _bias_encoding(choice: str, shape: Shape) -> Encoding:
    over, positions_1xT = encoding.make(choice, shape), torch.arange(64)[None]
    if any(encoding.overrides(over, hook) for hook in ("embed", "rotate", "score")):
        raise ValueError(f"over={choice}: it does more than add a bias: write over=alibi or another bias, or over=none")
    if encoding.overrides(over, "bias") and not over.bias(positions_1xT, positions_1xT).tril().abs().max() < 1e4:
        raise ValueError(f"over={choice}: it masks keys, and the network would see nothing but the mask: write over=alibi")
    return over

"""DAPE: a small network over all heads looks at the scores and at another encoding's bias, and corrects their sum.

logit_ij = A_ij + B_ij + MLP([A_ij; B_ij]),  A_ij = q_i . k_j / sqrt(D), B the bias of the encoding `over`

MLP 2H -> 32 -> H over the heads of one pair, LeakyReLU, a network a layer (kind=v1, arXiv 2405.14722). kind=v2 (arXiv 2410.04798)
makes both of its layers convolutions over 3 neighbouring keys. What a row does not see is 0 to it, before each of the layers:
keys after its own place, padding, and what would stand before the first key. The authors' code lets the second layer see its
first layer's answer one key past the row's place, unless the sequence ends there; so there a decoded token's score of itself
differs from that of a full pass, here it does not. `over` is any encoding with a bias, or none.
Past the trained length the bias decides.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rpecli import encoding
from rpecli.encoding import Encoding, Shape


class DAPE(Encoding):
    group = "content"
    paper = "DAPE: Data-Adaptive Positional Encoding for Length Extrapolation, 2024, arXiv 2405.14722"
    unseen = "as the bias under it"

    def __init__(self, shape: Shape, *, over: str = "alibi", kind: str = "v1", hidden: int = 32):
        super().__init__(shape)
        if kind not in ("v1", "v2"):
            raise ValueError(f"kind is v1 or v2, not {kind!r}")
        if hidden < 1:
            raise ValueError(f"hidden={hidden}: the network needs at least one unit")
        self.over = _with_a_bias(over, shape)
        self.shift_invariant, self.kind = self.over.shift_invariant, kind
        window = (1, 3) if kind == "v2" else (1, 1)
        self.first = nn.Conv2d(2 * shape.n_head, hidden, window, padding="same")
        self.second = nn.Conv2d(hidden, shape.n_head, window, padding="same")

    def tie(self, first: "DAPE") -> None:
        if first.over.shared:
            self.over = first.over
        self.over.tie(first.over)

    def features(self, x_BxTxM: Tensor) -> Tensor | None:
        """1 for every token: of padding the engine makes 0, which is how v2 knows."""
        return x_BxTxM.new_ones(len(x_BxTxM), 1, x_BxTxM.shape[1], 1) if self.kind == "v2" else None

    def held(self, rows: int, keys: int) -> float:
        return 6.0 + 2 * self.first.out_channels / self.shape.n_head  # hidden units before and after the ReLU

    def score(
        self, logits: Tensor, q: Tensor, k: Tensor, q_pos: Tensor, k_pos: Tensor, qf: Tensor | None, kf: Tensor | None
    ) -> Tensor:
        T, S = logits.shape[-2:]
        bias = self.over.bias(q_pos, k_pos) if encoding.overrides(self.over, "bias") else torch.zeros_like(logits)
        lit = logits.new_ones(T, S).tril(S - T if self.shape.causal else S)
        lit_BxHxTxS = lit[None, None] if kf is None else lit * kf.transpose(2, 3)
        pair_Bx2HxTxS = torch.cat([logits, bias.expand_as(logits)], dim=1) * lit_BxHxTxS
        return logits + bias + self.second(F.leaky_relu(self.first(pair_Bx2HxTxS)) * lit_BxHxTxS)


def _with_a_bias(choice: str, shape: Shape) -> Encoding:
    over, places = encoding.make(choice, shape), torch.arange(64)[None]
    if any(encoding.overrides(over, hook) for hook in ("embed", "rotate", "score")):
        raise ValueError(f"over={choice}: it is more than a bias to look at: write over=alibi or another bias, or over=none")
    if encoding.overrides(over, "bias") and not over.bias(places, places).tril().abs().max() < 1e4:
        raise ValueError(f"over={choice}: it hides keys, and the network would see nothing but that: write over=alibi")
    return over

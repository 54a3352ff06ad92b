"""Every head prefers nearby tokens, at a rate that it learns.

logit_ij = q_i . k_j / sqrt(D) - softplus(r_h) ln(1 + i - j)
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rpecli.encoding import DistanceBias, Shape


class Template(DistanceBias):  # for a score that depends on the distance alone; any other encoding derives from Encoding
    paper = "title, year, arXiv id"
    group = "RPE"  # APE: absolute positions, RPE: distances, content: what the tokens hold; reports compare the groups
    shift_invariant = True  # scores do not change if all positions move by the same amount
    shared = False  # True: one instance, with one set of parameters, serves all layers
    causal_only = False  # True: it has no form for attention in both directions
    extrapolation = "the logarithm keeps growing"  # what happens past the training length, in a few words

    def __init__(self, shape: Shape, *, start: float = 0.0):  # an option has a default: --encoding ./FILE.py:start=1
        super().__init__(shape)  # shape: d_model, n_head, d_head, max_train_length (in tokens), causal
        self.rate_H = nn.Parameter(torch.full((shape.n_head,), start))

    def by_distance(self, distance: Tensor) -> Tensor:
        """Bias `[H, *distance.shape]` of distances i - j, of which the negative ones lie in the future."""
        rate_H = F.softplus(self.rate_H).view(-1, *[1] * distance.dim())
        return -rate_H * torch.log1p(distance.clamp(min=0))

    # The other hooks, of `rpecli.encoding.Encoding`. Define the one or two that the encoding needs and delete the rest: a hook
    # that is not defined changes nothing. B sequences, T queries, S keys (the queries are the last T of them), H heads,
    # D width of a head, M width of the model. Positions come from the engine: never make an `arange`.
    #
    # def embed(self, x_BxTxM, positions_BxT, ids_BxS):     adds to the token embeddings, once, before the first layer
    # def relocate(self, positions_BxS, ids_BxS):           other positions of all tokens so far, for the hooks on scores
    #     return x_BxTxM + ...                              [B, T, M]
    #
    # def features(self, x_BxTxM):                          of each token by itself, from a layer's input; None for none
    #     return ...                                        [B, H or 1, T, F]; qk has them as q_feat_BxHxTxF, k_feat_BxHxSxF
    #
    # def rotate(self, qk):                                 qk: q_BxHxTxD, k_BxHxSxD, q_pos_BxT, k_pos_BxS, distance_BxTxS
    #     return queries, keys                              [B, H, T, W] and [B, H, S, W], of any common width W
    #
    # def bias(self, q_pos_BxT, k_pos_BxS):                 a score that depends on the positions alone
    #     return ...                                        [B or 1, H, T, S]
    #
    # def score(self, logits_BxHxTxS, qk):                  other logits; the mask comes after this hook
    #     return logits_BxHxTxS + ...                       [B, H, T, S]

"""No encoding (NoPE): only the causal mask tells the order of the tokens.

logit_ij = q_i . k_j / sqrt(D)

Past the training length all scores are defined; attention spreads over more tokens.
"""

from rpecli.encoding import Encoding


class NoPE(Encoding):
    title = "NoPE"
    group = "none"
    baseline = True
    paper = "The Impact of Positional Encoding on Length Generalization in Transformers, 2023, arXiv 2305.19466"
    shared = True
    extrapolation = "defined; attention spreads"
    look = ("#000000", "o")

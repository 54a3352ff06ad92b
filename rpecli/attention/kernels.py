"""The kernels of attention, what each costs, and the rule by which one serves an encoding; loads no torch.

    kernel    serves encodings that have                     memory of evaluation     of training
    eager     their own score hook                           a block of rows x S      T x S
    curve     a score by distance (DistanceCurve)            a block of rows x S      T x S, or wider queries and keys
    distance  a bias by distance (DistanceBias)              linear                   T x S
    rows      any other bias                                 a block of rows x S      T x S
    plain     none of these                                  linear                   linear

Training, and evaluation of up to `BlockSizes.dense_keys`, build the whole bias for `distance` and `rows`. Attention with padding,
or with a normalizer other than the softmax, is eager. `curve` and `distance` need contiguous positions, `curve` also causal
attention: elsewhere `eager` or `plain` serves a score by distance, `rows` a bias by distance.

Forward time relative to plain causal attention (8 heads of 32, 2048 to 8192 tokens, one core of machine A in LOG.md): distance
1.0 to 1.15, wider queries and keys (FoX) 1.2, curve 1.2 (near distances only) to 1.7 (all distances), rows 2.4 to 2.6 (FIRE).
On a CPU, training runs `plain` and whole biases on the kernels of cpu_float32 and, for bfloat16, cpu_bfloat16.
"""

COST = {
    "plain": "fused attention without a bias; memory grows with n, as with no encoding",
    "distance": "one vector of biases per head, read as a view by blocks of queries; evaluation needs memory that grows with n, "
    "training a bias of n x n",
    "curve": "scores of a block of queries with every distance, each row read at its own offset; evaluation needs memory for a "
    "block x n, training for all scores, or for the wider queries and keys",
    "rows": "rows of the bias, a block of queries at a time; evaluation needs memory for a block x n, training a bias of n x n",
    "eager": "scores of a block of queries at a time, without a fused kernel and therefore the slowest; evaluation needs memory "
    "for a block x n, training for all scores, n x n",
}


def choose(*, score: bool, curve: bool, distance: bool, bias: bool) -> str:
    """The kernel of an encoding: whether it has its own score hook, derives from DistanceCurve or DistanceBias, has a bias."""
    if score:
        return "eager"
    if curve:
        return "curve"
    if distance:
        return "distance"
    return "rows" if bias else "plain"

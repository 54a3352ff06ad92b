"""The encodings written a second time, plainly: one query and one key at a time, float64, no hook, no kernel.

A function of PAIR gives the logit of query q at position i and key k at position j in one head; one of EMBED gives what is
added to a token's embedding at position i. Options carry their defaults here, so that a changed default is noticed. An option
`length` of None is filled in with the evaluated length, the largest position + 1.
"""

import cmath
import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from rpecli.encoding import Encoding

Pair = Callable[..., float]


def array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().numpy().astype(np.float64)


def none(encoding: Encoding, q: np.ndarray, k: np.ndarray, i: int, j: int, head: int) -> float:
    return sum(q[d] * k[d] for d in range(len(q))) / math.sqrt(len(q))


def rope(
    encoding: Encoding, q: np.ndarray, k: np.ndarray, i: int, j: int, head: int, base: float = 10000, pairing: str = "interleaved"
) -> float:
    D, total = len(q), 0.0
    for c in range(D // 2):
        one, two = (c, c + D // 2) if pairing == "half" else (2 * c, 2 * c + 1)
        rotation = cmath.exp(1j * (i - j) * base ** (-2 * c / D))
        total += (complex(q[one], q[two]) * complex(k[one], k[two]).conjugate() * rotation).real
    return total / math.sqrt(D)


def slope(head: int, n_head: int) -> float:
    """The slope of one head, counted from 0."""
    below = 1
    while 2 * below <= n_head:
        below *= 2
    if head < below:
        return 2 ** (-8 * (head + 1) / below)
    return 2 ** (-8 * (2 * (head - below) + 1) / (2 * below))


def alibi(encoding: Encoding, q: np.ndarray, k: np.ndarray, i: int, j: int, head: int) -> float:
    return none(encoding, q, k, i, j, head) - slope(head, encoding.shape.n_head) * abs(i - j)


def bucket(distance: int, buckets: int = 32, max_distance: int = 128) -> int:
    """The formula's logarithms as whole numbers: ln(d/e) / ln(m/e) >= b/s where d^s e^b >= m^b e^s."""
    exact = buckets // 2
    steps = buckets - exact
    if distance < exact:
        return distance
    past = 0
    while past < steps - 1 and distance**steps * exact ** (past + 1) >= max_distance ** (past + 1) * exact**steps:
        past += 1
    return exact + past


def t5(
    encoding: Encoding, q: np.ndarray, k: np.ndarray, i: int, j: int, head: int, buckets: int = 32, max_distance: int = 128
) -> float:
    if encoding.shape.causal:
        row = bucket(i - j, buckets, max_distance)
    else:
        row = bucket(abs(i - j), buckets // 2, max_distance) + (buckets // 2 if j > i else 0)
    return none(encoding, q, k, i, j, head) + float(encoding.table_NxH[row, head])


def fire(encoding: Encoding, q: np.ndarray, k: np.ndarray, i: int, j: int, head: int, threshold: float | None = None) -> float:
    c, factor = float(encoding.c), float(encoding.factor)
    last = i if encoding.shape.causal else max(i, j)
    reach = max(last, abs(factor * (encoding.shape.max_train_length if threshold is None else threshold)))
    share = math.log(abs(c * (i - j)) + 1) / (math.log(abs(c * reach) + 1) + 1e-6)
    first, _, second = encoding.mlp
    total = float(second.bias[head])
    for weight, bias, out in zip(first.weight[:, 0].tolist(), first.bias.tolist(), second.weight[head].tolist(), strict=True):
        total += out * max(0.0, weight * share + bias)
    return none(encoding, q, k, i, j, head) + total


def transformer_xl(encoding: Encoding, q: np.ndarray, k: np.ndarray, i: int, j: int, head: int) -> float:
    u, v, w = (array(part[head]) for part in (encoding.u_HxD, encoding.v_HxD, encoding.w_HxDxM))
    M = w.shape[1]
    angles = [(i - j) * 10000 ** (-2 * c / M) for c in range(M // 2)]
    wave = np.array([math.sin(a) for a in angles] + [math.cos(a) for a in angles])
    return float((q + u) @ k + (q + v) @ (w @ wave)) / math.sqrt(len(q))


def shaw(encoding: Encoding, q: np.ndarray, k: np.ndarray, i: int, j: int, head: int, reach: int = 16) -> float:
    row = min(i - j, reach) if encoding.shape.causal else max(-reach, min(i - j, reach)) + reach
    return none(encoding, q, k + array(encoding.table_NxD[row]), i, j, head)


def sinusoidal_row(encoding: Encoding, i: int, base: float = 10000) -> list[float]:
    M = encoding.shape.d_model
    waves = ((math.sin, math.cos)[m % 2] for m in range(M))
    return [wave(i * base ** (-(m - m % 2) / M)) for m, wave in enumerate(waves)]


def learned_row(encoding: Encoding, i: int) -> list[float]:
    return encoding.table_RxM[i].tolist()


PAIR: dict[str, tuple[Pair, dict[str, object]]] = {
    "none": (none, {}),
    "learned": (none, {}),
    "sinusoidal": (none, {}),
    "rope": (rope, {}),
    "rope:pairing=half": (rope, {"pairing": "half"}),
    "rope:base=500": (rope, {"base": 500}),
    "alibi": (alibi, {}),
    "t5": (t5, {}),
    "t5:buckets=7:max_distance=20": (t5, {"buckets": 7, "max_distance": 20}),
    "fire": (fire, {}),
    "fire:threshold=40": (fire, {"threshold": 40}),
    "transformer-xl": (transformer_xl, {}),
    "shaw": (shaw, {}),
    "shaw:reach=3": (shaw, {"reach": 3}),
}

EMBED: dict[str, tuple[Callable[..., list[float]], dict[str, object]]] = {
    "sinusoidal": (sinusoidal_row, {}),
    "sinusoidal:base=100": (sinusoidal_row, {"base": 100}),
    "learned": (learned_row, {}),
}


def logits(choice: str, encoding: Encoding, q_BxHxTxD: Tensor, k_BxHxSxD: Tensor, positions_BxS: Tensor) -> np.ndarray:
    """Pre-softmax logits `[B, H, T, S]`, zero where a row may not look."""
    (pair, options), encoding = PAIR[choice], encoding.on_scores
    options = options | ({"length": int(positions_BxS.max()) + 1} if "length" in options else {})
    q, k, positions = array(q_BxHxTxD), array(k_BxHxSxD), positions_BxS.tolist()
    B, H, T, S = *q.shape[:3], k.shape[2]
    logits_BxHxTxS = np.zeros((B, H, T, S))
    with torch.no_grad():
        for b, h, row in np.ndindex(B, H, T):
            for key in range(S - T + row + 1 if encoding.shape.causal else S):
                i, j = positions[b][S - T + row], positions[b][key]
                logits_BxHxTxS[b, h, row, key] = pair(encoding, q[b, h, row], k[b, h, key], i, j, h, **options)
    return logits_BxHxTxS


def attention(
    logits_BxHxTxS: np.ndarray, v_BxHxSxD: np.ndarray, padding_mask_BxS: np.ndarray | None = None, causal: bool = True
) -> np.ndarray:
    """softmax(logits) v row by row over the keys up to the row's own place that are not padding; 0 if there is none."""
    B, H, T, S = logits_BxHxTxS.shape
    out = np.zeros((B, H, T, v_BxHxSxD.shape[-1]))
    for b, h, row in np.ndindex(B, H, T):
        keys = [j for j in range(S - T + row + 1 if causal else S) if padding_mask_BxS is None or not padding_mask_BxS[b, j]]
        if keys:
            weight = np.exp(logits_BxHxTxS[b, h, row, keys] - logits_BxHxTxS[b, h, row, keys].max())
            out[b, h, row] = weight / weight.sum() @ v_BxHxSxD[b, h, keys]
    return out

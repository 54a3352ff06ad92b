"""The encodings written a second time, plainly: one query and one key at a time, float64, no hook, no kernel.

A function of PAIR gives the logit of one query and one key in one head; one of EMBED gives what is added to a token's embedding
at position i. Options carry their defaults here, so that a changed default is noticed.
"""

import cmath
import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from rpecli.encoding import Encoding


@dataclass(frozen=True)
class Pair:
    """One query and one key of one head, in float64, at positions i and j; `length` is the largest position + 1."""

    encoding: Encoding
    head: int
    q: np.ndarray
    k: np.ndarray
    i: int
    j: int
    length: int

    @property
    def distance(self) -> int:
        return self.i - self.j

    @property
    def dot(self) -> float:
        """q . k / sqrt(D)."""
        return sum(self.q[d] * self.k[d] for d in range(len(self.q))) / math.sqrt(len(self.q))

    def rotated(self, c: int, width: int, angle: float, pairing: str = "interleaved") -> float:
        """The product of channel pair c, the query's an angle ahead of the key's."""
        a, b = (c, c + width // 2) if pairing == "half" else (2 * c, 2 * c + 1)
        q, k = complex(self.q[a], self.q[b]), complex(self.k[a], self.k[b])
        return (q * k.conjugate() * cmath.exp(1j * angle)).real


def array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().numpy().astype(np.float64)


def none(pair: Pair) -> float:
    return pair.dot


def rope(pair: Pair, base: float = 10000, pairing: str = "interleaved") -> float:
    D = len(pair.q)
    total = sum(pair.rotated(c, D, pair.distance * base ** (-2 * c / D), pairing) for c in range(D // 2))
    return total / math.sqrt(D)


def slope(head: int, n_head: int) -> float:
    """The slope of one head, counted from 0."""
    below = 1
    while 2 * below <= n_head:
        below *= 2
    if head < below:
        return 2 ** (-8 * (head + 1) / below)
    return 2 ** (-8 * (2 * (head - below) + 1) / (2 * below))


def alibi(pair: Pair) -> float:
    return pair.dot - slope(pair.head, pair.encoding.shape.n_head) * abs(pair.distance)


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


def t5(pair: Pair, buckets: int = 32, max_distance: int = 128) -> float:
    if pair.encoding.shape.causal:
        row = bucket(pair.distance, buckets, max_distance)
    else:
        row = bucket(abs(pair.distance), buckets // 2, max_distance) + (buckets // 2 if pair.distance < 0 else 0)
    return pair.dot + float(pair.encoding.table_NxH[row, pair.head])


def fire(pair: Pair, threshold: float | None = None) -> float:
    encoding, c, factor = pair.encoding, float(pair.encoding.c), float(pair.encoding.factor)
    last = pair.i if encoding.shape.causal else max(pair.i, pair.j)
    longest = max(last, abs(factor * (encoding.shape.max_train_length if threshold is None else threshold)))
    x = math.log(abs(c * pair.distance) + 1) / (math.log(abs(c * longest) + 1) + 1e-6)
    first, _, second = encoding.mlp
    units = zip(first.weight[:, 0].tolist(), first.bias.tolist(), second.weight[pair.head].tolist(), strict=True)
    return pair.dot + float(second.bias[pair.head]) + sum(out * max(0.0, weight * x + bias) for weight, bias, out in units)


def transformer_xl(pair: Pair) -> float:
    encoding, q, k = pair.encoding, pair.q, pair.k
    u, v, w = (array(part[pair.head]) for part in (encoding.u_HxD, encoding.v_HxD, encoding.w_HxDxM))
    M = w.shape[1]
    angles = [pair.distance * 10000 ** (-2 * c / M) for c in range(M // 2)]
    wave = np.array([math.sin(angle) for angle in angles] + [math.cos(angle) for angle in angles])
    return float((q + u) @ k + (q + v) @ (w @ wave)) / math.sqrt(len(q))


def shaw(pair: Pair, reach: int = 16) -> float:
    d = pair.distance
    row = min(d, reach) if pair.encoding.shape.causal else max(-reach, min(d, reach)) + reach
    return replace(pair, k=pair.k + array(pair.encoding.table_NxD[row])).dot


def sinusoidal_row(encoding: Encoding, i: int, base: float = 10000) -> list[float]:
    M = encoding.shape.d_model
    waves = ((math.sin, math.cos)[m % 2] for m in range(M))
    return [wave(i * base ** (-(m - m % 2) / M)) for m, wave in enumerate(waves)]


def learned_row(encoding: Encoding, i: int) -> list[float]:
    return encoding.table_RxM[i].tolist()


PAIR: dict[str, tuple[Callable[..., float], dict[str, object]]] = {
    "none": (none, {}),
    "learned": (none, {}),
    "sinusoidal": (none, {}),
    "rope": (rope, {}),
    "rope:pairing=half": (rope, {"pairing": "half"}),
    "rope:base=500": (rope, {"base": 500}),
    "alibi": (alibi, {}),
    "t5": (t5, {}),
    "t5:shared=false": (t5, {}),
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
    (logit, options), encoding = PAIR[choice], encoding.on_scores
    q, k, positions = array(q_BxHxTxD), array(k_BxHxSxD), positions_BxS.tolist()
    (B, H, T, S), length = (*q.shape[:3], k.shape[2]), int(positions_BxS.max()) + 1
    logits_BxHxTxS = np.zeros((B, H, T, S))
    with torch.no_grad():
        for b, h, row in np.ndindex(B, H, T):
            for key in range(S - T + row + 1 if encoding.shape.causal else S):
                i, j = positions[b][S - T + row], positions[b][key]
                logits_BxHxTxS[b, h, row, key] = logit(Pair(encoding, h, q[b, h, row], k[b, h, key], i, j, length), **options)
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

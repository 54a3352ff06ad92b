"""The encodings whose scores depend on content, written a second time: float64, loops over pairs and tokens, no hook, no kernel.

A function gives the logits `[H, S, S]` of one sequence (0 where a row may not look) from queries and keys `[H, S, D]`, the
layer's input `[S, M]` and positions. Options carry their defaults here, so that a changed default is noticed.
"""

import cmath
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from helpers import reference
from rpecli.encoding import Encoding


@dataclass(frozen=True)
class Sequence:
    """What one sequence brings to one layer, in float64."""

    q_HxSxD: np.ndarray
    k_HxSxD: np.ndarray
    x_SxM: np.ndarray
    positions: list[int]

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.q_HxSxD.shape

    def pairs(self) -> Iterator[tuple[int, int, int]]:
        """Every head, row and key that the row may see."""
        H, S, _ = self.shape
        return ((h, i, j) for h in range(H) for i in range(S) for j in range(i + 1))

    def dot(self, h: int, i: int, j: int) -> float:
        return float(self.q_HxSxD[h, i] @ self.k_HxSxD[h, j]) / math.sqrt(self.shape[2])


def for_pairs(s: Sequence, logit: Callable[[int, int, int], float]) -> np.ndarray:
    logits_HxSxS = np.zeros((s.shape[0], s.shape[1], s.shape[1]))
    for h, i, j in s.pairs():
        logits_HxSxS[h, i, j] = logit(h, i, j)
    return logits_HxSxS


def sigmoid(z: float) -> float:
    return 1 / (1 + math.exp(-z))


def cope(encoding: Encoding, s: Sequence, npos: int = 64) -> np.ndarray:
    table = reference.array(encoding.table_NxD)

    def logit(h: int, i: int, j: int) -> float:
        count = min(sum(sigmoid(s.dot(h, i, m)) for m in range(j, i + 1)), npos - 1)
        low, part = int(count), count - int(count)
        row = (1 - part) * table[low] + part * table[min(low + 1, npos - 1)]
        return s.dot(h, i, j) + float(s.q_HxSxD[h, i] @ row)

    return for_pairs(s, logit)


def fox(encoding: Encoding, s: Sequence) -> np.ndarray:
    w, b = reference.array(encoding.w_HxM), reference.array(encoding.b_H)
    log_gates = [[math.log(sigmoid(float(w[h] @ x) + b[h])) for x in s.x_SxM] for h in range(len(b))]
    return for_pairs(s, lambda h, i, j: s.dot(h, i, j) + sum(log_gates[h][j + 1 : i + 1]))


def convolved(f_SxC: np.ndarray, weight_CxW: np.ndarray) -> np.ndarray:
    """Each token's weighted sum of itself (the last weight) and those before it."""
    W, out = weight_CxW.shape[1], np.zeros_like(f_SxC)
    for t in range(len(f_SxC)):
        for back in range(min(W, t + 1)):
            out[t] += weight_CxW[:, W - 1 - back] * f_SxC[t - back]
    return out


def path(encoding: Encoding, s: Sequence, activation: str = "none") -> np.ndarray:
    H, S, D = s.shape
    down, up, b, b0 = map(reference.array, (encoding.down_RxM, encoding.up_MxR, encoding.b_HxM, encoding.b0_H))
    w_SxHxD = convolved(s.x_SxM @ down.T @ up.T, reference.array(encoding.conv.weight_CxW))
    if activation == "silu":
        w_SxHxD = w_SxHxD / (1 + np.exp(-w_SxHxD))
    w_SxHxD = w_SxHxD.reshape(S, H, D)
    logits_HxSxS = np.zeros((H, S, S))
    for h in range(H):
        reflections = []
        for t in range(S):
            w = w_SxHxD[t, h] / np.linalg.norm(w_SxHxD[t, h])
            reflections.append(np.eye(D) - 2 * sigmoid(float(b[h] @ s.x_SxM[t]) + b0[h]) * np.outer(w, w))
        for j in range(S):
            key = s.k_HxSxD[h, j]
            for i in range(j, S):
                key = reflections[i] @ key if i > j else key
                logits_HxSxS[h, i, j] = s.q_HxSxD[h, i] @ key / math.sqrt(D)
    return logits_HxSxS


def rotated_dot(q: np.ndarray, k: np.ndarray, angles: list[float], half: bool) -> float:
    """q . R k where pair c of the query stands angles[c] ahead of the key's, over sqrt(D)."""
    D, total = len(q), 0.0
    for c, angle in enumerate(angles):
        one, two = (c, c + D // 2) if half else (2 * c, 2 * c + 1)
        total += (complex(q[one], q[two]) * complex(k[one], k[two]).conjugate() * cmath.exp(1j * angle)).real
    return total / math.sqrt(D)


def selective_rope(encoding: Encoding, s: Sequence, base: float = 500000) -> np.ndarray:
    H, S, D = s.shape
    u_SxM = s.x_SxM.copy()
    for t in range(S):
        for h in range(H):
            here = slice(h * D, (h + 1) * D)
            u_SxM[t, here] /= np.linalg.norm(u_SxM[t, here])
    phi = u_SxM @ reference.array(encoding.down.weight).T @ reference.array(encoding.up.weight).T
    phi = convolved(phi, reference.array(encoding.conv.weight_CxW)).reshape(S, H, D // 2)

    def logit(h: int, i: int, j: int) -> float:
        between = phi[j + 1 : i + 1, h].sum(axis=0)
        angles = [float(between[c]) * base ** (-2 * c / D) for c in range(D // 2)]
        return rotated_dot(s.q_HxSxD[h, i], s.k_HxSxD[h, j], angles, half=True)

    return for_pairs(s, logit)


def rel_basis(encoding: Encoding, s: Sequence, width: int = 16, extent: int | None = None) -> np.ndarray:
    w, bank = reference.array(encoding.w_HRxM), reference.array(encoding.bank_RxN)
    extent = encoding.shape.max_train_length if extent is None else extent

    def logit(h: int, i: int, j: int) -> float:
        d = s.positions[i] - s.positions[j]
        own = w[h * width : (h + 1) * width] @ s.x_SxM[i]
        return s.dot(h, i, j) + (float(own @ bank[:, d]) if d < extent else 0.0)

    return for_pairs(s, logit)


def log_bucket(d: int, half: int, reach: int) -> int:
    """ceil(ln(d/half) / ln((reach-1)/half) (half-1)) + half in whole numbers, d itself up to half."""
    if d <= half:
        return d
    steps = 0
    while d ** (half - 1) * half**steps > (reach - 1) ** steps * half ** (half - 1):
        steps += 1
    return half + steps


def deberta(encoding: Encoding, s: Sequence, reach: int | None = None, buckets: int = 0) -> np.ndarray:
    D = s.shape[2]
    reach = encoding.shape.max_train_length if reach is None else reach
    table = reference.array(encoding.p_NxM)
    keys, queries = table @ reference.array(encoding.key_MxM), table @ reference.array(encoding.query_MxM)

    def logit(h: int, i: int, j: int) -> float:
        d = s.positions[i] - s.positions[j]
        row = min(log_bucket(d, buckets // 2, reach), buckets - 1) if buckets else min(d, reach - 1)
        here = slice(h * D, (h + 1) * D)
        q, k = s.q_HxSxD[h, i], s.k_HxSxD[h, j]
        return float(q @ k + q @ keys[row, here] + k @ queries[row, here]) / math.sqrt(3 * D)

    return for_pairs(s, logit)


def dape(encoding: Encoding, s: Sequence, kind: str = "v1", over: str = "alibi") -> np.ndarray:
    H, S, _ = s.shape
    steep = [reference.slope(h, H) if over == "alibi" else 0.0 for h in range(H)]
    inputs = np.zeros((2 * H, S, S))
    for h, i, j in s.pairs():
        inputs[h, i, j], inputs[H + h, i, j] = s.dot(h, i, j), -steep[h] * (s.positions[i] - s.positions[j])
    first, second = (reference.array(layer.weight)[:, :, 0] for layer in (encoding.first, encoding.second))
    b1, b2 = reference.array(encoding.first.bias), reference.array(encoding.second.bias)
    logits_HxSxS = np.zeros((H, S, S))
    for i in range(S):
        inner = _along_keys(inputs[:, i, : i + 1], first, b1)
        inner = np.where(inner > 0, inner, 0.01 * inner)
        logits_HxSxS[:, i, : i + 1] = inputs[:H, i, : i + 1] + inputs[H:, i, : i + 1] + _along_keys(inner, second, b2)
    return logits_HxSxS


def _along_keys(row_CxN: np.ndarray, weight_OxCxW: np.ndarray, bias_O: np.ndarray) -> np.ndarray:
    """A convolution over the keys of one row, 0 on either side of them."""
    (_, N), W = row_CxN.shape, weight_OxCxW.shape[2]
    out = np.zeros((len(bias_O), N)) + bias_O[:, None]
    for j in range(N):
        for tap in range(W):
            key = j + tap - W // 2
            if 0 <= key < N:
                out[:, j] += weight_OxCxW[:, :, tap] @ row_CxN[:, key]
    return out


def rotary_by(s: Sequence, distance: Callable[[int, int], float], base: float, half: bool) -> np.ndarray:
    """RoPE at a distance that is a function of the two positions."""
    D = s.shape[2]

    def logit(h: int, i: int, j: int) -> float:
        r = distance(s.positions[i], s.positions[j])
        return rotated_dot(s.q_HxSxD[h, i], s.k_HxSxD[h, j], [r * base ** (-2 * c / D) for c in range(D // 2)], half)

    return for_pairs(s, logit)


def rerope(
    encoding: Encoding, s: Sequence, window: int | None = None, leak: float = 0, base: float = 10000, half: bool = False
) -> np.ndarray:
    w = encoding.shape.max_train_length // 2 if window is None else window

    def distance(i: int, j: int) -> float:
        return i - j if i - j < w else w + ((i - j - w) / leak if leak else 0)

    return rotary_by(s, distance, base, half)


def self_extend(
    encoding: Encoding, s: Sequence, window: int | None = None, group: int = 8, base: float = 10000, half: bool = False
) -> np.ndarray:
    w = encoding.shape.max_train_length // 4 if window is None else window

    def distance(i: int, j: int) -> float:
        return i - j if i - j < w else i // group - j // group + w - w // group

    return rotary_by(s, distance, base, half)


def scale_invariant(encoding: Encoding, s: Sequence, tau: float = 10, p: float = 0.75) -> np.ndarray:
    D = s.shape[2]
    w = [10000 ** (-2 * c / D) if c < int(p * D / 2) else 0.0 for c in range(D // 2)]

    def logit(h: int, i: int, j: int) -> float:
        d = s.positions[i] - s.positions[j]
        square = 2 * math.log(d / tau + 1) + 1
        return math.sqrt(square) * rotated_dot(s.q_HxSxD[h, i], s.k_HxSxD[h, j], [d * w_c for w_c in w], False) + 1 - square

    return for_pairs(s, logit)


WHOLE: dict[str, tuple[Callable[..., np.ndarray], dict[str, object]]] = {
    "cope": (cope, {}),
    "cope:npos=5": (cope, {"npos": 5}),
    "fox": (fox, {}),
    "fox:bias=1": (fox, {}),
    "path-attention": (path, {}),
    "path-attention:activation=silu:rank=4:width=5": (path, {"activation": "silu"}),
    "selective-rope": (selective_rope, {}),
    "selective-rope:base=100:width=2": (selective_rope, {"base": 100}),
    "rel-basis": (rel_basis, {}),
    "rel-basis:width=5:extent=9": (rel_basis, {"width": 5, "extent": 9}),
    "deberta": (deberta, {}),
    "deberta:reach=7": (deberta, {"reach": 7}),
    "deberta:reach=50:buckets=12": (deberta, {"reach": 50, "buckets": 12}),
    "dape": (dape, {}),
    "dape:over=none:hidden=5": (dape, {"over": "none"}),
    "dape:kind=v2": (dape, {"kind": "v2"}),
    "dape:kind=v2:over=none": (dape, {"kind": "v2", "over": "none"}),
    "rerope": (rerope, {}),
    "rerope:window=5:leak=4:base=100": (rerope, {"window": 5, "leak": 4, "base": 100}),
    "rerope:window=5:pairing=half": (rerope, {"window": 5, "half": True}),
    "self-extend": (self_extend, {}),
    "self-extend:window=5:group=3:base=100": (self_extend, {"window": 5, "group": 3, "base": 100}),
    "self-extend:window=5:pairing=half": (self_extend, {"window": 5, "half": True}),
    "scale-invariant": (scale_invariant, {}),
    "scale-invariant:tau=2:p=0.5": (scale_invariant, {"tau": 2, "p": 0.5}),
}


def logits(
    choice: str, encoding: Encoding, q_BxHxSxD: Tensor, k_BxHxSxD: Tensor, x_BxSxM: Tensor, positions: Tensor
) -> np.ndarray:
    """Pre-softmax logits `[B, H, S, S]`, zero where a row may not look."""
    whole, options = WHOLE[choice]
    q, k, x = (reference.array(tensor) for tensor in (q_BxHxSxD, k_BxHxSxD, x_BxSxM))
    return np.stack([whole(encoding, Sequence(q[b], k[b], x[b], positions[b].tolist()), **options) for b in range(len(q))])

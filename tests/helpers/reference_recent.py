"""The encodings of 2024 to 2026 written a second time, plainly: PAIR as in reference.py, WHOLE as in reference_content.py.

Where an encoding adds channels or carries queries along, this is the formula with its sums over tokens instead.
"""

import cmath
import math
from collections.abc import Callable

import numpy as np

from helpers.reference import Pair, array, slope
from helpers.reference_content import Sequence, for_pairs, rotated_dot, sigmoid
from rpecli.encoding import Encoding


def softplus(z: float) -> float:
    return math.log1p(math.exp(-abs(z))) + max(z, 0.0)


def log_sigmoid(z: float) -> float:
    return -softplus(-z)


def bam(pair: Pair, location: bool = False) -> float:
    encoding, h = pair.encoding, pair.head
    a, b = float(encoding.log_scale_H[h]), float(encoding.power_H[h])
    mu = math.exp(encoding.location_H[h]) - math.exp(-encoding.location_H[h]) if location else 0.0
    return pair.dot - math.exp(a) * (abs(pair.distance + mu) + 1e-5) ** b


def half_pairs(x: np.ndarray) -> list[complex]:
    return [complex(x[c], x[c + len(x) // 2]) for c in range(len(x) // 2)]


def coca(pair: Pair, base: float = 10000, form: str = "paper") -> float:
    D, total = len(pair.q), 0.0
    for c, (q, k) in enumerate(zip(half_pairs(pair.q), half_pairs(pair.k), strict=True)):
        t, w = max(0.0, (k.real + k.imag) / 2), base ** (-2 * c / D)
        if form == "paper":
            total += t * abs(q) ** 2 * math.cos(pair.distance * w)
        else:  # the products of three vectors: the query, the query turned, t twice and turned
            turned_q, turned_t = q * cmath.exp(1j * pair.i * w), complex(t, t) * cmath.exp(1j * pair.j * w)
            total += q.real * turned_q.real * turned_t.real + q.imag * turned_q.imag * turned_t.imag
    return total / math.sqrt(D)


def tapa(pair: Pair, theta: float = 0.5, alpha: float = 0.1) -> float:
    D = len(pair.q)
    n = int(theta * D)
    amplitude = float(pair.q[:n] @ pair.k[:n]) / math.sqrt(n)
    phase = float(pair.q[n:] @ pair.k[n:]) / math.sqrt(D - n)
    return amplitude * math.cos(2 * math.pi * abs(pair.distance) ** alpha * phase)


def fope(pair: Pair, base: float = 10000) -> float:
    D, N = len(pair.q), pair.encoding.shape.max_train_length
    w = [base ** (-2 * k / D) for k in range(D // 2) if base ** (-2 * k / D) >= 2 * math.pi / N]
    A, B = (array(mixture[pair.head]) for mixture in (pair.encoding.cosine_HxKxP, pair.encoding.sine_HxKxP))
    assert A.shape == (len(w), min(len(w), D // 4))

    def mixed(x: np.ndarray, position: int) -> list[complex]:
        out = []
        for p, z in enumerate(half_pairs(x)):
            C, S = 1.0, 1.0
            if p < A.shape[1]:
                C = sum(A[k, p] * math.cos(position * w[k]) for k in range(len(w)))
                S = sum(B[k, p] * math.sin(position * w[k]) for k in range(len(w)))
            out.append(z * complex(C, S))
        return out

    products = zip(mixed(pair.q, pair.i), mixed(pair.k, pair.j), strict=True)
    return sum((q * k.conjugate()).real for q, k in products) / math.sqrt(D)


def rope_pp(encoding: Encoding, s: Sequence, base: float = 10000) -> np.ndarray:
    H, _, D = s.shape

    def logit(h: int, i: int, j: int) -> float:
        q, k = s.q_HxSxD[h % (H // 2), i], s.k_HxSxD[h % (H // 2), j]
        angles = [(s.positions[i] - s.positions[j]) * base ** (-2 * c / D) for c in range(D // 2)]
        pairs = zip(half_pairs(q), half_pairs(k), angles, strict=True)
        z = sum(one * two.conjugate() * cmath.exp(1j * angle) for one, two, angle in pairs)
        return (z.real if h < H // 2 else z.imag) / math.sqrt(D)

    return for_pairs(s, logit)


def grape_ap(encoding: Encoding, s: Sequence, width: int = 8) -> np.ndarray:
    H = s.shape[0]
    p_SxHxP = (s.x_SxM @ array(encoding.w_HPxM).T).reshape(len(s.x_SxM), H, width)

    def potential(h: int, i: int, m: int) -> float:
        n = p_SxHxP[m, h] / math.sqrt(np.mean(p_SxHxP[m, h] ** 2))
        turned = [z * cmath.exp(-1j * s.positions[m]) for z in half_pairs(n)]
        p = half_pairs(p_SxHxP[i, h])
        return slope(h, H) * log_sigmoid(sum((a * b.conjugate()).real for a, b in zip(p, turned, strict=True)) / width)

    return for_pairs(s, lambda h, i, j: s.dot(h, i, j) + sum(potential(h, i, m) for m in range(j + 1, i + 1)))


def row_gates(encoding: Encoding, s: Sequence, width: int = 8) -> np.ndarray:
    H = s.shape[0]
    a_and_b = (s.x_SxM @ array(encoding.gates.weight).T).reshape(len(s.x_SxM), 2, H, width)

    def gate(h: int, i: int, m: int) -> float:
        return log_sigmoid(float(a_and_b[i, 0, h] @ a_and_b[m, 1, h]) / math.sqrt(width))

    return for_pairs(s, lambda h, i, j: s.dot(h, i, j) + sum(gate(h, i, m) for m in range(j, i)))


def grape_a(encoding: Encoding, s: Sequence, gate: str = "both") -> np.ndarray:
    H, _, D = s.shape

    def opened(w_HxD: object, x_HxSxD: np.ndarray, h: int, t: int) -> float:
        w = array(w_HxD[h])
        return softplus(float(w @ x_HxSxD[h, t]) / np.linalg.norm(w) / math.sqrt(D))

    def logit(h: int, i: int, j: int) -> float:
        g = opened(encoding.u_HxD, s.k_HxSxD, h, j) if gate != "query" else 0.0
        g += opened(encoding.v_HxD, s.q_HxSxD, h, i) if gate != "key" else 0.0
        d = s.positions[i] - s.positions[j]
        return s.dot(h, i, j) - d * slope(h, H) * softplus(float(encoding.o_H[h])) * g

    return for_pairs(s, logit)


def wall(encoding: Encoding, s: Sequence) -> np.ndarray:
    H, S, D = s.shape
    z = s.x_SxM @ array(encoding.w_HDxM).T + array(encoding.b_HD)
    gate_SxHxD = -np.logaddexp(0, -z).reshape(S, H, D)

    def logit(h: int, i: int, j: int) -> float:
        kept = np.exp(gate_SxHxD[j + 1 : i + 1, h].sum(axis=0))
        return float((s.q_HxSxD[h, i] * s.k_HxSxD[h, j] * kept).sum()) / math.sqrt(D)

    return for_pairs(s, logit)


def carope(encoding: Encoding, s: Sequence, bias: bool = True) -> np.ndarray:
    H, S, D = s.shape
    w, b = array(encoding.w_HxM), array(encoding.b_H) if bias else np.zeros(H)
    f = [[1 / (1 + softplus(float(w[h] @ s.x_SxM[t]) + b[h])) for t in range(S)] for h in range(H)]

    def logit(h: int, i: int, j: int) -> float:
        angles = [sum(f[h][t] ** c for t in range(j + 1, i + 1)) for c in range(1, D // 2 + 1)]
        return rotated_dot(s.q_HxSxD[h, i], s.k_HxSxD[h, j], angles, half=True)

    return for_pairs(s, logit)


def grape_m(encoding: Encoding, s: Sequence, step: str = "sigmoid") -> np.ndarray:
    D, a, b = s.shape[2], array(encoding.a_RxM), array(encoding.b_R)
    w = [10000 ** (-2 * c / D) * math.exp(encoding.log_w_C[c]) for c in range(D // 2)]

    def advance(h: int, t: int) -> float:
        row = min(h, len(b) - 1)
        z = float(a[row] @ s.x_SxM[t]) + b[row]
        return softplus(z) if step == "softplus" else sigmoid(z / 16)

    def logit(h: int, i: int, j: int) -> float:
        way = sum(advance(h, t) for t in range(j, i))  # the key's own step, and not the query's
        return rotated_dot(s.q_HxSxD[h, i], s.k_HxSxD[h, j], [way * w[c] for c in range(D // 2)], half=True)

    return for_pairs(s, logit)


def repo(encoding: Encoding, s: Sequence, base: float = 500000) -> np.ndarray:
    D = s.shape[2]
    gate, content, place = (array(layer.weight) for layer in (encoding.gate, encoding.content, encoding.place))

    def position(h: int, t: int) -> float:
        g = gate @ s.x_SxM[t]
        return float(place[h] @ (g / (1 + np.exp(-g)) * (content @ s.x_SxM[t])))

    def logit(h: int, i: int, j: int) -> float:
        d = position(h, i) - position(h, j)
        return rotated_dot(s.q_HxSxD[h, i], s.k_HxSxD[h, j], [d * base ** (-2 * c / D) for c in range(D // 2)], half=True)

    return for_pairs(s, logit)


def decoupled(encoding: Encoding, s: Sequence, width: int | None = None, base: float = 10000) -> np.ndarray:
    H, S, D = s.shape
    r = D // 2 if width is None else width
    channels = (s.x_SxM @ array(encoding.w_NxM).T).reshape(S, H + 1, r)

    def logit(h: int, i: int, j: int) -> float:
        angles = [(s.positions[i] - s.positions[j]) * base ** (-2 * c / r) for c in range(r // 2)]
        rotated = rotated_dot(channels[i, h], channels[j, H], angles, half=False) * math.sqrt(r)
        return (float(s.q_HxSxD[h, i] @ s.k_HxSxD[h, j]) + rotated) / math.sqrt(D + r)

    return for_pairs(s, logit)


PAIR: dict[str, tuple[Callable[..., float], dict[str, object]]] = {
    "bam": (bam, {}),
    "bam:location=true:shape=linear": (bam, {"location": True}),
    "coca": (coca, {}),
    "coca:base=100:form=code": (coca, {"base": 100, "form": "code"}),
    "tapa": (tapa, {}),
    "tapa:alpha=0.05:theta=0.25": (tapa, {"alpha": 0.05, "theta": 0.25}),
    "fope": (fope, {}),
    "fope:base=10:learned=true": (fope, {"base": 10}),
}

WHOLE: dict[str, tuple[Callable[..., np.ndarray], dict[str, object]]] = {
    "rope-pp": (rope_pp, {}),
    "rope-pp:base=100": (rope_pp, {"base": 100}),
    "grape-ap": (grape_ap, {}),
    "grape-ap:width=4": (grape_ap, {"width": 4}),
    "row-gates": (row_gates, {}),
    "row-gates:width=3": (row_gates, {"width": 3}),
    "grape-a": (grape_a, {}),
    "grape-a:gate=key": (grape_a, {"gate": "key"}),
    "grape-a:gate=query": (grape_a, {"gate": "query"}),
    "wall": (wall, {}),
    "wall:bias=-1": (wall, {}),
    "carope": (carope, {}),
    "carope:start=paper": (carope, {"bias": False}),
    "grape-m": (grape_m, {}),
    "grape-m:per_head=true:step=softplus": (grape_m, {"step": "softplus"}),
    "repo": (repo, {}),
    "repo:base=100:hidden=5": (repo, {"base": 100}),
    "decoupled-rope": (decoupled, {}),
    "decoupled-rope:base=100:width=6": (decoupled, {"width": 6, "base": 100}),
}

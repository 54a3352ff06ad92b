"""More encodings written a second time, plainly: those that go by positions and tokens, not by what queries and keys say.

The same form as reference.py, whose tables these are added to.
"""

import math
from collections.abc import Callable

import numpy as np
from torch import Tensor

from helpers.reference import Pair, array, none


def scaled_frequency(
    scaling: str, f: float, ladder: tuple[int, float], c: int, train_length: int, length: int
) -> tuple[float, float]:
    """The frequency of pair c of (width, base), and the magnitude of its rotation; f = 0 is length / train_length, at least 1."""
    width, base = ladder
    w, growth = base ** (-2 * c / width), max(1.0, length / train_length)
    if scaling == "dynamic":
        f = max(1.0, f * length / train_length - (f - 1)) if f else growth
    f = f or growth
    if scaling == "pi":
        return w / f, 1.0
    if scaling in ("ntk", "dynamic"):
        return (base * f ** (width / (width - 2))) ** (-2 * c / width), 1.0
    if scaling == "llama3":
        wave = 2 * math.pi / w
        if wave < train_length / 4:
            return w, 1.0
        if wave > train_length:
            return w / f, 1.0
        share = (train_length / wave - 1) / (4 - 1)
        return (1 - share) * w / f + share * w, 1.0
    low = math.floor(width * math.log(train_length / (32 * 2 * math.pi)) / (2 * math.log(base)))
    high = math.ceil(width * math.log(train_length / (1 * 2 * math.pi)) / (2 * math.log(base)))
    low, high = max(low, 0), min(high, width - 1)
    ramp = min(max((c - low) / (high - low or 0.001), 0.0), 1.0)
    return w / f * ramp + w * (1 - ramp), 0.1 * math.log(f) + 1


def rope(
    pair: Pair,
    fraction: float = 1,
    pairing: str = "interleaved",
    base: float = 10000,
    scaling: str = "none",
    factor: float = 0,
    window: int = 0,
    chunk: int = 0,
) -> float:
    if (window and abs(pair.distance) > window - 1) or (chunk and pair.i // chunk != pair.j // chunk):
        return rope(pair, fraction, pairing, base, scaling, factor) - 1e5
    width = int(len(pair.q) * fraction)
    total = sum(pair.q[d] * pair.k[d] for d in range(width, len(pair.q)))
    for c in range(width // 2):
        w, magnitude = base ** (-2 * c / width), 1.0
        if scaling != "none":
            max_train_length = pair.encoding.shape.max_train_length
            w, magnitude = scaled_frequency(scaling, factor, (width, base), c, max_train_length, pair.length)
        total += magnitude**2 * pair.rotated(c, width, pair.distance * w, pairing)
    return total / math.sqrt(len(pair.q))


def rope_learned(pair: Pair, pairing: str = "interleaved") -> float:
    """With the frequencies of a head, w_c exp(l_c / 16); one row of l serves all heads if there is no other."""
    D, l_HxC = len(pair.q), array(pair.encoding.log_w_HxC)
    l_C = l_HxC[min(pair.head, len(l_HxC) - 1)]
    w = [10000 ** (-2 * c / D) * math.exp(l_C[c] / 16) for c in range(D // 2)]
    return sum(pair.rotated(c, D, pair.distance * w[c], pairing) for c in range(D // 2)) / math.sqrt(D)


def p_rope(
    pair: Pair, p: float = 0.75, pairing: str = "interleaved", base: float = 10000, cut: str = "share", taper: str = "none"
) -> float:
    D, N = len(pair.q), pair.encoding.shape.max_train_length
    w = [base ** (-2 * c / D) for c in range(D // 2)]
    fast = sum(2 * math.pi / w_c <= N for w_c in w) if cut == "trained" else int(p * D / 2)
    slow = D // 2 - fast
    for c in range(fast, D // 2):
        t = (c - fast) / (slow - 1) if slow > 1 else 0.0
        w[c] *= (1 + math.cos(math.pi * t)) / 2 if taper == "cos" else 0.0
    return sum(pair.rotated(c, D, pair.distance * w[c], pairing) for c in range(D // 2)) / math.sqrt(D)


def xpos(pair: Pair, scale_base: float = 512) -> float:
    D, total = len(pair.q), 0.0
    for c in range(D // 2):
        decay = ((2 * c / D + 0.4) / 1.4) ** (pair.distance / scale_base)
        total += decay * pair.rotated(c, D, pair.distance * 10000 ** (-2 * c / D))
    return total / math.sqrt(D)


def softplus(x: float) -> float:
    return math.log1p(math.exp(-abs(x))) + max(x, 0.0)


def pope(pair: Pair) -> float:
    D, total = len(pair.q), 0.0
    for c, b in enumerate(pair.encoding.bias_HxD[pair.head].tolist()):
        b = min(max(b, -2 * math.pi), 0.0)
        total += softplus(pair.q[c]) * softplus(pair.k[c]) * math.cos(pair.distance * 10000 ** (-c / D) - b)
    return total / math.sqrt(D)


def alibi_learned(pair: Pair) -> float:
    return pair.dot - math.exp(float(pair.encoding.log_slope_H[pair.head])) * abs(pair.distance)


def kerple_log(pair: Pair) -> float:
    p, a = (max(float(parameter[pair.head]), 0.01) for parameter in (pair.encoding.p_H, pair.encoding.a_H))
    return pair.dot - p * math.log(1 + a * abs(pair.distance))


def kerple_power(pair: Pair, weighted: bool = False) -> float:
    def power(a_H: Tensor, p_H: Tensor) -> float:
        a, p = float(a_H[pair.head]), float(p_H[pair.head])
        return max(a, 0.01) * abs(pair.distance) ** min(max(p, 0.01), 2.0)

    encoding = pair.encoding
    weight = power(encoding.weight_a_H, encoding.weight_p_H) if weighted else 0.0
    return pair.dot * math.exp(-weight) - power(encoding.a_H, encoding.p_H)


def sandwich(pair: Pair, width: int = 128) -> float:
    waves = sum(math.cos(pair.distance * 10000 ** (-2 * c / width)) for c in range(width // 2))
    return pair.dot + waves / (8 * (pair.head + 1) / pair.encoding.shape.n_head)


def tisa(pair: Pair, form: str = "paper") -> float:
    x, encoding = -pair.distance if form == "paper" else pair.distance - 1, pair.encoding
    curves = zip(*(array(tensor[:, pair.head]) for tensor in (encoding.a_KxH, encoding.b_KxH, encoding.c_KxH)), strict=True)
    return pair.dot + sum(a * math.exp(-abs(b) * (x - c) ** 2) for a, b, c in curves)


def hard_alibi(pair: Pair, masked: int = 2) -> float:
    return pair.dot - (1e5 if pair.head < masked and abs(pair.distance) > pair.head else 0.0)


def window(pair: Pair, width: int = 16) -> float:
    return pair.dot - (1e5 if abs(pair.distance) >= width else 0.0)


def mlp_bias(pair: Pair, log: bool = False, norm: bool = False, depth: int = 2) -> float:
    d = pair.distance
    x = np.array([math.copysign(math.log(1 + abs(d)), d) if log else float(d)])
    layers = iter(pair.encoding.mlp)
    for _ in range(depth):
        linear = next(layers)
        x = array(linear.weight) @ x + array(linear.bias)
        if norm:
            scale = next(layers)
            x = (x - x.mean()) / math.sqrt(x.var() + 1e-5) * array(scale.weight) + array(scale.bias)
        next(layers)  # SiLU
        x = x / (1 + np.exp(-x))
    last = next(layers)
    return pair.dot + float(array(last.weight[pair.head]) @ x + float(last.bias[pair.head]))


def places(ids: list[int], digits: int = 0) -> list[int]:
    """Abacus: 1, 2, ... within each run of digits (tokens from 4 on, all or the first `digits` of them), 0 for other tokens."""
    row_of, run = [], 0
    for token in ids:
        run = run + 1 if token >= 4 and (not digits or token < 4 + digits) else 0
        row_of.append(run)
    return row_of


SCALED = {f"rope:scaling={kind}:factor=4": (rope, {"scaling": kind, "factor": 4}) for kind in ("pi", "ntk", "yarn", "llama3")}
GROWING = {f"rope:scaling={kind}": (rope, {"scaling": kind}) for kind in ("pi", "ntk", "dynamic", "yarn", "llama3")}
PAIR: dict[str, tuple[Callable[..., float], dict[str, object]]] = {
    **SCALED,
    **GROWING,
    "rope:fraction=0.5": (rope, {"fraction": 0.5}),
    "rope:fraction=0.25:pairing=half": (rope, {"fraction": 0.25, "pairing": "half"}),
    "rope:scaling=dynamic:factor=3": (rope, {"scaling": "dynamic", "factor": 3}),
    "rope:scaling=yarn:factor=3:fraction=0.5:pairing=half:base=500": (
        rope, {"scaling": "yarn", "factor": 3, "fraction": 0.5, "pairing": "half", "base": 500}
    ),
    "rope:window=5": (rope, {"window": 5}),
    "rope:window=1": (rope, {"window": 1}),
    "rope:base=500:pairing=half:window=3": (rope, {"base": 500, "pairing": "half", "window": 3}),
    "rope:chunk=5": (rope, {"chunk": 5}),
    "rope:learned=true": (rope_learned, {}),
    "rope:learned=true:pairing=half:per_head=true": (rope_learned, {"pairing": "half"}),
    "p-rope": (p_rope, {}),
    "p-rope:cut=trained": (p_rope, {"cut": "trained"}),
    "p-rope:base=100:cut=trained:taper=cos": (p_rope, {"base": 100, "cut": "trained", "taper": "cos"}),
    "p-rope:p=0.5:taper=cos": (p_rope, {"p": 0.5, "taper": "cos"}),
    "p-rope:p=0.5:pairing=half": (p_rope, {"p": 0.5, "pairing": "half"}),
    "xpos": (xpos, {}),
    "xpos:scale_base=40": (xpos, {"scale_base": 40}),
    "pope": (pope, {}),
    "pope:start=uniform": (pope, {}),
    "alibi:learned=true": (alibi_learned, {}),
    "kerple-log": (kerple_log, {}),
    "kerple-power": (kerple_power, {}),
    "kerple-power:weighted=true": (kerple_power, {"weighted": True}),
    "sandwich": (sandwich, {}),
    "sandwich:width=10": (sandwich, {"width": 10}),
    "tisa": (tisa, {}),
    "tisa:form=code": (tisa, {"form": "code"}),
    "tisa:kernels=2": (tisa, {}),
    "hard-alibi": (hard_alibi, {}),
    "hard-alibi:masked=4": (hard_alibi, {"masked": 4}),
    "window": (window, {}),
    "window:width=3": (window, {"width": 3}),
    "mlp-bias": (mlp_bias, {}),
    "mlp-bias:log=true": (mlp_bias, {"log": True}),
    "mlp-bias:norm=true:depth=3:hidden=5": (mlp_bias, {"norm": True, "depth": 3}),
    "abacus": (none, {}),
    "abacus:over=kerple-log": (kerple_log, {}),
    "abacus:over=rope": (rope, {}),
    "bipe": (rope, {}),
    "bipe:over=kerple-log": (kerple_log, {}),
}  # fmt: skip

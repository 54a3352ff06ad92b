"""More encodings written a second time, plainly: those that go by positions and tokens, not by what queries and keys say.

The same form as reference.py, whose tables these are added to.
"""

import cmath
import math

import numpy as np

from helpers.reference import Pair, array, none
from rpecli.encoding import Encoding


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
    encoding: Encoding, q: np.ndarray, k: np.ndarray, i: int, j: int, head: int, *, fraction: float = 1,
    pairing: str = "interleaved", base: float = 10000, scaling: str = "none", factor: float = 0, length: int = 0,
) -> float:  # fmt: skip
    width = int(len(q) * fraction)
    total = sum(q[d] * k[d] for d in range(width, len(q)))
    for c in range(width // 2):
        one, two = (c, c + width // 2) if pairing == "half" else (2 * c, 2 * c + 1)
        w, magnitude = base ** (-2 * c / width), 1.0
        if scaling != "none":
            w, magnitude = scaled_frequency(scaling, factor, (width, base), c, encoding.shape.max_train_length, length)
        product = complex(q[one], q[two]) * complex(k[one], k[two]).conjugate() * cmath.exp(1j * (i - j) * w)
        total += magnitude**2 * product.real
    return total / math.sqrt(len(q))


def p_rope(
    encoding: Encoding, q: np.ndarray, k: np.ndarray, i: int, j: int, head: int, p: float = 0.75, pairing: str = "interleaved"
) -> float:
    D, total = len(q), 0.0
    for c in range(D // 2):
        one, two = (c, c + D // 2) if pairing == "half" else (2 * c, 2 * c + 1)
        w = 10000 ** (-2 * c / D) if c < int(p * D / 2) else 0.0
        total += (complex(q[one], q[two]) * complex(k[one], k[two]).conjugate() * cmath.exp(1j * (i - j) * w)).real
    return total / math.sqrt(D)


def xpos(encoding: Encoding, q: np.ndarray, k: np.ndarray, i: int, j: int, head: int, scale_base: float = 512) -> float:
    D, total = len(q), 0.0
    for c in range(D // 2):
        decay = ((2 * c / D + 0.4) / 1.4) ** ((i - j) / scale_base)
        product = (
            complex(q[2 * c], q[2 * c + 1]) * complex(k[2 * c], -k[2 * c + 1]) * cmath.exp(1j * (i - j) * 10000 ** (-2 * c / D))
        )
        total += decay * product.real
    return total / math.sqrt(D)


def softplus(x: float) -> float:
    return math.log1p(math.exp(-abs(x))) + max(x, 0.0)


def pope(encoding: Encoding, q: np.ndarray, k: np.ndarray, i: int, j: int, head: int) -> float:
    D, total = len(q), 0.0
    for c, b in enumerate(encoding.bias_HxD[head].tolist()):
        b = min(max(b, -2 * math.pi), 0.0)
        total += softplus(q[c]) * softplus(k[c]) * math.cos((i - j) * 10000 ** (-c / D) - b)
    return total / math.sqrt(D)


def alibi_learned(encoding: Encoding, q: np.ndarray, k: np.ndarray, i: int, j: int, head: int) -> float:
    return none(encoding, q, k, i, j, head) - math.exp(float(encoding.log_slope_H[head])) * abs(i - j)


def kerple_log(encoding: Encoding, q: np.ndarray, k: np.ndarray, i: int, j: int, head: int) -> float:
    p, a = (max(float(parameter[head]), 0.01) for parameter in (encoding.p_H, encoding.a_H))
    return none(encoding, q, k, i, j, head) - p * math.log(1 + a * abs(i - j))


def kerple_power(encoding: Encoding, q: np.ndarray, k: np.ndarray, i: int, j: int, head: int, weighted: bool = False) -> float:
    def power(a: float, p: float) -> float:
        return max(a, 0.01) * abs(i - j) ** min(max(p, 0.01), 2.0)

    weight = power(float(encoding.weight_a_H[head]), float(encoding.weight_p_H[head])) if weighted else 0.0
    content = none(encoding, q, k, i, j, head)
    return content * math.exp(-weight) - power(float(encoding.a_H[head]), float(encoding.p_H[head]))


def sandwich(encoding: Encoding, q: np.ndarray, k: np.ndarray, i: int, j: int, head: int, width: int = 128) -> float:
    waves = sum(math.cos((i - j) * 10000 ** (-2 * c / width)) for c in range(width // 2))
    return none(encoding, q, k, i, j, head) + waves / (8 * (head + 1) / encoding.shape.n_head)


def tisa(encoding: Encoding, q: np.ndarray, k: np.ndarray, i: int, j: int, head: int, form: str = "paper") -> float:
    x = j - i if form == "paper" else i - j - 1
    curves = zip(*(array(parameter[:, head]) for parameter in (encoding.a_KxH, encoding.b_KxH, encoding.c_KxH)), strict=True)
    return none(encoding, q, k, i, j, head) + sum(a * math.exp(-abs(b) * (x - c) ** 2) for a, b, c in curves)


def hard_alibi(encoding: Encoding, q: np.ndarray, k: np.ndarray, i: int, j: int, head: int, masked: int = 2) -> float:
    return none(encoding, q, k, i, j, head) - (1e5 if head < masked and abs(i - j) > head else 0.0)


def window(encoding: Encoding, q: np.ndarray, k: np.ndarray, i: int, j: int, head: int, width: int = 16) -> float:
    return none(encoding, q, k, i, j, head) - (1e5 if abs(i - j) >= width else 0.0)


def mlp_bias(
    encoding: Encoding,
    q: np.ndarray,
    k: np.ndarray,
    i: int,
    j: int,
    head: int,
    log: bool = False,
    norm: bool = False,
    depth: int = 2,
) -> float:
    x = np.array([math.copysign(math.log(1 + abs(i - j)), i - j) if log else float(i - j)])
    layers = iter(encoding.mlp)
    for _ in range(depth):
        linear = next(layers)
        x = array(linear.weight) @ x + array(linear.bias)
        if norm:
            scale = next(layers)
            x = (x - x.mean()) / math.sqrt(x.var() + 1e-5) * array(scale.weight) + array(scale.bias)
        next(layers)  # SiLU
        x = x / (1 + np.exp(-x))
    last = next(layers)
    return none(encoding, q, k, i, j, head) + float(array(last.weight[head]) @ x + float(last.bias[head]))


def places(ids: list[int], digits: int = 0) -> list[int]:
    """Abacus: 1, 2, ... within each run of digits (tokens from 4 on, all or the first `digits` of them), 0 for other tokens."""
    row_of, run = [], 0
    for token in ids:
        run = run + 1 if token >= 4 and (not digits or token < 4 + digits) else 0
        row_of.append(run)
    return row_of


SCALED = {f"rope:scaling={kind}:factor=4": (rope, {"scaling": kind, "factor": 4}) for kind in ("pi", "ntk", "yarn", "llama3")}
GROWING = {
    f"rope:scaling={kind}": (rope, {"scaling": kind, "length": None}) for kind in ("pi", "ntk", "dynamic", "yarn", "llama3")
}
PAIR: dict[str, tuple[Pair, dict[str, object]]] = {
    **SCALED,
    **GROWING,
    "rope:fraction=0.5": (rope, {"fraction": 0.5}),
    "rope:fraction=0.25:pairing=half": (rope, {"fraction": 0.25, "pairing": "half"}),
    "rope:scaling=dynamic:factor=3": (rope, {"scaling": "dynamic", "factor": 3, "length": None}),
    "rope:scaling=yarn:factor=3:fraction=0.5:pairing=half:base=500": (
        rope, {"scaling": "yarn", "factor": 3, "fraction": 0.5, "pairing": "half", "base": 500}
    ),
    "p-rope": (p_rope, {}),
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
}  # fmt: skip

"""What an untrained encoding does to attention scores: by distance, by query and key, and under a shift of all positions.

All tokens have the same content, one of N_CONTENTS random embeddings, so only their positions differ. The encoding adds to the
embeddings, a layer norm follows, and queries and keys are the same random rotation of the result: with W_q different from W_k the
scores of an absolute encoding would average to 0. The effect of the encoding is the score minus the plain q.k/sqrt(D) of that
content. For a content-free bias that difference is the bias itself, which is therefore read directly.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from rpecli import encoding_facts
from rpecli.attention import dispatch as attention
from rpecli.attention import kernels
from rpecli.attention import reference as attention_reference
from rpecli.choice import ChoiceError, parse_choice, split_layers
from rpecli.device import available_memory
from rpecli.encoding import Encoding, Shape, for_layers, overrides, rotated_width
from rpecli.task import SPECIAL

OTHER_HOOKS = ("embed", "relocate", "features", "rotate", "score")  # than the bias
N_CONTENTS = 16
SHIFT = 37  # a prime, so that no period of a power of two hides behind it
NOISE = 0.5  # added to every parameter before the shift is measured: parameters that start at 0 would show nothing
BUFFERS = 12  # copies of all scores, in float32, that are held at once
ROUNDING = 1e-6  # smaller numbers are what rounding leaves of q.k - q.k


@dataclass(frozen=True)
class EncodingProfile:
    """The facts and curves of one encoding: what `rpe show NAME --json` prints.

    Distances, queries and keys run from 0 to twice the training length. None stands for a pair that attention does not see.
    """

    encoding: str
    summary: str
    about: str
    group: str
    paper: str
    year: str
    options: dict[str, dict[str, Any]]  # name -> value and default
    hooks: list[str]
    acts_on: list[str]
    kernel: str
    cost: str
    channels: dict[str, int]  # of a head's query and key: in the model, and as compared, which is what dot products cost
    parameters: dict[str, int]  # of each layer, and once for all layers
    shift: dict[str, Any]  # claimed, the largest change of a score, by how much the positions were shifted
    causal_only: bool
    extrapolation: str
    shape: dict[str, int]  # d_model, n_head, train_length, n_positions (how many are drawn), seed
    caption: str  # what the curves and maps are
    heads: list[dict[str, list[float | None]]]  # by distance: mean, low and high over query positions and contents
    maps: list[list[list[float | None]]]  # of each head, [query][key], mean over contents
    average: list[list[float | None]]

    def as_dict(self) -> dict[str, Any]:
        """The same as plain values, for JSON."""
        return asdict(self)


def profile(choice: str, d_model: int = 64, n_head: int = 4, length: int = 64, seed: int = 0) -> EncodingProfile:
    """The profile of `rope`, `rope:base=500` or `./mine.py`, with initial weights drawn from `seed`.

    `length` is the training length. Raises ChoiceError for an unknown encoding or option, and for an impossible shape.
    """
    check_shape(d_model, n_head, length)
    shape = Shape(d_model, n_head, length)
    first, second = _two_layers(choice, shape, seed)
    with torch.no_grad():
        return EncodingProfile(
            encoding=choice,
            **_facts(choice, first),
            parameters=_parameter_counts(first, second),
            shift=_shift(choice, shape, seed),
            shape={"d_model": d_model, "n_head": n_head, "train_length": length, "n_positions": 2 * length, "seed": seed},
            **_curves(first, effect(first, 2 * length, seed)),
        )


def check_shape(d_model: int, n_head: int, length: int) -> None:
    """Raises ChoiceError for a shape that no model has, and for one whose scores or weights do not fit in memory."""
    shape = f"d_model={d_model}, n_head={n_head}, length={length}"
    if d_model < 1 or n_head < 1 or d_model % n_head or length < 2:
        raise ChoiceError(f"{shape}: d_model must be a multiple of n_head, and length at least 2")
    n = 2 * length  # positions that are drawn
    scores, states = N_CONTENTS * n_head * n * n, N_CONTENTS * n * d_model
    needed = 4 * (BUFFERS * (scores + states) + 8 * d_model * d_model)
    if needed > available_memory():
        raise ChoiceError(
            f"{shape}: drawing it needs about {needed / 2**30:,.0f} GiB, more than is free: "
            "give a smaller --length, --n-head or --d-model"
        )


def _two_layers(choice: str, shape: Shape, seed: int) -> list[Encoding]:
    """The encodings of the first and the second layer, with initial weights."""
    if len(parts := split_layers(choice)) > 1:
        raise ChoiceError(f"{choice}: encodings that alternate over layers are shown one by one: rpe show {parts[0]}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return [layer.eval() for layer in for_layers(choice, shape, 2)]


def _facts(choice: str, encoding: Encoding) -> dict[str, Any]:
    """What the file states, and what the instance states where options may have changed it."""
    name, options = parse_choice(choice)
    facts = encoding_facts.read(name)
    hooks, kernel = _hooks(encoding, facts), attention.kernel(encoding)
    return {
        **{key: getattr(facts, key) for key in ("summary", "about", "paper", "year")},
        **{key: getattr(encoding, key) for key in ("group", "causal_only", "extrapolation")},
        "options": {key: {"value": options.get(key, default), "default": default} for key, default in facts.options.items()},
        "hooks": hooks,
        "acts_on": encoding_facts.acts_on(hooks),
        "kernel": kernel,
        "cost": kernels.COST[kernel],
        "channels": {"model": encoding.shape.d_head, "compared": rotated_width(encoding.on_scores)},
    }


def _hooks(encoding: Encoding, facts: encoding_facts.EncodingFacts) -> list[str]:
    """The hooks of the file's class and those that an option gave to this instance.

    The classes between the file's and Encoding implement `bias` by `by_distance`, and `score` by `query_weights`: there these two
    are no hooks of the encoding itself.
    """
    inherited = {"distance": "bias", "curve": "score"}.get(facts.kernel)
    added = {hook for hook in ("bias", *OTHER_HOOKS) if hook != inherited and overrides(encoding, hook)}
    return [hook for hook in encoding_facts.HOOKS if hook in facts.hooks or hook in added]


def _parameter_counts(first: Encoding, second: Encoding) -> dict[str, int]:
    """How many parameters every layer has of its own (`layer`), and how many all layers share (`shared`)."""
    sizes = {id(parameter): parameter.numel() for parameter in first.parameters()}
    in_first = sum(sizes.values())
    sizes |= {id(parameter): parameter.numel() for parameter in second.parameters()}
    per_layer = sum(sizes.values()) - in_first
    return {"layer": per_layer, "shared": in_first - per_layer}


def _shift(choice: str, shape: Shape, seed: int) -> dict[str, Any]:
    """The largest change of a score of random tokens when every position grows by SHIFT, with noise on the parameters."""
    encoding, generator = _two_layers(choice, shape, seed)[0], torch.Generator().manual_seed(seed + 1)
    for parameter in encoding.parameters():
        parameter.add_(NOISE * torch.randn(parameter.shape, generator=generator))
    x_BxTxM = torch.randn(2, shape.max_train_length, shape.d_model, generator=generator)
    w_2xMxM = torch.randn(2, shape.d_model, shape.d_model, generator=generator) * shape.d_model**-0.5
    positions_T = torch.arange(shape.max_train_length)
    before_BxHxTxT, after_BxHxTxT = (
        _scores(encoding, x_BxTxM, w_2xMxM, positions_T + shift).clamp(min=attention_reference.MASKED) for shift in (0, SHIFT)
    )
    change_BxHxTxT = after_BxHxTxT - before_BxHxTxT
    visible_TxT = ~attention_reference.causal_mask(shape.max_train_length, shape.max_train_length)
    return {"claimed": encoding.shift_invariant, "change": _number(change_BxHxTxT[..., visible_TxT].abs().max()), "by": SHIFT}


def effect(encoding: Encoding, length: int, seed: int = 0) -> Tensor:
    """What the encoding adds to the scores of tokens with the same content, `[contents, H, length, length]`; NaN if masked."""
    positions_T = torch.arange(length)
    masked_TxT = attention_reference.causal_mask(length, length)
    if _is_content_free(encoding):
        effect_CxHxTxT = encoding.bias(positions_T[None], positions_T[None])
    else:
        generator = torch.Generator().manual_seed(seed)
        x_Cx1xM = torch.randn(N_CONTENTS, 1, encoding.shape.d_model, generator=generator)
        w_MxM = torch.linalg.qr(torch.randn(encoding.shape.d_model, encoding.shape.d_model, generator=generator))[0]
        q_CxHx1xD = attention_reference.split_heads(F.layer_norm(x_Cx1xM, x_Cx1xM.shape[-1:]) @ w_MxM, encoding.shape.n_head)
        plain_CxHx1x1 = (q_CxHx1xD**2).sum(-1, keepdim=True) * encoding.shape.scale
        scores_CxHxTxT = _scores(encoding, x_Cx1xM.expand(-1, length, -1), w_MxM.expand(2, -1, -1), positions_T)
        effect_CxHxTxT = scores_CxHxTxT - plain_CxHx1x1
    return effect_CxHxTxT.float().masked_fill(masked_TxT | (effect_CxHxTxT < attention_reference.MASKED), torch.nan)


def _is_content_free(encoding: Encoding) -> bool:
    return overrides(encoding, "bias") and not any(overrides(encoding, hook) for hook in OTHER_HOOKS)


def _scores(encoding: Encoding, x_BxTxM: Tensor, w_2xMxM: Tensor, positions_T: Tensor) -> Tensor:
    """Scores `[B, H, T, T]` of a first layer with projections W_q and W_k.

    All ids are that of one ordinary symbol, for encodings that count positions within runs of digits.
    """
    ids_BxT = torch.full(x_BxTxM.shape[:2], SPECIAL)
    h_BxTxM = encoding.embed(x_BxTxM, positions_T[None], ids_BxT)
    h_BxTxM = F.layer_norm(h_BxTxM, h_BxTxM.shape[-1:])
    q_BxHxTxD, k_BxHxTxD = (attention_reference.split_heads(h_BxTxM @ w_MxM, encoding.shape.n_head) for w_MxM in w_2xMxM)
    positions_BxT = encoding.relocate(positions_T[None], ids_BxT)
    return attention_reference.scores(encoding, q_BxHxTxD, k_BxHxTxD, h_BxTxM, positions_BxT)


def _curves(encoding: Encoding, effect_CxHxTxT: Tensor) -> dict[str, Any]:
    maps_HxTxT = effect_CxHxTxT.nanmean(0)
    return {
        "caption": _caption(encoding, effect_CxHxTxT),
        "heads": [_by_distance(effect_CxTxT) for effect_CxTxT in effect_CxHxTxT.unbind(1)],
        "maps": _numbers(maps_HxTxT),
        "average": _numbers(maps_HxTxT.nanmean(0)),
    }


def _caption(encoding: Encoding, effect_CxHxTxT: Tensor) -> str:
    learns = any(True for _ in encoding.parameters())
    when = " at initialization" if learns else ""
    if _is_content_free(encoding):
        text = f"the content-free bias{when}"
    else:
        text = f"score minus the plain q.k/sqrt(D){when}, between tokens of the same content, W_q = W_k"
        text += f", mean of {N_CONTENTS} contents"
    zero = bool(effect_CxHxTxT.nan_to_num().abs().max() < 10 * ROUNDING)
    return text + ("; 0 everywhere, because the learned parameters start at 0" if learns and zero else "")


def _by_distance(effect_CxTxT: Tensor) -> dict[str, list[float | None]]:
    """Mean, 10th and 90th percentile over query positions and contents, for every distance."""
    curves: dict[str, list[float | None]] = {"mean": [], "low": [], "high": []}
    for distance in range(effect_CxTxT.shape[-1]):
        values_N = effect_CxTxT.diagonal(-distance, -2, -1)
        values_N = values_N[~values_N.isnan()]
        low, high = values_N.quantile(torch.tensor([0.1, 0.9])) if len(values_N) else values_N.new_full((2,), torch.nan)
        for name, value in zip(curves, (values_N.mean(), low, high), strict=True):
            curves[name].append(_number(value))
    return curves


def _numbers(values: Tensor) -> Any:
    """Nested lists of numbers."""
    return [_numbers(row) for row in values] if values.dim() else _number(values)


def _number(value: Tensor | float) -> float | None:
    """Five digits; None for NaN, 0 for rounding."""
    number = float(value)
    return None if number != number else 0.0 if abs(number) < ROUNDING else float(f"{number:.5g}")


def value_range(values: Iterable[float | None]) -> tuple[float, float]:
    """The lowest and highest value; a range around a constant."""
    numbers = [value for value in values if value is not None] or [0.0]
    low, high = min(numbers), max(numbers)
    return (low, high) if high > low else (low - 1, high + 1)

"""What an encoding does to attention scores at initialisation: by distance, by query and key, under a shift; nothing is trained.

Everything is drawn from one situation. All tokens have the same content, one of CONTENTS random embeddings, so only positions
tell them apart; the encoding adds to the embeddings, a layer norm follows, queries and keys are one random rotation of the
result (W_q = W_k: with two of them an absolute encoding's scores would average out to 0). The effect of the encoding is the score
less the plain q.k/sqrt(D) of that content. For a content-free bias this is the bias, so that is what is taken.
"""

from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from rpecli.attention import dispatch as attention
from rpecli.attention import reference as attention_reference
from rpecli.choice import ChoiceError, parse_choice, split_layers
from rpecli.describe import source as anatomy
from rpecli.encoding import Encoding, Shape, for_layers, overrides
from rpecli.task import SPECIAL

CONTENTS = 16
SHIFT = 37  # a prime, so that no period of a power of two hides behind it
MOVED = 0.5  # parameters that start at 0 show nothing: before the shift all move by this much noise
DARK = -1e4  # what is below is masking, whatever number an encoding masks with
FLAT = 1e-6  # a mean below it is what rounding left of q.k - q.k


@dataclass(frozen=True)
class Portrait:
    """Facts and curves of one encoding. Distances, queries and keys run from 0 to twice `trained`; None is what is not seen."""

    encoding: str
    summary: str
    about: str
    group: str
    paper: str
    year: str
    options: dict[str, dict[str, Any]]  # name -> value and default
    hooks: list[str]
    acts: list[str]
    kernel: str
    cost: str
    channels: dict[str, int]  # of a query and key: in the model, and as compared
    parameters: dict[str, int]  # of each layer, and once for all layers
    shift: dict[str, Any]  # claimed, the largest change measured, how far positions moved
    causal_only: bool
    unseen: str
    shape: dict[str, int]
    shown: str  # what the curves and maps are, in words
    heads: list[dict[str, list[float | None]]]  # by distance: mean, low and high over query positions and contents
    maps: list[list[list[float | None]]]  # of each head, [query][key], mean over contents
    average: list[list[float | None]]

    def data(self) -> dict[str, Any]:
        """The same as plain values, for JSON and for drawing."""
        return asdict(self)


def draw(choice: str, d_model: int = 64, n_head: int = 4, length: int = 64, seed: int = 0) -> Portrait:
    """The portrait of `rope`, `rope:base=500` or `./mine.py`. Raises ChoiceError that names what is wrong."""
    if d_model < 1 or n_head < 1 or d_model % n_head or length < 2:
        raise ChoiceError(
            f"d_model={d_model}, n_head={n_head}, length={length}: give a width that the heads share evenly, and a length above 1"
        )
    shape = Shape(d_model, n_head, length)
    first, second = _layers(choice, shape, seed)
    found = anatomy.of(parse_choice(choice)[0])
    with torch.no_grad():
        facts = _facts(choice, first, found) | {"shift": _shift(choice, shape, seed), "parameters": _parameters(first, second)}
        sizes = {"d_model": d_model, "n_head": n_head, "trained": length, "drawn": 2 * length, "seed": seed}
        return Portrait(**facts, shape=sizes, **_curves(first, effect(first, 2 * length, seed)))


def _layers(choice: str, shape: Shape, seed: int) -> list[Encoding]:
    """The encodings of a first and a second layer, drawn as a model draws them."""
    if len(split_layers(choice)) > 1:
        raise ChoiceError(f"{choice}: encodings that take turns are drawn one by one: rpe show {split_layers(choice)[0]}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return [each.eval() for each in for_layers(choice, shape, 2)]


# ------------------------------------------------------------------------------------------------------------------- facts


def _facts(choice: str, made: Encoding, found: anatomy.Anatomy) -> dict[str, Any]:
    """What the file says, and the instance where its options may have changed it."""
    hooks, kernel = _hooks(made, found), attention.kernel(made)
    read = {key: getattr(found, key) for key in ("summary", "about", "paper", "year")}
    live = {key: getattr(made, key) for key in ("group", "causal_only", "unseen")}
    acts = [anatomy.HOOKS[hook] for hook in hooks] or [anatomy.NOWHERE]
    return {"encoding": choice, **read, **live, "options": _options(choice, found.options), "hooks": hooks, "acts": acts,
            "kernel": kernel, "cost": anatomy.COST[kernel], "channels": _channels(made)}  # fmt: skip


def _options(choice: str, defaults: dict[str, Any]) -> dict[str, dict[str, Any]]:
    given = parse_choice(choice)[1]
    return {key: {"value": given.get(key, default), "default": default} for key, default in defaults.items()}


def _hooks(made: Encoding, found: anatomy.Anatomy) -> list[str]:
    """The hooks of the instance: an option may have brought more of them than the file's class has."""
    only_files = ("by_distance", "asks")  # hooks of the classes between the file's and Encoding
    return [hook for hook in anatomy.HOOKS if hook in found.hooks or (hook not in only_files and _own(made, hook, found))]


def _own(made: Encoding, hook: str, found: anatomy.Anatomy) -> bool:
    way_to = {"bias": "distance", "score": "curve"}.get(hook)  # that bias is only the way to by_distance, that score to asks
    return overrides(made, hook) and (way_to is None or found.kernel != way_to)


def _channels(made: Encoding) -> dict[str, int]:
    """Channels of a query and a key before and after `rotate`: what the dot products cost."""
    x_BxTxM, positions = torch.ones(1, 2, made.shape.d_model), torch.arange(2)[None]
    q = torch.ones(1, made.shape.n_head, 2, made.shape.d_head)
    f = made.features(x_BxTxM)
    return {"model": made.shape.d_head, "compared": made.rotate(q, q, positions, positions, f, f)[0].shape[-1]}


def _parameters(first: Encoding, second: Encoding) -> dict[str, int]:
    one = {id(each): each.numel() for each in first.parameters()}
    both = one | {id(each): each.numel() for each in second.parameters()}
    each_layer = sum(both.values()) - sum(one.values())
    return {"layer": each_layer, "shared": sum(one.values()) - each_layer}


def _shift(choice: str, shape: Shape, seed: int) -> dict[str, Any]:
    """How much scores of random tokens change when every position moves by SHIFT; with the parameters moved as well."""
    made, noise = _layers(choice, shape, seed)[0], torch.Generator().manual_seed(seed + 1)
    for each in made.parameters():
        each.add_(MOVED * torch.randn(each.shape, generator=noise))
    x_BxTxM = torch.randn(2, shape.trained, shape.d_model, generator=noise)
    w_2xMxM = torch.randn(2, shape.d_model, shape.d_model, generator=noise) * shape.d_model**-0.5
    here, there = (_scores(made, x_BxTxM, w_2xMxM, torch.arange(shape.trained) + start) for start in (0, SHIFT))
    past = ~attention_reference.causal_mask(shape.trained, shape.trained)
    return {"claimed": made.shift_invariant, "change": _number((here - there)[..., past].abs().max()), "by": SHIFT}


# ------------------------------------------------------------------------------------------------------------------ curves


def effect(made: Encoding, length: int, seed: int = 0) -> Tensor:
    """What the encoding adds to the scores of tokens with the same content, `[contents, H, length, length]`; NaN where unseen."""
    positions = torch.arange(length)
    dark = attention_reference.causal_mask(length, length)
    if _content_free(made):
        added = made.bias(positions[None], positions[None])
    else:
        drawn = torch.Generator().manual_seed(seed)
        x_Cx1xM = torch.randn(CONTENTS, 1, made.shape.d_model, generator=drawn)
        w_MxM = torch.linalg.qr(torch.randn(made.shape.d_model, made.shape.d_model, generator=drawn))[0]
        q_CxHx1xD = _heads(F.layer_norm(x_Cx1xM, x_Cx1xM.shape[-1:]) @ w_MxM, made.shape.n_head)
        plain_CxHx1x1 = (q_CxHx1xD**2).sum(-1, keepdim=True) * made.shape.scale
        added = _scores(made, x_Cx1xM.expand(-1, length, -1), w_MxM.expand(2, -1, -1), positions) - plain_CxHx1x1
    return added.float().masked_fill(dark | (added < DARK), torch.nan)


def _curves(made: Encoding, effect_CxHxTxS: Tensor) -> dict[str, Any]:
    maps_HxTxS = effect_CxHxTxS.nanmean(0)
    heads = [_by_distance(each) for each in effect_CxHxTxS.unbind(1)]
    return {"shown": _shown(made, effect_CxHxTxS), "heads": heads, "maps": _plain(maps_HxTxS),
            "average": _plain(maps_HxTxS.nanmean(0))}  # fmt: skip


def _content_free(made: Encoding) -> bool:
    return overrides(made, "bias") and not any(overrides(made, hook) for hook in ("embed", "features", "rotate", "score"))


def _scores(made: Encoding, x_BxTxM: Tensor, w_2xMxM: Tensor, positions_T: Tensor) -> Tensor:
    """Scores `[B, H, T, T]` of a first layer. The tokens' ids are one symbol's, for encodings that count runs of digits."""
    ids_BxT = torch.full(x_BxTxM.shape[:2], SPECIAL)
    h_BxTxM = made.embed(x_BxTxM, positions_T[None], ids_BxT)
    h_BxTxM = F.layer_norm(h_BxTxM, h_BxTxM.shape[-1:])
    q, k = (_heads(h_BxTxM @ w_MxM, made.shape.n_head) for w_MxM in w_2xMxM)
    return attention_reference.scores(made, q, k, h_BxTxM, positions_T)


def _heads(x_BxTxM: Tensor, n_head: int) -> Tensor:
    return x_BxTxM.unflatten(-1, (n_head, -1)).transpose(1, 2)


def _shown(made: Encoding, effect_CxHxTxS: Tensor) -> str:
    learns = " at initialisation" if any(True for _ in made.parameters()) else ""
    if _content_free(made):
        words = f"the bias{learns}, which no content changes"
    else:
        words = f"score less the plain q.k/sqrt(D){learns}, between tokens of the same content, W_q = W_k"
        words += f": mean of {CONTENTS} contents"
    zeros = learns and bool(effect_CxHxTxS.nan_to_num().abs().max() < 10 * FLAT)
    return words + ("; 0 throughout, since what it learns starts at 0" if zeros else "")


def _by_distance(effect_CxTxS: Tensor) -> dict[str, list[float | None]]:
    """Mean, 10th and 90th percentile over query positions and contents, for every distance."""
    sides: dict[str, list[float | None]] = {"mean": [], "low": [], "high": []}
    for distance in range(effect_CxTxS.shape[-1]):
        values = effect_CxTxS.diagonal(-distance, -2, -1)
        values = values[~values.isnan()]
        low, high = values.quantile(torch.tensor([0.1, 0.9])) if len(values) else values.new_full((2,), torch.nan)
        for side, value in zip(sides, (values.mean(), low, high), strict=True):
            sides[side].append(_number(value))
    return sides


def _plain(numbers: Tensor) -> Any:
    return [_plain(each) for each in numbers] if numbers.dim() else _number(numbers)


def _number(value: Tensor | float) -> float | None:
    """Five digits; None for what is no number, 0 for rounding."""
    number = float(value)
    return None if number != number else 0.0 if abs(number) < FLAT else float(f"{number:.5g}")

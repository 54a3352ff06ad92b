"""The contract of an encoding: five hooks, each the identity by default; override the one or two you need.

    embed     adds something to the token embeddings, once, before the first layer     (absolute encodings)
    features  learned per-token features of a layer's input, cached beside k and v     (gates, angles)
    rotate    turns queries and keys, perhaps widening them                            (rotary; biases that split into channels)
    bias      adds a content-free score to every pair                                  (most depend on the distance alone)
    score     turns the logits into other logits                                       (content-dependent scores)

Rules. Positions are tensors handed in, `[B or 1, length]`, never an `arange` inside an encoding. The engine owns the scale
1/sqrt(head width): biases come after it. The cache keeps raw k, v and features, so decoding equals the full pass.
Where attention is causal, the queries handed in are those of the last T of the keys. Features of padding arrive as 0.

A new encoding is one file in `rpecli/encodings/` with one class that derives from Encoding, DistanceBias or DistanceCurve.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from rpecli import catalog
from rpecli.choice import ChoiceError, parse_choice, split_layers, split_switch

GROUPS = ("APE", "RPE", "none", "content")


@dataclass(frozen=True)
class Shape:
    """What an encoding may know of the model: width, heads, the longest sequence (in tokens) that training will show, and
    whether a token sees only what stands before it."""

    d_model: int
    n_head: int
    trained: int = 512
    causal: bool = True

    @property
    def d_head(self) -> int:
        return self.d_model // self.n_head

    @property
    def scale(self) -> float:
        return self.d_head**-0.5


class Encoding(nn.Module):
    """One instance a layer, or one for all layers where `shared` is true. Options are keyword-only parameters of `__init__`."""

    group: ClassVar[str] = "RPE"  # one of GROUPS: how reports compare it
    paper: ClassVar[str] = ""  # title, year, arXiv id
    shared: ClassVar[bool] = False  # one instance serves every layer
    shift_invariant: bool = True  # scores do not change when every position moves by the same amount; an instance may differ
    causal_only: ClassVar[bool] = False  # has no form for attention in both directions
    unseen: ClassVar[str] = "defined"  # what happens past the trained length, in a few words

    def __init__(self, shape: Shape):
        super().__init__()
        if self.causal_only and not shape.causal:
            raise ValueError("it has no form for attention in both directions: write attention: causal")
        self.shape = shape

    def tie(self, first: Self) -> None:
        """Called on the instances of later layers with that of the first, to share parameters across layers."""

    def embed(self, x_BxTxM: Tensor, positions_BxT: Tensor, ids_BxT: Tensor) -> Tensor:
        return x_BxTxM

    def features(self, x_BxTxM: Tensor) -> Tensor | None:
        """Per-token features `[B, H or 1, T, F]` of a layer's normalised input; of padding the engine makes them 0."""
        return None

    def rotate(
        self, q: Tensor, k: Tensor, q_pos: Tensor, k_pos: Tensor, qf: Tensor | None, kf: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """`q_BxHxTxD, k_BxHxSxD` to queries and keys of any common width; only their dot products count."""
        return q, k

    def bias(self, q_pos: Tensor, k_pos: Tensor) -> Tensor:
        """Content-free score `[B or 1, H, T, S]`."""
        raise NotImplementedError

    def score(
        self, logits: Tensor, q: Tensor, k: Tensor, q_pos: Tensor, k_pos: Tensor, qf: Tensor | None, kf: Tensor | None
    ) -> Tensor:
        """`logits_BxHxTxS` (scaled, biased, not masked) to other logits."""
        return logits

    def held(self, rows: int, keys: int) -> float:
        """How many tensors of the size of a block's logits (`rows` x `keys`) there are at once while `bias` or `score` works.

        By it `rpe eval` reckons the memory that a length takes. The sum of two scores has about 4, as has the softmax.
        """
        return 4.0

    def untrained(self, positions_BxT: Tensor, ids_BxT: Tensor | None = None) -> int:
        """How many of these positions (or tokens) use parameters that training never touched."""
        return 0


class DistanceBias(Encoding):
    """A bias that is a function of the distance i-j alone, `[H]` numbers for each: served by a linear-memory kernel."""

    def by_distance(self, distance: Tensor) -> Tensor:
        """Bias `[H, *distance.shape]` of distances i-j (float); negative ones lie in the future, masked in causal attention."""
        raise NotImplementedError

    def bias(self, q_pos: Tensor, k_pos: Tensor) -> Tensor:
        return self.by_distance(q_pos[:, :, None] - k_pos[:, None, :]).transpose(0, 1)


class DistanceCurve(Encoding):
    """A score that each query's content gives to every distance, asks_i . vectors[i-j]: served by a linear-memory kernel.

    Distances from `reach` on share one vector. An encoding where every distance has its own (reach None) gives its scores to
    positions that are not running, and in training, by another hook.
    """

    reach: int | None = None

    def asks(self, q: Tensor, qf: Tensor | None) -> Tensor:
        """`[B, H, T, R]` of raw queries and their features."""
        raise NotImplementedError

    def vectors(self, distance_N: Tensor) -> Tensor:
        """`[H or 1, R, N]` of distances i-j (whole numbers)."""
        raise NotImplementedError

    def alone(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        """Queries and keys of the rest of the score; here they take the place of what `rotate` returns."""
        return q, k

    def held(self, rows: int, keys: int) -> float:
        return super().held(rows, keys) + (self.reach or 0) / keys  # every row's whole curve

    def score(
        self, logits: Tensor, q: Tensor, k: Tensor, q_pos: Tensor, k_pos: Tensor, qf: Tensor | None, kf: Tensor | None
    ) -> Tensor:
        assert self.reach is not None
        ahead = 0 if self.shape.causal else self.reach
        curve_BxHxTxN = self.asks(q, qf) @ self.vectors(torch.arange(-ahead, self.reach + 1, device=q.device))
        column_BxTxS = (q_pos[:, :, None] - k_pos[:, None, :]).clamp(-ahead, self.reach).long() + ahead
        return logits + curve_BxHxTxN.gather(-1, column_BxTxS[:, None].expand_as(logits))


def overrides(encoding: Encoding, hook: str) -> bool:
    """Whether an encoding has its own `hook`."""
    return getattr(type(encoding), hook) is not getattr(Encoding, hook)


def in_transform() -> bool:
    """Whether torch.func (vmap, grad) is at work: there, sizes cannot depend on values, nor autograd functions go unprepared."""
    return torch._C._functorch.maybe_current_level() is not None


def make(choice: str, shape: Shape, **options: Any) -> Encoding:
    """The encoding of a name (`rope`, `rope:base=500`, `./mine.py`). Raises ChoiceError that names what is wrong."""
    name, given = parse_choice(choice)
    cls = catalog.load_class("encodings", name, Encoding)
    kept = catalog.convert(cls, {**given, **options}, f"encoding {name}")
    try:
        return cls(shape, **kept)
    except ValueError as error:
        raise ChoiceError(f"encoding {choice}: {error}") from error


def build(choice: str, d_model: int, n_head: int, trained: int = Shape.trained, causal: bool = True, **options: Any) -> Encoding:
    """`make` for notebooks: `build("t5", d_model=64, n_head=4, buckets=16)`."""
    return make(choice, Shape(d_model, n_head, trained, causal), **options)


def reads_distances(encoding: Encoding) -> bool:
    """Whether scores are a function of how far back a key lies, which only ascending positions tell."""
    return overrides(encoding, "bias") or (overrides(encoding, "score") and encoding.group == "RPE")


def every(choice: str, shape: Shape) -> list[Encoding]:
    """One instance of every part of a choice. Raises ChoiceError that names what is wrong."""
    return [make(part, shape) for phase in split_switch(choice) if phase for part in split_layers(phase)]


def for_layers(choice: str, shape: Shape, n_layer: int) -> list[Encoding]:
    """An instance a layer. `rope+none` takes turns over the layers; a shared encoding is one instance for all of its layers."""
    choices = split_layers(choice)
    made: list[Encoding] = []
    first: dict[str, Encoding] = {}
    for each in (choices[n % len(choices)] for n in range(n_layer)):
        new = first[each] if each in first and first[each].shared else make(each, shape)
        new.tie(first.setdefault(each, new))
        made.append(new)
    return made

"""The contract of an encoding: six hooks, each the identity by default; an encoding overrides the one or two it needs.

    embed     adds a vector to the token embeddings, once, before the first layer      absolute encodings
    relocate  gives the tokens other positions, which the hooks below then see         numbers of segments
    features  computes learned features of each token from a layer's input             gates, angles
    rotate    rotates the queries and keys, or widens them                             rotary encodings
    bias      adds a score that depends on the positions and not on the content        ALiBi, T5
    score     computes other logits from the logits                                    scores that depend on the content

Rules. Positions are tensors that the engine passes in, `[B or 1, length]`; an encoding never makes an `arange` of its own. The
engine applies the scale 1/sqrt(head width) before it adds a bias. The cache holds raw keys, values and features, so that decoding
equals the full pass. The queries are those of the last T of the S keys. The features of padding tokens are 0.

A new encoding is one file in `rpecli/encodings/` with one class that derives from Encoding, DistanceBias or DistanceCurve.
"""

import inspect
from dataclasses import dataclass
from numbers import Integral
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from rpecli import catalog, trust
from rpecli.choice import ChoiceError, canonical, parse_choice, split_layers, split_switch
from rpecli.options import too_large

HOOKS = (
    "embed",
    "relocate",
    "features",
    "rotate",
    "bias",
    "score",
    "by_distance",
    "query_weights",
    "distance_basis",
    "content_qk",
)


@dataclass(frozen=True)
class Shape:
    """What an encoding may know of the model.

    `max_train_length` is the longest sequence that training shows, in tokens. Where attention is `causal`, a token sees only
    itself and the tokens before it.
    """

    d_model: int
    n_head: int
    max_train_length: int = 512
    causal: bool = True

    @property
    def d_head(self) -> int:
        return self.d_model // self.n_head

    @property
    def scale(self) -> float:
        return self.d_head**-0.5


@dataclass(frozen=True, eq=False)
class QueryKey:
    """The queries and keys of a layer as its projections give them, with their positions and features."""

    q_BxHxTxD: Tensor
    k_BxHxSxD: Tensor
    q_pos_BxT: Tensor  # B may be 1: positions shared by all sequences
    k_pos_BxS: Tensor
    q_feat_BxHxTxF: Tensor = None  # type: ignore[assignment]  # None only where the encoding has no features, so none to read
    k_feat_BxHxSxF: Tensor = None  # type: ignore[assignment]
    product_dtype: torch.dtype = torch.float32  # of the products of what `rotate` returns; bfloat16 has 8 bits

    @classmethod
    def last(cls, q_BxHxTxD: Tensor, k_BxHxSxD: Tensor, positions_BxS: Tensor, feat_BxHxSxF: Tensor | None = None) -> "QueryKey":
        """Queries of the last T of S tokens, whose positions and features these are."""
        start = k_BxHxSxD.shape[2] - q_BxHxTxD.shape[2]
        q_pos_BxT = positions_BxS[:, start:] if start else positions_BxS  # one tensor, so that angles are computed once
        if feat_BxHxSxF is None:
            return cls(q_BxHxTxD, k_BxHxSxD, q_pos_BxT, positions_BxS)
        return cls(q_BxHxTxD, k_BxHxSxD, q_pos_BxT, positions_BxS, feat_BxHxSxF[:, :, start:], feat_BxHxSxF)

    def block(self, start: int, stop: int, keys: int) -> "QueryKey":
        """The queries start..stop-1 with the first keys."""
        positions = self.q_pos_BxT[:, start:stop], self.k_pos_BxS[:, :keys]
        if self.k_feat_BxHxSxF is None:
            return QueryKey(self.q_BxHxTxD[:, :, start:stop], self.k_BxHxSxD[:, :, :keys], *positions)
        features = self.q_feat_BxHxTxF[:, :, start:stop], self.k_feat_BxHxSxF[:, :, :keys]
        return QueryKey(self.q_BxHxTxD[:, :, start:stop], self.k_BxHxSxD[:, :, :keys], *positions, *features)

    @property
    def lengths(self) -> tuple[int, int]:
        """T and S, the numbers of queries and keys."""
        return self.q_BxHxTxD.shape[2], self.k_BxHxSxD.shape[2]

    @property
    def distance_BxTxS(self) -> Tensor:  # noqa: N802 - reads as an attribute
        """Positions of the queries minus those of the keys."""
        return self.q_pos_BxT[:, :, None] - self.k_pos_BxS[:, None, :]

    @property
    def device(self) -> torch.device:
        return self.q_BxHxTxD.device


class TooLongError(ValueError):
    """Positions farther apart than an encoding is defined for."""


class Encoding(nn.Module):
    """One instance per layer, or one for all layers if `shared`. Options are the keyword-only parameters of `__init__`.

    An option may change `shared`, `shift_invariant` and `causal_only` of an instance, and give it a hook (`self.score = ...`).
    """

    title: ClassVar[str] = ""  # the name that reports show; without one, that of the file
    look: ClassVar[tuple[str, str] | None] = None  # color and marker in every figure; without them, they follow from the name
    group: ClassVar[str] = "RPE"  # one of catalog.GROUPS: reports compare encodings by it
    paper: ClassVar[str] = ""  # title, year, arXiv id
    baseline: ClassVar[bool] = False  # whether `encoding: baselines` stands for it among others
    shared: bool = False  # one instance serves all layers
    shift_invariant: bool = True  # scores do not change if all positions move by the same amount
    causal_only: bool = False  # not defined for bidirectional attention
    extrapolation: ClassVar[str] = "defined"  # what happens past the training length, in a few words

    def __init__(self, shape: Shape):
        super().__init__()
        if self.causal_only and not shape.causal:
            raise ValueError("it has no form for attention in both directions: write attention: causal")
        self.shape = shape

    @property
    def on_scores(self) -> "Encoding":
        """The encoding whose hooks `features`, `rotate`, `bias` and `score` act: itself, or another one that it holds."""
        return self

    def share_with(self, first: Self) -> None:
        """Shares parameters across layers: called on the instance of every layer with that of the first layer."""

    def embed(self, x_BxTxM: Tensor, positions_BxT: Tensor, ids_BxS: Tensor) -> Tensor:
        """Token embeddings with the encoding added. `ids_BxS` are all tokens so far, of which the last T are embedded."""
        return x_BxTxM

    def relocate(self, positions_BxS: Tensor, ids_BxS: Tensor) -> Tensor:
        """Positions `[B or 1, S]` of all tokens so far, as the scores count them; they must not descend."""
        return positions_BxS

    def features(self, x_BxTxM: Tensor) -> Tensor | None:
        """Features `[B, H or 1, T, F]` of each token, computed from a layer's normalized input."""
        return None

    def rotate(self, qk: QueryKey) -> tuple[Tensor, Tensor]:
        """Queries `[B, H, T, W]` and keys `[B, H, S, W]` of any common width W: the logits are their scaled dot products."""
        return qk.q_BxHxTxD, qk.k_BxHxSxD

    def bias(self, q_pos_BxT: Tensor, k_pos_BxS: Tensor) -> Tensor:
        """Score `[B or 1, H, T, S]` that depends on the positions alone."""
        raise NotImplementedError

    def score(self, logits_BxHxTxS: Tensor, qk: QueryKey) -> Tensor:
        """Other logits `[B, H, T, S]`. Those given are scaled and biased; the mask comes after this hook."""
        return logits_BxHxTxS

    def fit(self, n_positions: int) -> float | None:
        """Fixes what depends on the evaluated length, before sequences with positions below `n_positions`; its scaling factor.

        Every row, and every step of decoding, then goes by the same frequencies. Raises TooLongError where scores would be wrong.
        """
        return None

    def score_buffers(self, rows: int, keys: int) -> float:
        """Peak number of tensors of the size of a block's logits (`rows` x `keys`) while `bias` or `score` runs.

        `rpe eval` uses it to estimate the memory of a length. A sum of two scores holds about 4, as does the softmax.
        """
        return 4.0

    @property
    def named_symbols(self) -> int:
        """How many symbols a task must have for the options to make sense: 1 more than the greatest that they name."""
        return 0

    def untrained(self, positions_BxT: Tensor, ids_BxT: Tensor | None = None) -> int:
        """Number of these positions (or tokens) that use parameters which training never touched."""
        return 0


class DistanceBias(Encoding):
    """A bias that depends on the distance i-j alone, one number per head: a linear-memory kernel serves it."""

    def by_distance(self, distance: Tensor) -> Tensor:
        """Bias `[H, *distance.shape]` of distances i-j (float). Negative ones lie in the future, which a causal mask hides."""
        raise NotImplementedError

    def bias(self, q_pos_BxT: Tensor, k_pos_BxS: Tensor) -> Tensor:
        return self.by_distance(q_pos_BxT[:, :, None] - k_pos_BxS[:, None, :]).transpose(0, 1)


class DistanceCurve(Encoding):
    """A score query_weights(q_i) . distance_basis(i-j) that each query gives to every distance; a linear-memory kernel serves it.

    All distances from `max_distance` on share one vector. If `max_distance` is None, every distance has its own vector; the
    encoding then needs another hook for its scores where that kernel does not apply: in training and for gaps in the positions.
    """

    max_distance: int | None = None

    def query_weights(self, qk: QueryKey) -> Tensor:
        """Weights `[B, H, T, R]` of the R basis functions, from the raw queries or their features."""
        raise NotImplementedError

    def distance_basis(self, distance_N: Tensor) -> Tensor:
        """Values `[H or 1, R, N]` of the basis functions at distances i-j (whole numbers)."""
        raise NotImplementedError

    def content_qk(self, qk: QueryKey) -> tuple[Tensor, Tensor]:
        """Queries and keys of the remaining score, used in place of what `rotate` returns."""
        return qk.q_BxHxTxD, qk.k_BxHxSxD

    def score_buffers(self, rows: int, keys: int) -> float:
        return super().score_buffers(rows, keys) + (self.max_distance or 0) / keys  # the whole curve of each row

    def score(self, logits_BxHxTxS: Tensor, qk: QueryKey) -> Tensor:
        assert self.max_distance is not None
        ahead = 0 if self.shape.causal else self.max_distance
        distance_N = torch.arange(-ahead, self.max_distance + 1, device=qk.device)
        curve_BxHxTxN = self.query_weights(qk) @ self.distance_basis(distance_N)
        column_BxTxS = qk.distance_BxTxS.clamp(-ahead, self.max_distance).long() + ahead
        return logits_BxHxTxS + curve_BxHxTxN.gather(-1, column_BxTxS[:, None].expand_as(logits_BxHxTxS))


def overrides(encoding: Encoding, hook: str) -> bool:
    """Whether an encoding, or the one that it holds for the scores, has its own `hook`."""
    default = getattr(Encoding, hook)
    return getattr(encoding, hook).__func__ is not default or getattr(encoding.on_scores, hook).__func__ is not default


def rotated_width(encoding: Encoding) -> int:
    """The width of a head's queries and keys after `rotate`, measured by rotating one token."""
    shape, position_1x1 = encoding.shape, torch.zeros(1, 1, dtype=torch.long)
    q_1xHx1xD, features = torch.zeros(1, shape.n_head, 1, shape.d_head), encoding.features(torch.zeros(1, 1, shape.d_model))
    return encoding.rotate(QueryKey.last(q_1xHx1xD, q_1xHx1xD, position_1x1, features))[0].shape[-1]


def inside_functorch() -> bool:
    """Whether a torch.func transform (vmap, grad) is running: sizes must not depend on values there, and some kernels fail.

    A private function: torch 2.13 has no public one, and its own `autograd/function.py` calls this.
    """
    return bool(torch._C._are_functorch_transforms_active())


def make(choice: str, shape: Shape, **options: Any) -> Encoding:
    """The encoding of a choice (`rope`, `rope:base=500`, `./mine.py`). Raises ChoiceError that names what is wrong."""
    name, texts = parse_choice(choice)
    cls = catalog.load_class("encodings", name, Encoding)
    _check_hooks(cls, name)
    _check_under(cls, name, texts)
    values = catalog.convert(cls, {**texts, **options}, f"encoding {name}")
    if problem := too_large(lambda: cls(shape, **values), values):
        raise ChoiceError(f"encoding {choice} {problem}")
    made = catalog.construct(cls, (shape,), values, f"encoding {choice}")
    if not isinstance(getattr(made, "shape", None), Shape):
        path = catalog.find("encodings", name)
        raise ChoiceError(
            f"{path}:{catalog.line_of(path, '__init__')}: {cls.__name__}.__init__ must begin with super().__init__(shape)"
        )
    return made


def _check_under(cls: type[Encoding], name: str, texts: dict[str, str]) -> None:
    """Raises ChoiceError for options that are meant for the encoding under it, with the spelling for them."""
    known = inspect.signature(cls.__init__).parameters
    if "over" in texts and (others := [f"{key}={value}" for key, value in texts.items() if key not in known]):
        spelling = f"'{name}:over=\"{':'.join([texts['over'], *others])}\"'"
        raise ChoiceError(f"encoding {name} has no option {others[0].partition('=')[0]!r}: for {texts['over']}, write {spelling}")


def _check_hooks(cls: type[Encoding], name: str) -> None:
    """Raises ChoiceError where a hook of a user's own file does not take what the engine gives it."""
    contract = next(base for base in (DistanceBias, DistanceCurve, Encoding) if issubclass(cls, base))
    for hook in HOOKS:
        method, expected = getattr(cls, hook, None), getattr(contract, hook, None)
        if not method or not expected:
            continue
        parameters = list(inspect.signature(expected).parameters)
        try:
            inspect.signature(method).bind(*parameters)
        except TypeError:
            words = f"{hook} does not take what the engine gives it: write def {hook}({', '.join(parameters)})"
            path = catalog.find("encodings", name)
            raise ChoiceError(f"{path}:{catalog.line_of(path, hook)}: {words}") from None


def build(
    choice: str, d_model: int, n_head: int, max_train_length: int = Shape.max_train_length, causal: bool = True, **options: Any
) -> Encoding:
    """`make` for notebooks, with a file that they name allowed to run: `build("t5", d_model=64, n_head=4, buckets=16)`.

    Raises ChoiceError for what is not one encoding, or does not fit.
    """
    if not isinstance(choice, str):
        raise ChoiceError(f"encoding {choice!r:.60}: write a name or a path, such as 'rope'")
    for name, value in (("d_model", d_model), ("n_head", n_head), ("max_train_length", max_train_length)):
        if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
            raise ChoiceError(f"{name} {value!r:.60}: write a whole number from 1 on")
    if not isinstance(causal, bool):
        raise ChoiceError(f"causal {causal!r:.60}: write True or False")
    if len(split_layers(split_switch(choice)[0])) > 1 or split_switch(choice)[1]:
        raise ChoiceError(f"{choice}: several encodings: build one for each layer, and one for each part of training")
    if d_model % n_head:
        raise ChoiceError(f"d_model {d_model} is not a multiple of n_head {n_head}: every head has d_model / n_head channels")
    trust.allow([canonical(choice)])
    return make(choice, Shape(d_model, n_head, max_train_length, causal), **options)


def reads_distances(encoding: Encoding) -> bool:
    """Whether scores depend on how far back a key lies, so that positions must ascend."""
    return overrides(encoding, "bias") or (overrides(encoding, "score") and encoding.group == "RPE")


def make_all(choice: str, shape: Shape) -> list[Encoding]:
    """One instance of every encoding that a choice names. Raises ChoiceError that names what is wrong."""
    return [make(part, shape) for phase in split_switch(choice) if phase for part in split_layers(phase)]


def for_layers(choice: str, shape: Shape, n_layer: int) -> list[Encoding]:
    """The instance of each layer. `rope+none` alternates over the layers; a shared encoding is one instance for its layers."""
    parts = split_layers(choice)
    encodings: list[Encoding] = []
    firsts: dict[str, Encoding] = {}
    for part in (parts[n % len(parts)] for n in range(n_layer)):
        encoding = firsts[part] if part in firsts and firsts[part].shared else make(part, shape)
        encoding.share_with(firsts.setdefault(part, encoding))
        encodings.append(encoding)
    return encodings

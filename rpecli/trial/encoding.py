"""Tries an encoding: every hook on its own with its shapes, then a model with it, forward, backward, at twice the length."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor

from rpecli import catalog, encoding
from rpecli.config.recipe import Config
from rpecli.encoding import DistanceBias, DistanceCurve, Encoding, QueryKey, Shape
from rpecli.model import Transformer
from rpecli.trial.fault import Tried, described

B, T, S = 2, 3, 5  # sequences, queries and keys of the hooks' tensors
VOCABULARY = 12
NEEDED = {DistanceBias: ("by_distance", "bias"), DistanceCurve: ("query_weights",)}  # a subclass defines one of these
CONSTANTS = {"title": str, "paper": str, "extrapolation": str, "shared": bool, "shift_invariant": bool, "causal_only": bool}


def attempt(tried: Tried, shape: Shape) -> None:
    """Raises Fault, or ChoiceError, for the first thing that is wrong."""
    with tried.trying("__init__"):
        instance = encoding.make(tried.choice, shape).eval()
    _check_class(tried, type(instance))
    _check_hooks(tried, instance, max(S, shape.max_train_length))
    tried.when = " at twice the training length"
    _check_hooks(tried, instance, max(S, 2 * shape.max_train_length))
    tried.when = ""
    with tried.trying("a training step"):
        _check_model(tried, shape)


def _check_class(tried: Tried, cls: type[Encoding]) -> None:
    if tried.is_shipped:
        return
    stated = catalog.class_constants(tried.path).get("group", "RPE")
    if cls.group not in catalog.GROUPS or stated != cls.group:
        raise tried.fault(
            "group", f"is {cls.group!r}, expected one of {', '.join(catalog.GROUPS)}, written as a plain string", "group"
        )
    for name, kind in CONSTANTS.items():
        if not isinstance(getattr(cls, name, None), kind | property):
            raise tried.fault(name, f"is {getattr(cls, name, None)!r:.40}, expected {kind.__name__}", name)
    look = cls.look
    if look is not None and not (isinstance(look, tuple) and len(look) == 2 and all(isinstance(part, str) for part in look)):
        raise tried.fault("look", f'is {look!r:.40}, expected a color and a marker: ("#0072B2", "o")', "look")
    for base, hooks in NEEDED.items():
        if issubclass(cls, base) and all(getattr(cls, hook) is getattr(base, hook) for hook in hooks):
            raise tried.fault(hooks[0], f"is missing: {cls.__name__} derives from {base.__name__}, which needs it", cls)


def _check_hooks(tried: Tried, instance: Encoding, last: int) -> None:
    """Calls every hook that is not the contract's with positions up to `last` - 1."""
    H, M = instance.shape.n_head, instance.shape.d_model
    generator = torch.Generator().manual_seed(0)
    x_BxSxM = torch.randn(B, S, M, generator=generator)
    ids_BxS = torch.randint(4, VOCABULARY, (B, S), generator=generator)
    positions_1xS = torch.linspace(0, last - 1, S).long()[None]  # near and far
    check = _Checker(tried, instance)
    check("embed", (x_BxSxM, positions_1xS, ids_BxS), "[B, T, M]", (B, S, M))
    _check_relocate(tried, instance, positions_1xS, ids_BxS)
    check = _Checker(tried, instance.on_scores)
    features = check("features", (x_BxSxM,), "[B, H or 1, T, F]", (B, (H, 1), S, None), optional=True)
    q_BxHxTxD, k_BxHxSxD = (torch.randn(B, H, n, M // H, generator=generator) for n in (T, S))
    qk = QueryKey.last(q_BxHxTxD, k_BxHxSxD, positions_1xS, None if features is None else features.detach())
    _check_rotate(tried, instance.on_scores, qk)
    distances_N = torch.arange(-2.0, last)
    check("by_distance", (distances_N[-S:],), "[H, *distance.shape]", (H, S))
    check("by_distance", (qk.distance_BxTxS.float(),), "[H, *distance.shape]", (H, 1, T, S))
    check("bias", (qk.q_pos_BxT, qk.k_pos_BxS), "[B or 1, H, T, S]", ((B, 1), H, T, S))
    weights = check("query_weights", (qk,), "[B, H, T, R]", (B, H, T, None))
    R = None if weights is None else weights.shape[-1]
    check("distance_basis", (torch.arange(S),), "[H or 1, R, N]", ((H, 1), R, S))
    logits_BxHxTxS = torch.randn(B, H, T, S, generator=generator)
    check("score", (logits_BxHxTxS, qk), "[B, H, T, S]", (B, H, T, S))
    _check_number(tried, instance.on_scores, "score_buffers", (T, S), float)
    _check_number(tried, instance, "untrained", (positions_1xS, ids_BxS), int)


class _Checker:
    """Calls a hook, if the encoding has one of its own, and compares what it returns with what the engine needs."""

    def __init__(self, tried: Tried, instance: Encoding):
        self.tried, self.instance = tried, instance

    def __call__(self, hook: str, arguments: tuple[Any, ...], text: str, sizes: tuple[Any, ...], optional: bool = False) -> Any:
        function = own_hook(self.instance, hook)
        if function is None:
            return None
        value = _call(self.tried, hook, function, *arguments)
        if not (optional and value is None):
            check_tensor(self.tried, hook, function, value, text, sizes)
        return value


def _call(tried: Tried, hook: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """What a hook returns. Raises Fault unless it returns the same for the same arguments, and leaves them as they are.

    The logits of `score` are its own, so that it may add to them in place.
    """
    given, again = deepcopy(arguments), deepcopy(arguments)
    value = tried.call(hook, function, *given)
    if not _same(given[hook == "score" :], arguments[hook == "score" :]):
        raise tried.fault(hook, "changed its input: make a new tensor, as x * 2 does and x.mul_(2) does not", function)
    if not _same(value, tried.call(hook, function, *again)):
        raise tried.fault(
            hook, "returned other numbers for the same input: draw none at random, and keep nothing between calls", function
        )
    return value


def _same(first: Any, second: Any) -> bool:
    """Whether two values, or the tensors in them, are equal; NaN is equal to NaN."""
    if isinstance(first, Tensor):
        return isinstance(second, Tensor) and first.shape == second.shape and first.nan_to_num().equal(second.nan_to_num())
    if isinstance(first, QueryKey):
        return _same(tuple(vars(first).values()), tuple(vars(second).values()))
    if isinstance(first, tuple):
        return isinstance(second, tuple) and len(first) == len(second) and all(map(_same, first, second))
    return True


def own_hook(instance: Encoding, hook: str) -> Callable[..., Any] | None:
    """The hook, unless it is the contract's own."""
    function = getattr(instance, hook, None)
    contract = [getattr(base, hook, None) for base in (Encoding, DistanceBias, DistanceCurve)]
    return None if function is None or getattr(function, "__func__", function) in contract else function


def check_tensor(tried: Tried, hook: str, function: object, value: Any, text: str, sizes: tuple[Any, ...]) -> None:
    """Raises Fault unless a value is a float tensor of these sizes without NaN; None stands for any size."""
    numbers = ", ".join("any" if n is None else " or ".join(map(str, n)) if isinstance(n, tuple) else str(n) for n in sizes)
    expected = f"expected {text} = [{numbers}]"
    if not isinstance(value, Tensor):
        raise tried.fault(hook, f"returned {described(value)}, {expected}", function)
    allowed = [n if isinstance(n, tuple) else (n,) for n in sizes]
    if value.dim() != len(sizes) or any(n not in ns for n, ns in zip(value.shape, allowed, strict=True) if ns != (None,)):
        raise tried.fault(hook, f"returned shape {list(value.shape)}, {expected}", function)
    if value.dtype != torch.float32:
        raise tried.fault(hook, f"returned {str(value.dtype).removeprefix('torch.')}, expected float32", function)
    if value.isnan().any():
        raise tried.fault(
            hook, "returned NaN: keep logarithms, roots and divisions to the numbers that they are defined for", function
        )


def _check_relocate(tried: Tried, instance: Encoding, positions_1xS: Tensor, ids_BxS: Tensor) -> None:
    function = own_hook(instance, "relocate")
    if function is None:
        return
    value, expected = _call(tried, "relocate", function, positions_1xS, ids_BxS), f"expected int64 [B or 1, S] = [{B} or 1, {S}]"
    if not isinstance(value, Tensor):
        raise tried.fault("relocate", f"returned {described(value)}, {expected}", function)
    if value.shape not in ((B, S), (1, S)) or value.dtype != torch.int64:
        dtype = str(value.dtype).removeprefix("torch.")
        raise tried.fault("relocate", f"returned {dtype} {list(value.shape)}, {expected}", function)
    if (value.diff(dim=1) < 0).any():
        raise tried.fault("relocate", "returned positions that descend", function)


def _check_rotate(tried: Tried, instance: Encoding, qk: QueryKey) -> None:
    for hook in ("rotate", "content_qk"):
        function = own_hook(instance, hook)
        if function is None:
            continue
        pair = _call(tried, hook, function, qk)
        if not (isinstance(pair, tuple) and len(pair) == 2):
            raise tried.fault(hook, f"returned {described(pair)}, expected a pair of tensors, queries and keys", function)
        H = instance.shape.n_head
        check_tensor(tried, hook, function, pair[0], "queries [B, H, T, W]", (B, H, T, None))
        check_tensor(tried, hook, function, pair[1], "keys [B, H, S, W]", (B, H, S, pair[0].shape[-1]))


def _check_number(tried: Tried, instance: Encoding, hook: str, arguments: tuple[Any, ...], kind: type) -> None:
    function = own_hook(instance, hook)
    if function is None:
        return
    value = tried.call(hook, function, *arguments)
    if isinstance(value, bool) or not isinstance(value, int | float if kind is float else int) or not 0 <= value < float("inf"):
        noun = "a number" if kind is float else "a whole number"
        raise tried.fault(hook, f"returned {described(value)}, expected {noun} from 0 on", function)


def _check_model(tried: Tried, shape: Shape) -> None:
    """One training step at the training length, then a forward pass at twice that, as an evaluation does it."""
    attention = "causal" if shape.causal else "bidirectional"
    config = Config.from_keys(task="trial", encoding=tried.choice, d_model=shape.d_model, n_head=shape.n_head, n_layer=2,
                              attention=attention)  # fmt: skip
    model = Transformer(config, VOCABULARY, shape.max_train_length)
    length = min(shape.max_train_length, 64)
    ids_BxT = torch.arange(B * length).view(B, length) % VOCABULARY
    loss = model.head(model(ids_BxT)).logsumexp(-1).mean()
    loss.backward()
    numbers = [loss, *(p.grad for p in model.parameters() if p.grad is not None)]
    if not all(bool(number.isfinite().all()) for number in numbers):
        raise tried.fault("a training step", "gives NaN or infinite numbers")
    ids_BxT = ids_BxT.repeat(1, 2)
    with torch.no_grad():
        logits = model.eval().head(model(ids_BxT))
    if logits.isnan().any():
        raise tried.fault("twice the training length", "gives NaN")

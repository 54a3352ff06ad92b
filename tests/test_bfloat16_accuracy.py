"""How far attention with products in bfloat16 is from float32, for every encoding that trains with them."""

import pytest
import torch
from helpers.encodings import build, draw
from torch import Tensor

from rpecli import catalog
from rpecli.attention import dispatch
from rpecli.attention.dispatch import ForwardContext, attend, kernel
from rpecli.encoding import QueryKey

H, M = 2, 32
CHOICES = [*catalog.names("encodings"), "alibi:learned=true", "mlp-bias:norm=true:log=true", "fox:bias=-2", "sandwich:width=64",
           "rope:window=16", "rope:learned=true"]  # fmt: skip
ROUNDED = [choice for choice in CHOICES if kernel(build(choice), by_curve=False) != "eager"]
BOUND = 0.01  # as measured: output 0.0015 (hard-alibi) to 0.005 (tisa), gradients to 0.0071 (pope)
OF_GATES = (
    0.06  # 0.025 to 0.057 at 512 tokens (fox): the gradient of a gate adds up the rounding of all pairs that it stands between
)
OF_POSITIONS = {"cpu": 0.02, "elsewhere": 0.04}  # of a network over distances, where gradients cancel: 0.010, 0.024


def attended(choice: str, n: int, rounded: bool) -> dict[str, Tensor]:
    """The output, and the gradients of queries, keys, values, features and of the encoding's parameters as one vector."""
    module = build(choice, max_train_length=n, d_model=M, n_head=H).on_scores.train()
    q, k, v = (draw(1, n, heads=H, seed=seed).bfloat16().float().requires_grad_() for seed in (1, 2, 3))
    features = module.features(draw(1, n, 1, M, seed=4)[:, 0])
    dtype, parameters = torch.bfloat16 if rounded else torch.float32, [] if features is not None else list(module.parameters())
    qk = QueryKey.last(q.to(dtype), k.to(dtype), torch.arange(n)[None], features)
    out = attend(module, qk, v.to(dtype), ForwardContext(contiguous_positions=True, bias_cache={}))
    assert out.dtype == dtype
    leaves = {"q": q, "k": k, "v": v} | ({} if features is None else {"gates": features})
    gradients = torch.autograd.grad(
        (out.float() * draw(1, n, heads=H, seed=5)).sum(),
        [*leaves.values(), *parameters],
        allow_unused=True,
        materialize_grads=True,
    )
    values = {"out": out.detach().float()} | dict(zip(leaves, gradients, strict=False))
    gates_or_positions = "gates" if module.group == "content" else "positions"
    return values | ({gates_or_positions: torch.cat([g.flatten() for g in gradients[len(leaves) :]])} if parameters else {})


def error(rounded: Tensor, exact: Tensor) -> float:
    return float((rounded - exact).norm() / exact.norm().clamp(min=1e-30))


@pytest.mark.parametrize("where", ["cpu", "elsewhere"])
@pytest.mark.parametrize("n", [512, pytest.param(1024, marks=pytest.mark.slow), pytest.param(2048, marks=pytest.mark.slow)])
@pytest.mark.parametrize("choice", ROUNDED)
def test_products_in_bfloat16_are_off_by_no_more_than_rounding(choice, n, where, monkeypatch):
    if where == "elsewhere":  # what PyTorch's own attention gets on a GPU
        monkeypatch.setattr(dispatch, "_gains_by_bfloat16", lambda *_: True)
        monkeypatch.setattr(dispatch, "_cpu_training", lambda *_: None)
    rounded, exact = attended(choice, n, rounded=True), attended(choice, n, rounded=False)
    bounds = {"gates": OF_GATES * (n / 512) ** 0.5, "positions": OF_POSITIONS[where] * n / 512}
    errors = {name: error(rounded[name], exact[name]) for name in exact}
    assert all(value < bounds.get(name, BOUND) for name, value in errors.items()), errors
    assert errors["out"] > 1e-4  # it is rounded


def test_what_is_not_rounded_is_known():
    """The others have scores of their own, which are computed in float32."""
    assert set(CHOICES) - set(ROUNDED) == {
        "cope", "dape", "deberta", "grape-ap", "path-attention", "rel-basis", "rerope", "row-gates", "scale-invariant",
        "self-extend", "shaw", "tapa", "wall",
    }  # fmt: skip

"""Attention by blocks of rows equals the plain softmax in float64, forward and every gradient, wherever it is chosen."""

import pytest
import torch
from torch import Tensor

from rpecli import encoding
from rpecli.attention import cpu_float32, dispatch
from rpecli.attention.cpu_float32 import Tiles
from rpecli.attention.dispatch import ForwardContext
from rpecli.attention.reference import causal_mask
from rpecli.encoding import QueryKey

# sequences, heads, the last so many tokens, of so many, width of a head
SIZES = [(2, 4, 24, 24, 8), (1, 1, 17, 17, 4), (3, 2, 5, 5, 8), (1, 8, 33, 33, 16), (2, 4, 13, 24, 8), (1, 2, 1, 9, 4)]
CONTIGUOUS = ForwardContext(contiguous_positions=True)


def draw(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def queries_keys_values(B: int, H: int, T: int, S: int, D: int) -> list[Tensor]:
    """As a model has them: views of `[B, T, H, D]`."""
    return [draw(B, n, H, D, seed=seed).transpose(1, 2).requires_grad_() for seed, n in enumerate((T, S, S))]


def causal_bias(heads: int, T: int, S: int, learned: bool) -> Tensor:
    return draw(1, heads, T, S, seed=4).masked_fill(causal_mask(T, S), -torch.inf).requires_grad_(learned)


def plain(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, scale: float) -> Tensor:
    q, k, v = q.double(), k.double(), v.double()
    logits_BxHxTxS = q @ k.transpose(-1, -2) * scale + (0.0 if bias is None else bias.double())
    return logits_BxHxTxS.masked_fill(causal_mask(q.shape[2], k.shape[2]), -torch.inf).softmax(-1) @ v


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("rows", [1, 4, 7, 64])
@pytest.mark.parametrize("cells", [1, 100, 1 << 18])
@pytest.mark.parametrize("bias_kind", ["none", "fixed", "learned", "learned by one head"])
def test_blocks_equal_the_plain_softmax_forward_and_backward(size, rows, cells, bias_kind):
    B, H, T, S, D = size
    leaves = queries_keys_values(B, H, T, S, D)
    bias = None if bias_kind == "none" else causal_bias(1 if "one" in bias_kind else H, T, S, "learned" in bias_kind)
    weight = draw(B, H, T, D, seed=5)
    out, expected = cpu_float32.attend(*leaves, bias, D**-0.5, Tiles(rows, cells)), plain(*leaves, bias, D**-0.5)
    torch.testing.assert_close(out, expected.float(), atol=1e-5, rtol=0)
    leaves += [bias] if "learned" in bias_kind else []
    gradients, expected_gradients = (torch.autograd.grad((y * weight).sum(), leaves) for y in (out, expected))
    for gradient, plain_gradient in zip(gradients, expected_gradients, strict=True):
        torch.testing.assert_close(gradient, plain_gradient, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("T", "S", "learned", "batch", "grad", "helps"),
    [
        (192, 192, False, 1, True, True),
        (191, 191, False, 1, True, False),  # short
        (128, 128, True, 1, True, True),
        (127, 127, True, 1, True, False),
        (9, 192, False, 1, True, True),  # the last rows of more keys
        (9, 191, False, 1, True, False),
        (192, 192, False, 2, True, False),  # a bias for every sequence
        (192, 192, False, 1, False, False),  # evaluation
    ],
)
def test_blocks_are_chosen_where_they_help(T, S, learned, batch, grad, helps):
    q, k, bias = torch.zeros(2, 1, T, 4), torch.zeros(2, 1, S, 4), torch.zeros(batch, 1, T, S, requires_grad=learned)
    with torch.set_grad_enabled(grad):
        assert cpu_float32.helps(q, k, bias) == helps
        assert not cpu_float32.helps(q.double(), k.double(), bias)


def test_a_torch_without_the_kernel_and_transforms_do_without(monkeypatch):
    q = torch.zeros(1, 1, 300, 4)
    assert cpu_float32.helps(q, q, None)
    torch.func.vmap(lambda q: q if not cpu_float32.helps(q, q, None) else pytest.fail("chosen under vmap"))(q[None])
    monkeypatch.setattr(cpu_float32, "_flash_backward", None)
    assert not cpu_float32.helps(q, q, None)


@pytest.mark.parametrize("length", [127, 128, 191, 192])
def test_training_reaches_it_and_evaluation_does_not(length, monkeypatch):
    reached = []
    monkeypatch.setattr(cpu_float32, "attend", lambda q, k, v, bias, scale: reached.append(bias is not None) or v)
    v = torch.zeros(1, 2, length, 4)
    qk = QueryKey.last(v, v, torch.arange(length)[None])
    for choice in ("none", "alibi", "t5"):
        module = encoding.build(choice, 8, 2)
        dispatch.attend(module, qk, v, CONTIGUOUS)
        with torch.no_grad():
            dispatch.attend(module, qk, v, CONTIGUOUS)
    assert reached == {127: [], 128: [True], 191: [True], 192: [False, True, True]}[length]


def test_an_encoder_does_not_reach_it(monkeypatch):
    monkeypatch.setattr(cpu_float32, "attend", lambda *_: pytest.fail("rows see the future there"))
    v = torch.zeros(1, 2, 200, 4)
    qk = QueryKey.last(v, v, torch.arange(200)[None])
    for choice in ("none", "t5"):
        dispatch.attend(encoding.build(choice, 8, 2, causal=False), qk, v, CONTIGUOUS)

"""Attention by blocks of rows equals the plain softmax in float64, forward and every gradient, wherever it is chosen."""

import pytest
import torch
from torch import Tensor

from rpecli import encoding
from rpecli.attention import cpu_float32 as fused
from rpecli.attention import dispatch as attention
from rpecli.attention import reference as attention_reference

# sequences, heads, the last so many tokens, of so many, width of a head
SIZES = [(2, 4, 24, 24, 8), (1, 1, 17, 17, 4), (3, 2, 5, 5, 8), (1, 8, 33, 33, 16), (2, 4, 13, 24, 8), (1, 2, 1, 9, 4)]
DARK = -torch.inf


def drawn(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def queries_keys_values(B: int, H: int, T: int, S: int, D: int) -> list[Tensor]:
    """As a model has them: views of `[B, T, H, D]`."""
    lengths = (T, S, S)
    return [drawn(B, n, H, D, seed=seed).transpose(1, 2).requires_grad_() for seed, n in enumerate(lengths)]


def bias_of(heads: int, T: int, S: int, learned: bool) -> Tensor:
    return drawn(1, heads, T, S, seed=4).masked_fill(attention_reference.causal_mask(T, S), DARK).requires_grad_(learned)


def plain(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, scale: float) -> Tensor:
    q, k, v = q.double(), k.double(), v.double()
    logits_BxHxTxS = q @ k.transpose(-1, -2) * scale + (0.0 if bias is None else bias.double())
    return logits_BxHxTxS.masked_fill(attention_reference.causal_mask(q.shape[2], k.shape[2]), DARK).softmax(-1) @ v


@pytest.mark.parametrize(("B", "H", "T", "S", "D"), SIZES)
@pytest.mark.parametrize("rows", [1, 4, 7, 64])
@pytest.mark.parametrize("cells", [1, 100, 1 << 18])
@pytest.mark.parametrize("bias", ["none", "fixed", "learned", "learned by one head"])
def test_blocks_equal_the_plain_softmax_forward_and_backward(B, H, T, S, D, rows, cells, bias, monkeypatch):
    monkeypatch.setattr(fused, "ROWS", rows)
    monkeypatch.setattr(fused, "CELLS", cells)
    leaves = queries_keys_values(B, H, T, S, D)
    given = None if bias == "none" else bias_of(1 if "one" in bias else H, T, S, "learned" in bias)
    weight = drawn(B, H, T, D, seed=5)
    found, wanted = (f(*leaves, given, D**-0.5) for f in (fused.attend, plain))
    torch.testing.assert_close(found, wanted.float(), atol=1e-5, rtol=0)
    leaves += [given] if "learned" in bias else []
    found, wanted = (torch.autograd.grad((each * weight).sum(), leaves) for each in (found, wanted))
    for mine, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("T", "S", "learned", "batch", "grad", "wanted"),
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
def test_blocks_are_chosen_where_they_help(T, S, learned, batch, grad, wanted):
    q, k, bias = torch.zeros(2, 1, T, 4), torch.zeros(2, 1, S, 4), torch.zeros(batch, 1, T, S, requires_grad=learned)
    with torch.set_grad_enabled(grad):
        assert fused.helps(q, k, bias) == wanted
        assert not fused.helps(q.double(), k.double(), bias)


def test_a_torch_without_the_kernel_and_transforms_do_without(monkeypatch):
    q = torch.zeros(1, 1, 300, 4)
    assert fused.helps(q, q, None)
    torch.func.vmap(lambda q: q if not fused.helps(q, q, None) else pytest.fail("chosen under vmap"))(q[None])
    monkeypatch.setattr(fused, "_flash_backward", None)
    assert not fused.helps(q, q, None)


@pytest.mark.parametrize("length", [127, 128, 191, 192])
def test_training_reaches_it_and_evaluation_does_not(length, monkeypatch):
    reached = []
    monkeypatch.setattr(fused, "attend", lambda q, k, v, bias, scale: reached.append(bias is not None) or v)
    q = torch.zeros(1, 2, length, 4)
    for choice in ("none", "alibi", "t5"):
        made = encoding.build(choice, 8, 2)
        attention.attend(made, q, q, q, torch.arange(length)[None], running=True)
        with torch.no_grad():
            attention.attend(made, q, q, q, torch.arange(length)[None], running=True)
    assert reached == {127: [], 128: [True], 191: [True], 192: [False, True, True]}[length]


def test_an_encoder_does_not_reach_it(monkeypatch):
    monkeypatch.setattr(fused, "attend", lambda *_: pytest.fail("rows see the future there"))
    q = torch.zeros(1, 2, 200, 4)
    for choice in ("none", "t5"):
        made = encoding.build(choice, 8, 2, causal=False)
        attention.attend(made, q, q, q, torch.arange(200)[None], running=True)

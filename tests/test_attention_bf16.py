"""Attention with bfloat16 products: exact formulas in float32, rounding that of bfloat16, and run where it should."""

import pytest
import torch
from test_fused import DARK, drawn, plain, queries_keys_values

from rpecli import encoding
from rpecli.attention import cpu_bfloat16 as attention_bf16
from rpecli.attention import cpu_float32 as fused
from rpecli.attention import dispatch as attention
from rpecli.attention import reference as attention_reference

CASES = [(2, 4, 24, 24), (1, 1, 17, 17), (3, 2, 5, 9), (2, 3, 70, 150), (1, 2, 1, 8)]  # sequences, heads, queries, keys
BIASES = [None, "all heads", "one head", "every sequence"]


def bias_for(which: str, B: int, H: int, T: int, S: int) -> torch.Tensor:
    drawn_bias = drawn(B if which == "every sequence" else 1, 1 if which == "one head" else H, T, S, seed=4)
    return drawn_bias.masked_fill(attention_reference.causal_mask(T, S), DARK).requires_grad_()


def found_and_wanted(B: int, H: int, T: int, S: int, bias: str | None) -> tuple[list, list]:
    """Output and gradients of the kernel and of the plain formula in float64."""
    q, k, v = queries_keys_values(B, H, T, S, 8)
    given = None if bias is None else bias_for(bias, B, H, T, S)
    leaves, weight = [q, k, v, *([] if given is None else [given])], drawn(B, H, T, 8, seed=5)
    both = []
    for each in (attention_bf16.attend, plain):
        out = each(q, k, v, given, 8**-0.5)
        both.append([out, *torch.autograd.grad((out * weight).sum(), leaves)])
    return both[0], both[1]


@pytest.mark.parametrize(("B", "H", "T", "S"), CASES)
@pytest.mark.parametrize("bias", BIASES)
@pytest.mark.parametrize("rows", [4, 7, 64])
@pytest.mark.parametrize("kept", [0, 2048])
def test_without_rounding_it_is_the_plain_softmax_forward_and_backward(B, H, T, S, bias, rows, kept, monkeypatch):
    monkeypatch.setattr(attention_bf16, "DTYPE", torch.float32)
    monkeypatch.setattr(attention_bf16, "KEPT", kept)
    monkeypatch.setattr(fused, "ROWS", rows)
    for mine, theirs in zip(*found_and_wanted(B, H, T, S, bias), strict=True):
        torch.testing.assert_close(mine, theirs.to(mine.dtype), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("B", "H", "T", "S"), CASES)
@pytest.mark.parametrize("bias", BIASES)
def test_with_rounding_it_is_off_by_bfloat16(B, H, T, S, bias):
    (out, *grads), (plain_out, *plain_grads) = found_and_wanted(B, H, T, S, bias)
    assert out.dtype == torch.bfloat16
    for mine, theirs in zip([out, *grads], [plain_out, *plain_grads], strict=True):
        off = float((mine.detach().double() - theirs.detach()).norm() / theirs.detach().norm().clamp(min=1e-9))
        assert off < 0.02 or float(theirs.detach().norm()) < 1e-9


def test_gradients_of_a_shared_bias_are_summed_in_float32():
    """300 sequences of equal size would be lost beside each other in 8 bits."""
    ones, bias = (
        torch.ones(300, 1, 2, 4),
        torch.zeros(1, 1, 2, 2).masked_fill(attention_reference.causal_mask(2, 2), DARK).requires_grad_(),
    )
    v = torch.tensor([[1.0, 1, 1, 1], [-1, -1, -1, -1]]).expand(300, 1, 2, 4)
    (grad,) = torch.autograd.grad(attention_bf16.attend(ones, ones, v, bias, 1.0).float().sum(), bias)
    assert grad[0, 0, 1].tolist() == [600.0, -600.0]  # p (1 - p) x difference of 2 x 4 channels x 300


@pytest.mark.parametrize(("S", "grad", "helps"), [(64, True, True), (63, True, False), (64, False, False)])
def test_it_is_chosen_for_training_of_long_enough_sequences(S, grad, helps):
    with torch.set_grad_enabled(grad):
        assert attention_bf16.helps(torch.zeros(1, 1, 9, 4), torch.zeros(1, 1, S, 4)) == helps
        assert not attention_bf16.helps(torch.zeros(1, 1, 9, 4, device="meta"), torch.zeros(1, 1, S, 4, device="meta"))


def test_transforms_do_without():
    k = torch.zeros(2, 1, 1, 64, 4)
    torch.func.vmap(lambda k: k if not attention_bf16.helps(k, k) else pytest.fail("chosen under vmap"))(k)


def attended(choice: str, device: str = "cpu", causal: bool = True, **options: object) -> torch.Tensor:
    made = encoding.build(choice, 8, 2, causal=causal).to(device)
    q, k, v = (drawn(1, 2, 70, 4, seed=seed).to(device, torch.bfloat16) for seed in range(3))
    f = made.features(drawn(1, 70, 8, seed=3).to(device))
    return attention.attend(made, q, k, v, torch.arange(70, device=device)[None], f, f, running=True, **options)


def test_encodings_with_a_score_and_padding_stay_in_float32(encoding_name):
    scored = encoding.overrides(encoding.build(encoding_name, 8, 2), "score")
    assert attended(encoding_name).dtype == (torch.float32 if scored else torch.bfloat16)
    assert attended(encoding_name, hidden_BxS=torch.arange(70)[None] < 2).dtype == torch.float32


def test_an_encoder_stays_in_float32():
    assert attended("t5", causal=False).dtype == torch.float32


def test_angles_are_taken_of_float32(monkeypatch):
    """Rotated in bfloat16, queries would be off by more than their last rounding."""
    seen: set[torch.dtype] = set()
    rope = type(encoding.build("rope", 8, 2))
    whole = rope.rotate
    monkeypatch.setattr(rope, "rotate", lambda self, q, k, *rest: seen.update((q.dtype, k.dtype)) or whole(self, q, k, *rest))
    assert attended("rope").dtype == torch.bfloat16
    assert seen == {torch.float32}


@pytest.mark.parametrize("choice", ["none", "rope", "alibi", "t5"])
def test_elsewhere_pytorch_gets_values_queries_and_bias_in_bfloat16(choice, monkeypatch):
    """On a device that is no CPU; `meta` computes nothing but knows what it would."""
    dtypes = []
    sdpa = torch.nn.functional.scaled_dot_product_attention

    def spy(q, k, v, attn_mask=None, **options):
        dtypes.extend(each.dtype for each in (q, k, v, attn_mask) if each is not None)
        return sdpa(q, k, v, attn_mask=attn_mask, **options)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", spy)
    assert attended(choice, "meta").dtype == torch.bfloat16
    assert set(dtypes) == {torch.bfloat16}
    assert len(dtypes) == 3 + encoding.overrides(encoding.build(choice, 8, 2), "bias")


def test_float32_never_meets_it(encoding_name, monkeypatch):
    monkeypatch.setattr(attention_bf16, "attend", lambda *_: pytest.fail("float32 rounded"))
    made = encoding.build(encoding_name, 8, 2)
    q, f = drawn(1, 2, 70, 4, seed=0), made.features(drawn(1, 70, 8, seed=3))
    attention.attend(made, q, q, q, torch.arange(70)[None], f, f, running=True)


def test_a_learned_bias_gets_its_gradient():
    made = encoding.build("t5", 8, 2)
    q = drawn(1, 2, 70, 4, seed=0).bfloat16().requires_grad_()
    attention.attend(made, q, q, q, torch.arange(70)[None], running=True).float().square().sum().backward()
    assert all(float(each.grad.abs().max()) > 0 for each in made.parameters())

"""Attention with bfloat16 products: exact formulas in float32, rounding that of bfloat16, and run where it should."""

import pytest
import torch
from test_cpu_float32 import CONTIGUOUS, draw, plain, queries_keys_values

from rpecli import encoding
from rpecli.attention import cpu_bfloat16, dispatch
from rpecli.attention.cpu_bfloat16 import Tiles
from rpecli.attention.dispatch import ForwardContext
from rpecli.attention.reference import causal_mask
from rpecli.encoding import QueryKey

CASES = [(2, 4, 24, 24), (1, 1, 17, 17), (3, 2, 5, 9), (2, 3, 70, 150), (1, 2, 1, 8)]  # sequences, heads, queries, keys
BIASES = [None, "all heads", "one head", "every sequence"]


def causal_bias(kind: str, B: int, H: int, T: int, S: int) -> torch.Tensor:
    bias = draw(B if kind == "every sequence" else 1, 1 if kind == "one head" else H, T, S, seed=4)
    return bias.masked_fill(causal_mask(T, S), -torch.inf).requires_grad_()


def with_gradients(attend, B: int, H: int, T: int, S: int, bias_kind: str | None, **options) -> list[torch.Tensor]:
    """The output of an attention function, and the gradients of all that goes into it."""
    q, k, v = queries_keys_values(B, H, T, S, 8)
    bias = None if bias_kind is None else causal_bias(bias_kind, B, H, T, S)
    leaves, weight = [q, k, v, *([] if bias is None else [bias])], draw(B, H, T, 8, seed=5)
    out = attend(q, k, v, bias, 8**-0.5, **options)
    return [out, *torch.autograd.grad((out * weight).sum(), leaves)]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("bias_kind", BIASES)
@pytest.mark.parametrize("rows", [4, 7, 64])
@pytest.mark.parametrize("kept_tokens", [0, 2048])
def test_without_rounding_it_is_the_plain_softmax_forward_and_backward(case, bias_kind, rows, kept_tokens):
    tensors = with_gradients(cpu_bfloat16.attend, *case, bias_kind, tiles=Tiles(rows, kept_tokens, torch.float32))
    for tensor, expected in zip(tensors, with_gradients(plain, *case, bias_kind), strict=True):
        torch.testing.assert_close(tensor, expected.to(tensor.dtype), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("bias_kind", BIASES)
def test_with_rounding_it_is_off_by_bfloat16(case, bias_kind):
    tensors = with_gradients(cpu_bfloat16.attend, *case, bias_kind)
    assert tensors[0].dtype == torch.bfloat16
    for tensor, expected in zip(tensors, with_gradients(plain, *case, bias_kind), strict=True):
        error = float((tensor.detach().double() - expected.detach()).norm() / expected.detach().norm().clamp(min=1e-9))
        assert error < 0.02 or float(expected.detach().norm()) < 1e-9


def test_gradients_of_a_shared_bias_are_summed_in_float32():
    """300 sequences of equal size would be lost beside each other in 8 bits."""
    ones = torch.ones(300, 1, 2, 4)
    bias = torch.zeros(1, 1, 2, 2).masked_fill(causal_mask(2, 2), -torch.inf).requires_grad_()
    v = torch.tensor([[1.0, 1, 1, 1], [-1, -1, -1, -1]]).expand(300, 1, 2, 4)
    (gradient,) = torch.autograd.grad(cpu_bfloat16.attend(ones, ones, v, bias, 1.0).float().sum(), bias)
    assert gradient[0, 0, 1].tolist() == [600.0, -600.0]  # p (1 - p) x difference of 2 x 4 channels x 300


@pytest.mark.parametrize(("S", "grad", "helps"), [(64, True, True), (63, True, False), (64, False, False)])
def test_it_is_chosen_for_training_of_long_enough_sequences(S, grad, helps):
    with torch.set_grad_enabled(grad):
        assert cpu_bfloat16.helps(torch.zeros(1, 1, 9, 4), torch.zeros(1, 1, S, 4)) == helps
        assert not cpu_bfloat16.helps(torch.zeros(1, 1, 9, 4, device="meta"), torch.zeros(1, 1, S, 4, device="meta"))


def test_transforms_do_without():
    k = torch.zeros(2, 1, 1, 64, 4)
    torch.func.vmap(lambda k: k if not cpu_bfloat16.helps(k, k) else pytest.fail("chosen under vmap"))(k)


def attended(choice: str, device: str = "cpu", causal: bool = True, context: ForwardContext = CONTIGUOUS) -> torch.Tensor:
    module = encoding.build(choice, 8, 2, causal=causal).to(device)
    q, k, v = (draw(1, 2, 70, 4, seed=seed).to(device, torch.bfloat16) for seed in range(3))
    features = module.features(draw(1, 70, 8, seed=3).to(device))
    return dispatch.attend(module, QueryKey.last(q, k, torch.arange(70, device=device)[None], features), v, context)


def test_encodings_with_a_score_and_padding_stay_in_float32(encoding_name):
    scored = encoding.overrides(encoding.build(encoding_name, 8, 2), "score")
    assert attended(encoding_name).dtype == (torch.float32 if scored else torch.bfloat16)
    padding = ForwardContext(padding_mask_BxS=torch.arange(70)[None] < 2, contiguous_positions=True)
    assert attended(encoding_name, context=padding).dtype == torch.float32


def test_an_encoder_stays_in_float32():
    assert attended("t5", causal=False).dtype == torch.float32


def test_angles_are_taken_of_float32(monkeypatch):
    """Rotated in bfloat16, queries would be off by more than their last rounding."""
    dtypes: set[torch.dtype] = set()
    rope = type(encoding.build("rope", 8, 2))
    rotate = rope.rotate

    def spy(self, qk: QueryKey):
        dtypes.update((qk.q_BxHxTxD.dtype, qk.k_BxHxSxD.dtype))
        return rotate(self, qk)

    monkeypatch.setattr(rope, "rotate", spy)
    assert attended("rope").dtype == torch.bfloat16
    assert dtypes == {torch.float32}


@pytest.mark.parametrize("choice", ["none", "rope", "alibi", "t5"])
def test_elsewhere_pytorch_gets_values_queries_and_bias_in_bfloat16(choice, monkeypatch):
    """On a device that is no CPU; `meta` computes nothing but knows what it would."""
    dtypes = []
    sdpa = torch.nn.functional.scaled_dot_product_attention

    def spy(q, k, v, attn_mask=None, **options):
        dtypes.extend(tensor.dtype for tensor in (q, k, v, attn_mask) if tensor is not None)
        return sdpa(q, k, v, attn_mask=attn_mask, **options)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", spy)
    assert attended(choice, "meta").dtype == torch.bfloat16
    assert set(dtypes) == {torch.bfloat16}
    assert len(dtypes) == 3 + encoding.overrides(encoding.build(choice, 8, 2), "bias")


def test_float32_never_meets_it(encoding_name, monkeypatch):
    monkeypatch.setattr(cpu_bfloat16, "attend", lambda *_: pytest.fail("float32 rounded"))
    module = encoding.build(encoding_name, 8, 2)
    q, features = draw(1, 2, 70, 4, seed=0), module.features(draw(1, 70, 8, seed=3))
    dispatch.attend(module, QueryKey.last(q, q, torch.arange(70)[None], features), q, CONTIGUOUS)


def test_a_learned_bias_gets_its_gradient():
    module = encoding.build("t5", 8, 2)
    q = draw(1, 2, 70, 4, seed=0).bfloat16().requires_grad_()
    out = dispatch.attend(module, QueryKey.last(q, q, torch.arange(70)[None]), q, CONTIGUOUS)
    out.float().square().sum().backward()
    assert all(float(parameter.grad.abs().max()) > 0 for parameter in module.parameters())

"""Every encoding in attention without a causal mask: every kernel, no causality, padding, finite numbers."""

import numpy as np
import pytest
import torch
from helpers import reference
from helpers.encodings import M, build, build_or_skip, draw, model_in, move_parameters

from rpecli.attention.blocks import BlockSizes
from rpecli.attention.dispatch import ForwardContext, attend
from rpecli.attention.reference import scores
from rpecli.encoding import QueryKey


@pytest.mark.parametrize("dense_keys", [512, 0])
@pytest.mark.parametrize("contiguous", [True, False])
@pytest.mark.parametrize(("T", "S"), [(1, 9), (9, 9), (5, 12), (33, 33)])
@pytest.mark.parametrize("padded", [False, True])
def test_every_kernel_equals_the_plain_softmax(encoding_name, T, S, dense_keys, contiguous, padded):
    module = move_parameters(build_or_skip(encoding_name, causal=False), 0.3)
    q, k, v = draw(2, T, seed=1), draw(2, S, seed=2), draw(2, S, seed=3)
    x = torch.randn(2, S, M, generator=torch.Generator().manual_seed(4))
    positions, padding_mask = torch.arange(S)[None] * (1 if contiguous else 3), None
    if padded:
        padding_mask = torch.zeros(2, S, dtype=torch.bool)
        padding_mask[0, 0], padding_mask[1, S // 2] = True, True
    context = ForwardContext(padding_mask, contiguous, sizes=BlockSizes(dense_keys, cells=8 * S + 1, min_rows=1))  # a few rows
    with torch.no_grad():
        qk = QueryKey.last(q, k, positions, module.features(x))
        logits, mask = scores(module, q, k, x, positions, padding_mask), None if padding_mask is None else padding_mask.numpy()
        expected = reference.attention(reference.array(logits), reference.array(v), mask, causal=False)
        np.testing.assert_allclose(attend(module, qk, v, context), expected, atol=1e-5)
    np.testing.assert_allclose(attend(module, qk, v, context).detach(), expected, atol=1e-5)  # and where gradients are kept


def test_every_token_counts_for_every_other(model_of, encoding_name, ids_of):
    model, leaves, T = model_in(model_of, encoding_name, causal=False).train(), [], 9

    def as_leaf(module, args, output):
        leaves.append(output.detach().requires_grad_())
        return leaves[0]

    model.embedding.register_forward_hook(as_leaf)
    logits_TxV = model.head(model(ids_of(1, T)))[0]
    for i in range(T):
        (gradient,) = torch.autograd.grad(logits_TxV[i].square().sum(), leaves[0], retain_graph=True)
        assert float(gradient[0].abs().sum(dim=-1).min()) > 0


def test_padding_on_either_side_changes_nothing(model_of, encoding_name, ids_of):
    model, ids, wide = model_in(model_of, encoding_name, causal=False), ids_of(1, 6), torch.zeros(2, 9, dtype=torch.long)
    padding_mask, positions = torch.ones(2, 9, dtype=torch.bool), torch.zeros(2, 9, dtype=torch.long)
    for row, columns in enumerate((slice(0, 6), slice(3, 9))):
        wide[row, columns], padding_mask[row, columns], positions[row, columns] = ids, False, torch.arange(6)
    with torch.no_grad():
        padded, unpadded = model(wide, positions=positions, padding_mask_BxT=padding_mask), model(ids)[0]
    for row in range(2):
        torch.testing.assert_close(padded[row][~padding_mask[row]], unpadded, atol=2e-5, rtol=0)


def test_all_is_finite_at_eight_times_the_trained_length(model_of, encoding_name, ids_of):
    model = model_in(model_of, encoding_name, causal=False, max_train_length=80)
    with torch.no_grad():
        assert bool(model.head(model(ids_of(1, 640))).isfinite().all())


def test_training_in_bfloat16_is_finite(model_of, encoding_name, ids_of):
    model = model_in(model_of, encoding_name, causal=False, dtype="bfloat16").train()
    logits = model.head(model(ids_of(2, 16)))
    logits.logsumexp(-1).sum().backward()
    assert bool(logits.isfinite().all())
    assert all(parameter.grad is not None and bool(parameter.grad.isfinite().all()) for parameter in model.parameters())


STARTS = {  # the sum of all parameters, as it was before there was a second direction
    "alibi": 0.0, "t5": 0.8390582, "fire": -3.7375630, "shaw": 1.8684527, "transformer-xl": -0.9492018, "learned": -353.5889512
}  # fmt: skip


@pytest.mark.parametrize("name", STARTS)
def test_causal_attention_starts_from_the_parameters_it_always_drew(name):
    total = sum(float(parameter.detach().double().sum()) for parameter in build(name).parameters())
    assert total == pytest.approx(STARTS[name], abs=1e-3)

"""Every encoding in attention without a causal mask: every kernel, no causality, padding, finite numbers."""

import numpy as np
import pytest
import torch
from helpers import reference
from helpers.encodings import M, build, built, draw, model_in, moved

from rpecli.attention import blocks as attention_blocks
from rpecli.attention import dispatch as attention
from rpecli.attention import reference as attention_reference


@pytest.mark.parametrize(("dense", "running"), [(512, True), (512, False), (0, True), (0, False)])
@pytest.mark.parametrize(("T", "S"), [(1, 9), (9, 9), (5, 12), (33, 33)])
@pytest.mark.parametrize("padded", [False, True])
def test_every_kernel_equals_the_plain_softmax(encoding_name, T, S, dense, running, padded, monkeypatch):
    monkeypatch.setattr(attention, "DENSE", dense)
    monkeypatch.setattr(attention_blocks, "CELLS", 8 * S + 1)  # blocks of a few rows
    monkeypatch.setattr(attention_blocks, "ROWS", 1)
    made, q, k, v = moved(built(encoding_name, causal=False), 0.3), draw(2, T, seed=1), draw(2, S, seed=2), draw(2, S, seed=3)
    x = torch.randn(2, S, M, generator=torch.Generator().manual_seed(4))
    positions, hidden = torch.arange(S)[None] * (1 if running else 3), None
    if padded:
        hidden = torch.zeros(2, S, dtype=torch.bool)
        hidden[0, 0], hidden[1, S // 2] = True, True
    with torch.no_grad():
        kf = made.features(x)
        qf = None if kf is None else kf[:, :, S - T :]
        logits, dark = attention_reference.scores(made, q, k, x, positions, hidden), None if hidden is None else hidden.numpy()
        wanted = reference.attention(reference.array(logits), reference.array(v), dark, causal=False)
        found = attention.attend(made, q, k, v, positions, qf, kf, hidden, running)
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    found = attention.attend(made, q, k, v, positions, qf, kf, hidden, running)  # and where gradients are kept
    np.testing.assert_allclose(found.detach(), wanted, atol=1e-5)


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
    hidden, positions = torch.ones(2, 9, dtype=torch.bool), torch.zeros(2, 9, dtype=torch.long)
    for row, here in enumerate((slice(0, 6), slice(3, 9))):
        wide[row, here], hidden[row, here], positions[row, here] = ids, False, torch.arange(6)
    with torch.no_grad():
        found, alone = model(wide, positions=positions, hidden_BxT=hidden), model(ids)[0]
    for row in range(2):
        torch.testing.assert_close(found[row][~hidden[row]], alone, atol=2e-5, rtol=0)


def test_all_is_finite_at_eight_times_the_trained_length(model_of, encoding_name, ids_of):
    model = model_in(model_of, encoding_name, causal=False, trained=80)
    with torch.no_grad():
        assert bool(model.head(model(ids_of(1, 640))).isfinite().all())


def test_training_in_bfloat16_is_finite(model_of, encoding_name, ids_of):
    model = model_in(model_of, encoding_name, causal=False, dtype="bfloat16").train()
    found = model.head(model(ids_of(2, 16)))
    found.logsumexp(-1).sum().backward()
    assert bool(found.isfinite().all())
    assert all(each.grad is not None and bool(each.grad.isfinite().all()) for each in model.parameters())


STARTS = {  # the sum of all parameters, as it was before there was a second direction
    "alibi": 0.0, "t5": 0.8390582, "fire": -3.7375630, "shaw": 1.8684527, "transformer-xl": -0.9492018, "learned": -353.5889512
}  # fmt: skip


@pytest.mark.parametrize("name", STARTS)
def test_causal_attention_starts_from_the_parameters_it_always_drew(name):
    total = sum(float(each.detach().double().sum()) for each in build(name).parameters())
    assert total == pytest.approx(STARTS[name], abs=1e-3)

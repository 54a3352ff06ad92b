"""Windows, chunks and learned frequencies of RoPE, and p-RoPE cut by the trained length."""

import math

import pytest
import torch
from helpers.encodings import BOTH, D, H, M, build, draw, query_key
from torch import Tensor
from torch.nn import functional

from rpecli import encoding
from rpecli.attention import dispatch
from rpecli.attention.blocks import BlockSizes
from rpecli.attention.dispatch import ForwardContext, attend, kernel
from rpecli.attention.reference import scores

N = 12


def weights(choice: str, causal: bool = True, **context: object) -> Tensor:
    """Attention weights `[N, N]` of the first head."""
    q, k, v = draw(1, N, seed=1), draw(1, N, seed=2), torch.eye(N)[None, None].expand(1, H, N, N)
    out = attend(build(choice, causal=causal), query_key(q, k), functional.pad(v, (0, D - N)), ForwardContext(**context))
    return out[0, 0, :, :N]


@BOTH
@pytest.mark.parametrize("width", [1, 2, 5])
def test_a_window_of_rope_counts_the_token_itself(width, causal):
    seen = (weights(f"rope:window={width}", causal) > 0).tolist()
    assert seen == [[abs(i - j) < width and (j <= i or not causal) for j in range(N)] for i in range(N)]
    if causal:
        assert [sum(row) for row in seen] == [min(i + 1, width) for i in range(N)]


@BOTH
def test_a_chunk_of_rope_holds_the_positions_of_one_block(causal):
    seen = (weights("rope:chunk=4", causal) > 0).tolist()
    assert seen == [[i // 4 == j // 4 and (j <= i or not causal) for j in range(N)] for i in range(N)]


def test_a_wide_window_is_rope_and_window_1_sees_the_token_alone():
    torch.testing.assert_close(weights("rope:window=12"), weights("rope"))
    torch.testing.assert_close(weights("rope:chunk=12"), weights("rope"))
    torch.testing.assert_close(weights("rope:window=1"), torch.eye(N))


def test_a_window_of_rope_is_served_as_a_bias_by_distance(monkeypatch):
    assert kernel(build("rope")) == "plain"
    assert kernel(build("rope:window=5")) == "distance"
    assert kernel(build("rope:chunk=5")) == "rows"
    calls = []
    blocks = dispatch.distance_blocks
    monkeypatch.setattr(dispatch, "distance_blocks", lambda *args: calls.append(1) or blocks(*args))
    with torch.no_grad():
        long = weights("rope:window=5", contiguous_positions=True, sizes=BlockSizes(dense_keys=0))
    assert calls
    torch.testing.assert_close(long, weights("rope:window=5"))


def test_layers_take_turns_with_windows(model_of, ids_of):
    """Two layers of window 3 reach 4 tokens back; a third without a window reaches all."""

    def reach(choice: str, n_layer: int) -> list[int]:
        model, leaves = model_of(choice, n_layer=n_layer), []
        model.embedding.register_forward_hook(lambda *args: leaves.append(args[2].detach().requires_grad_()) or leaves[-1])
        model.head(model(ids_of(1, N)))[0, -1].square().sum().backward()
        return (leaves[0].grad[0].abs().sum(-1) > 0).nonzero().flatten().tolist()

    assert reach("rope:window=3", 1) == list(range(9, N))
    assert reach("rope:window=3", 2) == list(range(7, N))
    assert reach("rope:window=3+none", 2) == list(range(N))


def test_scaling_reaches_the_rotations_inside_a_window(model_of):
    model = model_of("rope:scaling=pi:window=5", max_train_length=16)
    assert model.fit(64) == 4


def skew(width: int, seed: int) -> Tensor:
    a = torch.randn(width, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return a - a.T


def rotated_basis(skew_DxD: Tensor) -> tuple[Tensor, Tensor]:
    """Q and the frequencies of A = Q blockdiag(theta_c J) Q^T, J = [[0, -1], [1, 0]]."""
    theta, vectors = torch.linalg.eigh(1j * skew_DxD)  # A v = -i theta v
    positive = theta > 0
    v_DxC = vectors[:, positive] * math.sqrt(2)
    return torch.stack([v_DxC.real, v_DxC.imag], dim=-1).flatten(1), theta[positive]


@pytest.mark.parametrize("blocks", [1, 2, 4], ids=["dense", "blocks-of-8", "blocks-of-4"])
def test_rotations_by_any_skew_symmetric_matrix_are_learned_frequencies_in_another_basis(blocks):
    """GRAPE-M, LieRE and algebraic encodings (dense A) and ComRoPE (A in blocks), in one dimension."""
    module, q, k = build("rope:learned=true:per_head=true"), draw(1, N, seed=1), draw(1, N, seed=2)
    expected, basis_HxDxD = torch.zeros(H, N, N, dtype=torch.float64), torch.zeros(H, D, D)
    for h in range(H):
        a_DxD = torch.block_diag(*[0.3 * skew(D // blocks, 10 * h + b) for b in range(blocks)])
        basis, theta = rotated_basis(a_DxD)
        basis_HxDxD[h] = basis.float()
        with torch.no_grad():
            module.log_w_HxC[h] = 16 * (theta.log() - torch.arange(D // 2) * (-2 / D) * math.log(10000))
        for i in range(N):
            turned_q = torch.linalg.matrix_exp(i * a_DxD) @ q[0, h, i].double()
            for j in range(N):
                expected[h, i, j] = turned_q @ torch.linalg.matrix_exp(j * a_DxD) @ k[0, h, j].double() / math.sqrt(D)
    logits = scores(module, q @ basis_HxDxD, k @ basis_HxDxD).detach()
    torch.testing.assert_close(logits[0].double(), expected, atol=2e-5, rtol=0)


def test_learned_frequencies_start_as_rope_and_belong_to_the_layer():
    q, k = draw(1, N, seed=1), draw(1, N, seed=2)
    torch.testing.assert_close(scores(build("rope:learned=true"), q, k), scores(build("rope"), q, k))
    first, second = encoding.for_layers("rope:learned=true:per_head=true", encoding.Shape(M, H), 2)
    assert first is not second
    assert first.log_w_HxC.shape == (H, D // 2)
    assert build("rope").shared
    assert not list(build("rope").parameters())


def test_learned_frequencies_inside_a_window_get_gradients(model_of, ids_of):
    model = model_of("rope:learned=true:window=4").train()
    model.head(model(ids_of(1, N))).square().sum().backward()
    assert all(bool(layer.log_w_HxC.grad.abs().sum() > 0) for layer in model.encodings)


@pytest.mark.parametrize(("base", "n", "pairs"), [(10000, 32, 2), (10000, 7, 1), (100, 32, 3), (10000, 512, 4), (10, 512, 8)])
def test_cut_by_the_trained_length_leaves_the_pairs_that_turn_once(base, n, pairs):
    module = build(f"p-rope:base={base}:cut=trained", max_train_length=n)
    w_C = module.frequencies(torch.device("cpu"))
    assert int((w_C > 0).sum()) == pairs == sum(base ** (-2 * c / D) * n >= 2 * math.pi for c in range(D // 2))


def test_a_taper_slows_the_last_pairs_as_the_authors_code_does():
    """The last 20 of 64 frequencies of base 10000: values of modeling_cope.py of hrlics/CoPE at ed52ba5."""
    torch.manual_seed(0)
    w_C = encoding.build("p-rope:p=0.6875:taper=cos", 128, 1).frequencies(torch.device("cpu"))
    plain_C = 10000 ** (-torch.arange(64, dtype=torch.float64) / 64)
    assert torch.equal(w_C[:45], plain_C[:45])
    expected = [0.00177828, 0.00152943, 0.00129739, 0.00108519, 0.00089457, 0.000726233, 0.000580024, 0.000455118,
                0.000350194, 0.00026359, 0.000193437, 0.000137765, 9.46003e-05, 6.20323e-05, 3.82643e-05, 2.16503e-05,
                1.07165e-05, 4.17187e-06, 9.09373e-07, 0.0]  # fmt: skip
    torch.testing.assert_close(w_C[44:], torch.tensor(expected, dtype=torch.float64), atol=1e-9, rtol=1e-4)


def test_t5_shares_its_table_unless_told_otherwise():
    shared = encoding.for_layers("t5", encoding.Shape(M, H), 2)
    own = encoding.for_layers("t5:shared=false", encoding.Shape(M, H), 2)
    assert shared[0] is shared[1]
    assert not torch.equal(own[0].table_NxH, own[1].table_NxH)

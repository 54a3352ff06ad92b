"""Encodings whose scores depend on content, against loops over pairs and tokens, and what each of them alone has."""

import numpy as np
import pytest
import torch
from helpers import reference, reference_content, reference_recent
from torch import Tensor

from rpecli import catalog, encoding
from rpecli.attention.blocks import BlockSizes
from rpecli.attention.dispatch import ForwardContext, attend, kernel
from rpecli.attention.reference import scores
from rpecli.encoding import QueryKey
from rpecli.model import Cache, Transformer

reference_content.WHOLE.update(reference_recent.WHOLE)

M, H, D = 32, 4, 8


def build(choice: str, max_train_length: int = 32, **shape: object) -> encoding.Encoding:
    """With parameters moved away from their initial values, whose zeros would hide mistakes."""
    torch.manual_seed(0)
    module = encoding.build(choice, **{"d_model": M, "n_head": H, **shape}, max_train_length=max_train_length)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += 0.4 * torch.randn(parameter.shape)
    return module


def draw(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def places(kind: str, n: int) -> Tensor:
    if kind == "scattered":
        return torch.from_numpy(np.sort(np.random.default_rng(n).choice(200, n, replace=False)))[None]
    return torch.arange(n)[None] + {"start": 0, "offset": 101}[kind]


@pytest.mark.parametrize("choice", reference_content.WHOLE)
@pytest.mark.parametrize(("kind", "n"), [("start", 7), ("offset", 7), ("scattered", 7), ("scattered", 64)])
def test_logits_follow_the_formula(choice, kind, n):
    module, batch = build(choice), 2 if n == 7 else 1
    q, k, x = draw(batch, H, n, D, seed=1), draw(batch, H, n, D, seed=2), draw(batch, n, M, seed=3)
    positions = places(kind, n).expand(batch, n)
    with torch.no_grad():
        logits = scores(module, q, k, x, positions).tril()
        expected = reference_content.logits(choice, module, q, k, x, positions)
    np.testing.assert_allclose(logits.numpy(), expected, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("choice", reference_content.WHOLE)
@pytest.mark.parametrize("T", [1, 3])
def test_the_last_rows_alone_have_the_logits_they_have_among_all(choice, T):
    module, q, k, x = build(choice), draw(2, H, 9, D, seed=1), draw(2, H, 9, D, seed=2), draw(2, 9, M, seed=3)
    positions_2xS = torch.cat([places("scattered", 9), places("offset", 9)])
    with torch.no_grad():
        logits = scores(module, q[:, :, 9 - T :], k, x, positions_2xS).tril(9 - T)
        expected = reference_content.logits(choice, module, q, k, x, positions_2xS)[:, :, 9 - T :]
    np.testing.assert_allclose(logits.numpy(), expected, atol=1e-4)


@pytest.mark.parametrize("choice", reference_content.WHOLE)
def test_attention_in_blocks_is_the_softmax_of_the_formula(choice):
    module, q, k, v, x = build(choice), *(draw(2, H, 20, D, seed=seed) for seed in (1, 2, 4)), draw(2, 20, M, seed=3)
    positions = places("offset", 20).expand(2, 20)
    with torch.no_grad():
        qk = QueryKey.last(q, k, positions, module.features(x))
        out = attend(module, qk, v, ForwardContext(sizes=BlockSizes(cells=5 * 20 * 2, min_rows=1)))
        expected = reference.attention(reference_content.logits(choice, module, q, k, x, positions), reference.array(v))
    np.testing.assert_allclose(out.numpy(), expected, atol=2e-5)


def moved_model(model_of, choice: str, **keys: object) -> Transformer:
    """A model whose encodings are away from their initial values."""
    model = model_of(choice, **keys)
    torch.manual_seed(5)
    with torch.no_grad():
        for parameter in {parameter for module in model.encodings for parameter in module.parameters()}:
            parameter += 0.4 * torch.randn(parameter.shape)
    return model


@pytest.mark.parametrize("choice", reference_content.WHOLE)
@pytest.mark.parametrize("normalizer", ["softmax", "stick-breaking"])
def test_decoding_equals_the_full_pass(model_of, ids_of, choice, normalizer):
    model, ids, cache = moved_model(model_of, choice, normalizer=normalizer), ids_of(2, 12), Cache()
    model.block_sizes = BlockSizes(cells=2 * 12 * 4, min_rows=1)
    with torch.no_grad():
        states = torch.cat([model(part, cache=cache) for part in ids.split([4, 1, 1, 6], dim=1)], dim=1)
        torch.testing.assert_close(states, model(ids), atol=5e-5, rtol=0)


@pytest.mark.parametrize("choice", reference_content.WHOLE)
@pytest.mark.parametrize("normalizer", ["softmax", "stick-breaking"])
@pytest.mark.parametrize(("before", "behind"), [(5, 0), (0, 5), (2, 2)])
def test_padding_on_either_side_changes_nothing(model_of, ids_of, choice, normalizer, before, behind):
    model, ids = moved_model(model_of, choice, normalizer=normalizer), ids_of(2, 9)
    wide = torch.cat([ids_of(2, before), ids, ids_of(2, behind)], dim=1)
    positions = torch.cat([torch.zeros(before), torch.arange(9), torch.zeros(behind)]).long()
    padding_mask = torch.ones(2, 9 + before + behind, dtype=torch.bool)
    padding_mask[:, before : before + 9] = False
    with torch.no_grad():
        states = model(wide, positions, padding_mask)[:, before : before + 9]
        torch.testing.assert_close(states, model(ids), atol=5e-5, rtol=0)


@pytest.mark.parametrize("choice", reference_content.WHOLE)
def test_training_at_its_own_length_has_finite_gradients(model_of, ids_of, choice):
    model = moved_model(model_of, choice, dtype="bfloat16").train()
    model.head(model(ids_of(2, 40))).logsumexp(-1).sum().backward()
    assert all(parameter.grad is not None and bool(parameter.grad.isfinite().all()) for parameter in model.parameters())


PLACE_ONLY = ["cope", "fox", "path-attention", "selective-rope", "row-gates", "wall", "carope", "grape-m", "repo"]


@pytest.mark.parametrize("name", PLACE_ONLY)
def test_positions_handed_in_are_not_read(model_of, ids_of, name):
    model, ids = moved_model(model_of, name), ids_of(2, 9)
    with torch.no_grad():
        assert torch.equal(model(ids), model(ids, torch.arange(9).square() + 3))


def test_cope_with_open_gates_is_a_table_of_distances():
    module, n = build("cope:npos=9"), 12
    q, k = torch.full((1, H, n, D), 10.0), torch.full((1, H, n, D), 10.0)  # every gate is 1
    with torch.no_grad():
        logits = (scores(module, q, k) - scores(encoding.build("none", M, H), q, k))[0, 0, -1]
        expected = (q[0, 0, 0] @ module.table_NxD.T)[torch.arange(n, 0, -1).clamp(max=8)]
    torch.testing.assert_close(logits, expected, atol=1e-3, rtol=1e-4)


def test_fox_with_gates_alike_is_a_line_of_the_distance():
    module = encoding.build("fox:bias=2", M, H)
    with torch.no_grad():
        module.w_HxM.zero_()
        q, k, x = torch.zeros(1, H, 30, D), torch.zeros(1, H, 30, D), draw(1, 30, M, seed=1)
        logits = scores(module, q, k, x)[0, 1]
    place = torch.arange(30.0)
    slope = float(torch.nn.functional.logsigmoid(torch.tensor(2.0)))
    torch.testing.assert_close(logits, slope * (place[:, None] - place), atol=1e-4, rtol=0)


def test_fox_is_plain_attention_on_wider_vectors():
    assert kernel(build("fox")) == "plain"
    assert kernel(build("selective-rope")) == "plain"


def test_fox_far_along_is_nearly_exact():
    """The running sum reaches thousands; what counts are its differences."""
    module = encoding.build("fox:bias=-1", M, H)
    n = 3000
    q, k, x = torch.zeros(1, H, 4, D), torch.zeros(1, H, n, D), draw(1, n, M, seed=1)
    with torch.no_grad():
        logits = scores(module, q, k, x)[0, :, :, n - 50 :]
        forget = torch.nn.functional.logsigmoid((x @ module.w_HxM.T + module.b_H).double())[0].T.cumsum(-1)
    expected = forget[:, -4:, None] - forget[:, None, n - 50 :]
    assert float(forget.abs().max()) > 3000
    torch.testing.assert_close(logits.double(), expected, atol=1e-3, rtol=0)


def test_path_without_reflections_is_no_encoding():
    module = build("path-attention")
    with torch.no_grad():
        module.b_HxM.zero_()
        module.b0_H.fill_(-40.0)
        q, k, x = draw(1, H, 70, D, seed=1), draw(1, H, 70, D, seed=2), draw(1, 70, M, seed=3)
        torch.testing.assert_close(scores(module, q, k, x), scores(encoding.build("none", M, H), q, k, x))


@pytest.mark.parametrize("n", [63, 64, 65, 130])
def test_path_over_several_chunks_equals_one(n, monkeypatch):
    module = build("path-attention")
    file = catalog.load(catalog.find("encodings", "path-attention"))
    q, k, x = draw(1, H, 5, D, seed=1), draw(1, H, n, D, seed=2), draw(1, n, M, seed=3)
    with torch.no_grad():
        logits = scores(module, q, k, x).tril(n - 5)
        monkeypatch.setattr(file, "CHUNK", 200)
        torch.testing.assert_close(logits, scores(module, q, k, x).tril(n - 5), atol=1e-5, rtol=0)


def test_a_filter_sees_the_token_and_those_before_it_only():
    module = build("selective-rope:width=3")
    f = torch.zeros(1, H, 6, D // 2)
    f[0, 1, 2, 0] = 1.0
    after = module.conv(f).detach()
    assert after[0, 1, :, 0].nonzero().flatten().tolist() == [2, 3, 4]
    torch.testing.assert_close(after[0, 1, 2:5, 0], module.conv.weight_CxW.detach()[D // 2].flip(0))
    assert int((after != 0).sum()) == 3


@pytest.mark.parametrize(("buckets", "reach"), [(256, 512), (32, 128), (12, 50), (4, 100), (64, 1000), (50, 65)])
def test_debertas_buckets_equal_exact_arithmetic(buckets, reach):
    module = build(f"deberta:buckets={buckets}:reach={reach}")
    expected = [min(reference_content.log_bucket(d, buckets // 2, reach), buckets - 1) for d in range(reach + 50)]
    assert module.row(torch.arange(reach + 50)).tolist() == expected


def test_deberta_in_both_directions_tells_them_apart():
    module = build("deberta:reach=3", causal=False)
    assert module.row(torch.arange(-5, 6)).tolist() == [0, 0, 0, 1, 2, 3, 4, 5, 5, 5, 5]
    bucketed = build("deberta:reach=50:buckets=12", causal=False)
    d = torch.arange(1, 60)
    assert (bucketed.row(d) - 12).tolist() == [min(12 - row, 11) for row in bucketed.row(-d).tolist()]


def test_deberta_shares_its_vectors_across_layers_and_not_its_matrices():
    first, second = encoding.for_layers("deberta", encoding.Shape(M, H), 2)
    assert first.p_NxM is second.p_NxM
    assert not torch.equal(first.key_MxM, second.key_MxM)


def test_dape_shares_a_shared_bias_across_layers_and_not_its_network():
    first, second = encoding.for_layers("dape:over=t5", encoding.Shape(M, H), 2)
    assert first.over is second.over
    assert not torch.equal(first.first.weight, second.first.weight)
    first, second = encoding.for_layers("dape:over=fire", encoding.Shape(M, H), 2)
    assert first.over is not second.over


def test_dape_is_shift_invariant_where_the_bias_under_it_is():
    assert build("dape").shift_invariant
    assert not build("dape:over=fire").shift_invariant


def test_dape_with_a_silent_network_is_the_bias_under_it():
    module = build("dape:over=t5")
    q, k = draw(1, H, 9, D, seed=1), draw(1, H, 9, D, seed=2)
    with torch.no_grad():
        module.second.weight.zero_()
        module.second.bias.zero_()
        torch.testing.assert_close(scores(module, q, k), scores(module.over, q, k))


@pytest.mark.parametrize("leak", ["", ":leak=3"])
def test_rerope_is_rope_within_its_window(leak):
    q, k = draw(1, H, 9, D, seed=1), draw(1, H, 9, D, seed=2)
    torch.testing.assert_close(
        scores(build(f"rerope:window=9{leak}"), q, k).tril(),
        scores(build("rope"), q, k).tril(),
    )


def test_self_extend_with_groups_of_one_is_rope():
    q, k = draw(1, H, 40, D, seed=1), draw(1, H, 40, D, seed=2)
    logits = scores(build("self-extend:window=4:group=1"), q, k).tril()
    torch.testing.assert_close(logits, scores(build("rope"), q, k).tril(), atol=1e-5, rtol=0)


def test_rel_basis_has_no_bias_beyond_its_extent():
    q, k, x = torch.zeros(1, H, 1, D), torch.zeros(1, H, 20, D), draw(1, 20, M, seed=1)
    logits = scores(build("rel-basis:extent=6"), q, k, x)[0].detach()
    assert bool((logits[..., :14] == 0).all())
    assert bool((logits[..., 14:] != 0).all())


INITIAL = {  # choice: (parameter, the standard deviation its file states)
    "fox": ("w_HxM", 0.02),
    "rel-basis": ("bank_RxN", 0.02),
    "deberta": ("p_NxM", 0.02),
    "path-attention": ("b_HxM", 0.02),
}


@pytest.mark.parametrize("choice", INITIAL)
def test_learned_parameters_start_as_their_file_says(choice):
    name, std = INITIAL[choice]
    torch.manual_seed(0)
    initial = getattr(encoding.build(choice, 64, H), name).detach()
    assert float(initial.std()) == pytest.approx(std, rel=0.15)
    assert abs(float(initial.mean())) < 0.2 * std

"""Encodings whose scores depend on content, against loops over pairs and tokens, and what each of them alone has."""

import numpy as np
import pytest
import torch
from helpers import reference, reference_content
from torch import Tensor

from rpecli import catalog, encoding
from rpecli.attention import blocks as attention_blocks
from rpecli.attention import dispatch as attention
from rpecli.attention import reference as attention_reference
from rpecli.model import Cache, Transformer

M, H, D = 32, 4, 8


def build(choice: str, trained: int = 32, **shape: object) -> encoding.Encoding:
    """With parameters moved away from their initial values, whose zeros would hide mistakes."""
    torch.manual_seed(0)
    made = encoding.build(choice, **{"d_model": M, "n_head": H, **shape}, trained=trained)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter += 0.4 * torch.randn(parameter.shape)
    return made


def draw(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def places(kind: str, n: int) -> Tensor:
    if kind == "scattered":
        return torch.from_numpy(np.sort(np.random.default_rng(n).choice(200, n, replace=False)))[None]
    return torch.arange(n)[None] + {"start": 0, "offset": 101}[kind]


# ---------------------------------------------------------------------------------------------------------------- formulas


@pytest.mark.parametrize("choice", reference_content.WHOLE)
@pytest.mark.parametrize(("kind", "n"), [("start", 7), ("offset", 7), ("scattered", 7), ("scattered", 64)])
def test_logits_follow_the_formula(choice, kind, n):
    made, batch = build(choice), 2 if n == 7 else 1
    q, k, x = draw(batch, H, n, D, seed=1), draw(batch, H, n, D, seed=2), draw(batch, n, M, seed=3)
    positions = places(kind, n).expand(batch, n)
    with torch.no_grad():
        found = attention_reference.scores(made, q, k, x, positions).tril()
        wanted = reference_content.logits(choice, made, q, k, x, positions)
    np.testing.assert_allclose(found.numpy(), wanted, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("choice", reference_content.WHOLE)
@pytest.mark.parametrize("T", [1, 3])
def test_the_last_rows_alone_have_the_logits_they_have_among_all(choice, T):
    made, q, k, x = build(choice), draw(2, H, 9, D, seed=1), draw(2, H, 9, D, seed=2), draw(2, 9, M, seed=3)
    positions_2xS = torch.cat([places("scattered", 9), places("offset", 9)])
    with torch.no_grad():
        found = attention_reference.scores(made, q[:, :, 9 - T :], k, x, positions_2xS).tril(9 - T)
        wanted = reference_content.logits(choice, made, q, k, x, positions_2xS)[:, :, 9 - T :]
    np.testing.assert_allclose(found.numpy(), wanted, atol=1e-4)


@pytest.mark.parametrize("choice", reference_content.WHOLE)
def test_attention_in_blocks_is_the_softmax_of_the_formula(choice, monkeypatch):
    monkeypatch.setattr(attention_blocks, "CELLS", 5 * 20 * 2)
    monkeypatch.setattr(attention_blocks, "ROWS", 1)
    made, q, k, v, x = build(choice), *(draw(2, H, 20, D, seed=seed) for seed in (1, 2, 4)), draw(2, 20, M, seed=3)
    positions = places("offset", 20).expand(2, 20)
    with torch.no_grad():
        f = made.features(x)
        found = attention.attend(made, q, k, v, positions, f, f)
        wanted = reference.attention(reference_content.logits(choice, made, q, k, x, positions), reference.array(v))
    np.testing.assert_allclose(found.numpy(), wanted, atol=2e-5)


# ------------------------------------------------------------------------------------------- whole models, moved parameters


def model(model_of, choice: str, **keys: object) -> Transformer:
    made = model_of(choice, **keys)
    torch.manual_seed(5)
    with torch.no_grad():
        for parameter in {each for own in made.encodings for each in own.parameters()}:
            parameter += 0.4 * torch.randn(parameter.shape)
    return made


@pytest.mark.parametrize("choice", reference_content.WHOLE)
@pytest.mark.parametrize("normalizer", ["softmax", "stick-breaking"])
def test_decoding_equals_the_full_pass(model_of, ids_of, choice, normalizer, monkeypatch):
    monkeypatch.setattr(attention_blocks, "CELLS", 2 * 12 * 4)
    monkeypatch.setattr(attention_blocks, "ROWS", 1)
    made, ids, cache = model(model_of, choice, normalizer=normalizer), ids_of(2, 12), Cache()
    with torch.no_grad():
        done = torch.cat([made(part, cache=cache) for part in ids.split([4, 1, 1, 6], dim=1)], dim=1)
        torch.testing.assert_close(done, made(ids), atol=5e-5, rtol=0)


@pytest.mark.parametrize("choice", reference_content.WHOLE)
@pytest.mark.parametrize("normalizer", ["softmax", "stick-breaking"])
@pytest.mark.parametrize(("before", "behind"), [(5, 0), (0, 5), (2, 2)])
def test_padding_on_either_side_changes_nothing(model_of, ids_of, choice, normalizer, before, behind):
    made, ids = model(model_of, choice, normalizer=normalizer), ids_of(2, 9)
    wide = torch.cat([ids_of(2, before), ids, ids_of(2, behind)], dim=1)
    positions = torch.cat([torch.zeros(before), torch.arange(9), torch.zeros(behind)]).long()
    hidden = torch.ones(2, 9 + before + behind, dtype=torch.bool)
    hidden[:, before : before + 9] = False
    with torch.no_grad():
        found = made(wide, positions, hidden)[:, before : before + 9]
        torch.testing.assert_close(found, made(ids), atol=5e-5, rtol=0)


@pytest.mark.parametrize("choice", reference_content.WHOLE)
def test_training_at_its_own_length_has_finite_gradients(model_of, ids_of, choice):
    made = model(model_of, choice, dtype="bfloat16").train()
    made.head(made(ids_of(2, 40))).logsumexp(-1).sum().backward()
    assert all(each.grad is not None and bool(each.grad.isfinite().all()) for each in made.parameters())


PLACE_ONLY = ["cope", "fox", "path-attention", "selective-rope"]


@pytest.mark.parametrize("name", PLACE_ONLY)
def test_positions_handed_in_are_not_read(model_of, ids_of, name):
    made, ids = model(model_of, name), ids_of(2, 9)
    with torch.no_grad():
        assert torch.equal(made(ids), made(ids, torch.arange(9).square() + 3))


# -------------------------------------------------------------------------------------------------------------- each alone


def test_cope_with_open_gates_is_a_table_of_distances():
    made, n = build("cope:npos=9"), 12
    q, k = torch.full((1, H, n, D), 10.0), torch.full((1, H, n, D), 10.0)  # every gate is 1
    with torch.no_grad():
        found = (attention_reference.scores(made, q, k) - attention_reference.scores(encoding.build("none", M, H), q, k))[
            0, 0, -1
        ]
        wanted = (q[0, 0, 0] @ made.table_NxD.T)[torch.arange(n, 0, -1).clamp(max=8)]
    torch.testing.assert_close(found, wanted, atol=1e-3, rtol=1e-4)


def test_fox_with_gates_alike_is_a_line_of_the_distance():
    made = encoding.build("fox:bias=2", M, H)
    with torch.no_grad():
        made.w_HxM.zero_()
        q, k, x = torch.zeros(1, H, 30, D), torch.zeros(1, H, 30, D), draw(1, 30, M, seed=1)
        found = attention_reference.scores(made, q, k, x)[0, 1]
    place = torch.arange(30.0)
    slope = float(torch.nn.functional.logsigmoid(torch.tensor(2.0)))
    torch.testing.assert_close(found, slope * (place[:, None] - place), atol=1e-4, rtol=0)


def test_fox_is_plain_attention_on_wider_vectors():
    assert attention.kernel(build("fox")) == "plain"
    assert attention.kernel(build("selective-rope")) == "plain"


def test_fox_far_along_is_nearly_exact():
    """The running sum reaches thousands; what counts are its differences."""
    made = encoding.build("fox:bias=-1", M, H)
    n = 3000
    q, k, x = torch.zeros(1, H, 4, D), torch.zeros(1, H, n, D), draw(1, n, M, seed=1)
    with torch.no_grad():
        found = attention_reference.scores(made, q, k, x)[0, :, :, n - 50 :]
        kept = torch.nn.functional.logsigmoid((x @ made.w_HxM.T + made.b_H).double())[0].T.cumsum(-1)
    wanted = kept[:, -4:, None] - kept[:, None, n - 50 :]
    assert float(kept.abs().max()) > 3000
    torch.testing.assert_close(found.double(), wanted, atol=1e-3, rtol=0)


def test_path_without_reflections_is_no_encoding():
    made = build("path-attention")
    with torch.no_grad():
        made.b_HxM.zero_()
        made.b0_H.fill_(-40.0)
        q, k, x = draw(1, H, 70, D, seed=1), draw(1, H, 70, D, seed=2), draw(1, 70, M, seed=3)
        torch.testing.assert_close(
            attention_reference.scores(made, q, k, x), attention_reference.scores(encoding.build("none", M, H), q, k, x)
        )


@pytest.mark.parametrize("n", [63, 64, 65, 130])
def test_path_over_several_chunks_equals_one(n, monkeypatch):
    made = build("path-attention")
    file = catalog.load(catalog.find("encodings", "path-attention"))
    q, k, x = draw(1, H, 5, D, seed=1), draw(1, H, n, D, seed=2), draw(1, n, M, seed=3)
    with torch.no_grad():
        found = attention_reference.scores(made, q, k, x).tril(n - 5)
        monkeypatch.setattr(file, "CHUNK", 200)
        torch.testing.assert_close(found, attention_reference.scores(made, q, k, x).tril(n - 5), atol=1e-5, rtol=0)


def test_a_filter_sees_the_token_and_those_before_it_only():
    made = build("selective-rope:width=3")
    f = torch.zeros(1, H, 6, D // 2)
    f[0, 1, 2, 0] = 1.0
    after = made.conv(f).detach()
    assert after[0, 1, :, 0].nonzero().flatten().tolist() == [2, 3, 4]
    torch.testing.assert_close(after[0, 1, 2:5, 0], made.conv.weight_CxW.detach()[D // 2].flip(0))
    assert int((after != 0).sum()) == 3


@pytest.mark.parametrize(("buckets", "reach"), [(256, 512), (32, 128), (12, 50), (4, 100), (64, 1000), (50, 65)])
def test_debertas_buckets_equal_exact_arithmetic(buckets, reach):
    made = build(f"deberta:buckets={buckets}:reach={reach}")
    wanted = [min(reference_content.log_bucket(d, buckets // 2, reach), buckets - 1) for d in range(reach + 50)]
    assert made.row(torch.arange(reach + 50)).tolist() == wanted


def test_deberta_in_both_directions_tells_them_apart():
    made = build("deberta:reach=3", causal=False)
    assert made.row(torch.arange(-5, 6)).tolist() == [0, 0, 0, 1, 2, 3, 4, 5, 5, 5, 5]
    bucketed = build("deberta:reach=50:buckets=12", causal=False)
    d = torch.arange(1, 60)
    assert (bucketed.row(d) - 12).tolist() == [min(12 - each, 11) for each in bucketed.row(-d).tolist()]


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
    made = build("dape:over=t5")
    q, k = draw(1, H, 9, D, seed=1), draw(1, H, 9, D, seed=2)
    with torch.no_grad():
        made.second.weight.zero_()
        made.second.bias.zero_()
        torch.testing.assert_close(attention_reference.scores(made, q, k), attention_reference.scores(made.over, q, k))


@pytest.mark.parametrize("leak", ["", ":leak=3"])
def test_rerope_is_rope_within_its_window(leak):
    q, k = draw(1, H, 9, D, seed=1), draw(1, H, 9, D, seed=2)
    torch.testing.assert_close(
        attention_reference.scores(build(f"rerope:window=9{leak}"), q, k).tril(),
        attention_reference.scores(build("rope"), q, k).tril(),
    )


def test_self_extend_with_groups_of_one_is_rope():
    q, k = draw(1, H, 40, D, seed=1), draw(1, H, 40, D, seed=2)
    found = attention_reference.scores(build("self-extend:window=4:group=1"), q, k).tril()
    torch.testing.assert_close(found, attention_reference.scores(build("rope"), q, k).tril(), atol=1e-5, rtol=0)


def test_rel_basis_has_no_bias_beyond_its_extent():
    q, k, x = torch.zeros(1, H, 1, D), torch.zeros(1, H, 20, D), draw(1, 20, M, seed=1)
    found = attention_reference.scores(build("rel-basis:extent=6"), q, k, x)[0].detach()
    assert bool((found[..., :14] == 0).all())
    assert bool((found[..., 14:] != 0).all())


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
    drawn = getattr(encoding.build(choice, 64, H), name).detach()
    assert float(drawn.std()) == pytest.approx(std, rel=0.15)
    assert abs(float(drawn.mean())) < 0.2 * std

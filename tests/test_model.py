"""The whole model with every encoding: causality, decoding, padding, initialisation, weights."""

import pytest
import torch
from torch import Tensor

from rpecli import encoding
from rpecli.attention import blocks as attention_blocks
from rpecli.attention import cpu_bfloat16 as attention_bf16
from rpecli.attention import dispatch as attention
from rpecli.model import Cache, Linear, Transformer


@torch.no_grad()
def hidden_states(model: Transformer, ids: Tensor, **options: object) -> Tensor:
    return model(ids, **options)


# --------------------------------------------------------------------------------------------------------------- causality


def test_an_output_depends_on_all_earlier_tokens_and_on_no_later_one(model_of, encoding_name, ids_of):
    model, leaves, T = model_of(encoding_name).train(), [], 9

    def as_leaf(module, args, output):
        leaves.append(output.detach().requires_grad_())
        return leaves[0]

    model.embedding.register_forward_hook(as_leaf)
    logits_TxV = model.head(model(ids_of(1, T)))[0]
    for i in range(T):
        (gradient,) = torch.autograd.grad(logits_TxV[i].square().sum(), leaves[0], retain_graph=True)
        size_T = gradient[0].abs().sum(dim=-1)
        assert size_T[i + 1 :].tolist() == [0.0] * (T - i - 1)
        assert float(size_T[: i + 1].min()) > 0


@pytest.mark.parametrize("dense", [512, 0])
def test_a_later_token_changes_no_earlier_output_in_evaluation(model_of, encoding_name, ids_of, dense, monkeypatch):
    monkeypatch.setattr(attention, "DENSE", dense)
    monkeypatch.setattr(attention_blocks, "CELLS", 7 * 30)
    monkeypatch.setattr(attention_blocks, "ROWS", 1)
    model, ids = model_of(encoding_name), ids_of(1, 30)
    other = ids.clone()
    other[:, 17] = (ids[:, 17] + 1) % 20
    change_T = (hidden_states(model, ids) - hidden_states(model, other)).abs().amax(dim=(0, 2))
    assert float(change_T[:17].max()) < 1e-5
    assert float(change_T[17:].min()) > 1e-5


# ---------------------------------------------------------------------------------------------------- decoding and padding


@pytest.mark.parametrize("steps", [[1] * 12, [5, 1, 1, 5], [11, 1]])
@pytest.mark.parametrize("positions", [None, torch.arange(12) + 40, torch.arange(12).square()])
def test_decoding_equals_the_full_pass(model_of, encoding_name, ids_of, steps, positions):
    model, ids, cache, done = model_of(encoding_name), ids_of(2, 12), Cache(), []
    for part in torch.arange(12).split(steps):
        done.append(hidden_states(model, ids[:, part], positions=None if positions is None else positions[part], cache=cache))
    torch.testing.assert_close(torch.cat(done, dim=1), hidden_states(model, ids, positions=positions), atol=2e-5, rtol=0)


def test_decoding_past_the_dense_kernels_equals_the_full_pass(model_of, encoding_name, ids_of, monkeypatch):
    monkeypatch.setattr(attention, "DENSE", 4)
    monkeypatch.setattr(attention_blocks, "CELLS", 30)
    monkeypatch.setattr(attention_blocks, "ROWS", 1)
    model, ids, cache = model_of(encoding_name), ids_of(1, 12), Cache()
    done = [hidden_states(model, part, cache=cache) for part in ids.split([7, 1, 1, 3], dim=1)]
    torch.testing.assert_close(torch.cat(done, dim=1), hidden_states(model, ids), atol=2e-5, rtol=0)


LENGTHS = (4, 7, 9)


def padded(ids_BxT: Tensor, left: bool) -> tuple[Tensor, Tensor, Tensor]:
    """The first tokens of each row, padded to one length: ids, positions and what is hidden."""
    ids, positions = torch.zeros(3, 9, dtype=torch.long), torch.zeros(3, 9, dtype=torch.long)
    hidden = torch.ones(3, 9, dtype=torch.bool)
    for row, n in enumerate(LENGTHS):
        here = slice(9 - n, 9) if left else slice(0, n)
        ids[row, here], positions[row, here], hidden[row, here] = ids_BxT[row, :n], torch.arange(n), False
    return ids, positions, hidden


@pytest.mark.parametrize("left", [True, False])
@pytest.mark.parametrize("cells", [1 << 20, 20])
def test_padding_on_either_side_changes_nothing(model_of, encoding_name, ids_of, left, cells, monkeypatch):
    monkeypatch.setattr(attention_blocks, "CELLS", cells)
    monkeypatch.setattr(attention_blocks, "ROWS", 1)
    model, whole = model_of(encoding_name), ids_of(3, 9)
    ids, positions, hidden = padded(whole, left)
    found = hidden_states(model, ids, positions=positions, hidden_BxT=hidden)
    assert bool(found.isfinite().all())
    for row, n in enumerate(LENGTHS):
        alone = hidden_states(model, whole[row : row + 1, :n])[0]
        torch.testing.assert_close(found[row][~hidden[row]], alone, atol=2e-5, rtol=0)


def test_padding_leaves_gradients_finite(model_of, encoding_name, ids_of):
    model = model_of(encoding_name).train()
    ids, positions, hidden = padded(ids_of(3, 9), left=True)
    model(ids, positions=positions, hidden_BxT=hidden)[~hidden].square().sum().backward()
    assert all(bool(each.grad.isfinite().all()) for each in model.parameters() if each.grad is not None)


def test_decoding_goes_on_behind_left_padding(model_of, encoding_name, ids_of):
    """Padding that the cache holds stays hidden from the tokens that come later."""
    model, whole, cache = model_of(encoding_name), ids_of(3, 11), Cache()
    ids, positions, hidden = padded(whole, left=True)
    hidden_states(model, ids, positions=positions, hidden_BxT=hidden, cache=cache)
    lengths_3x1, nothing = torch.tensor(LENGTHS)[:, None], torch.zeros(3, 1, dtype=torch.bool)
    for step in range(2):
        new = whole.gather(1, lengths_3x1 + step)
        found = hidden_states(model, new, positions=lengths_3x1 + step, hidden_BxT=nothing, cache=cache)
        for row, n in enumerate(LENGTHS):
            alone = hidden_states(model, whole[row : row + 1, : n + step + 1])[0, -1]
            torch.testing.assert_close(found[row, 0], alone, atol=2e-5, rtol=0)


FORGET = '''"""Forgets at a rate that each token sets."""
import torch
from rpecli.encoding import Encoding
class Forget(Encoding):
    def __init__(self, shape):
        super().__init__(shape)
        self.gate_HxM = torch.nn.Parameter(torch.randn(shape.n_head, shape.d_model) * 0.3)
    def features(self, x):
        return torch.nn.functional.logsigmoid(x @ self.gate_HxM.T).transpose(1, 2)[..., None]
'''
AS_SCORE = """    def score(self, logits, q, k, q_pos, k_pos, qf, kf):
        return logits - kf.cumsum(2).transpose(2, 3) + qf * kf.transpose(2, 3)
"""
AS_CHANNEL = """    def rotate(self, q, k, q_pos, k_pos, qf, kf):
        wide_k = torch.cat([k, -kf.cumsum(2) / self.shape.scale, kf / self.shape.scale], dim=-1)
        return torch.cat([q, torch.ones_like(qf), qf], dim=-1), wide_k
"""


@pytest.fixture(params=[AS_SCORE, AS_CHANNEL], ids=["score", "channel"])
def forgetting(request, tmp_path, model_of) -> Transformer:
    """An encoding by learned features, which no shipped one may have, in two forms that are one function."""
    path = tmp_path / "forget.py"
    path.write_text(FORGET + request.param)
    return model_of(str(path))


def test_features_are_cached_beside_keys_and_values(forgetting, ids_of):
    ids, cache = ids_of(2, 12), Cache()
    done = [hidden_states(forgetting, part, cache=cache) for part in ids.split([5, 1, 1, 5], dim=1)]
    torch.testing.assert_close(torch.cat(done, dim=1), hidden_states(forgetting, ids), atol=2e-5, rtol=0)
    assert cache.layers[1]["f"].shape == (2, 4, 12, 1)


def test_features_are_cut_into_the_same_blocks_as_queries_and_keys(forgetting, ids_of, monkeypatch):
    whole = hidden_states(forgetting, ids_of(1, 12))
    monkeypatch.setattr(attention_blocks, "CELLS", 30)
    monkeypatch.setattr(attention_blocks, "ROWS", 1)
    torch.testing.assert_close(hidden_states(forgetting, ids_of(1, 12)), whole, atol=1e-5, rtol=0)


def test_features_of_padding_change_nothing(forgetting, ids_of):
    whole = ids_of(3, 9)
    ids, positions, hidden = padded(whole, left=True)
    found = hidden_states(forgetting, ids, positions=positions, hidden_BxT=hidden)
    for row, n in enumerate(LENGTHS):
        alone = hidden_states(forgetting, whole[row : row + 1, :n])[0]
        torch.testing.assert_close(found[row][~hidden[row]], alone, atol=2e-5, rtol=0)


def test_features_learn_alike_in_either_form(model_of, tmp_path, ids_of):
    gradients = []
    for name, form in (("score.py", AS_SCORE), ("channel.py", AS_CHANNEL)):
        (tmp_path / name).write_text(FORGET + form)
        model = model_of(str(tmp_path / name)).train()
        model.head(model(ids_of(2, 9))).logsumexp(-1).sum().backward()
        gradients.append(model.encodings[1].gate_HxM.grad)
    assert float(gradients[0].abs().max()) > 1e-3
    torch.testing.assert_close(*gradients, atol=1e-4, rtol=1e-3)


def test_positions_given_as_they_would_run_change_nothing(model_of, encoding_name, ids_of):
    model, ids = model_of(encoding_name), ids_of(2, 9)
    for positions in (torch.arange(9), torch.arange(9)[None], torch.arange(9).expand(2, 9)):
        torch.testing.assert_close(hidden_states(model, ids, positions=positions), hidden_states(model, ids), atol=1e-5, rtol=0)


def test_gaps_between_positions_count_unless_there_is_no_encoding(model_of, encoding_name, ids_of):
    model, ids = model_of(encoding_name), ids_of(2, 9)
    if model.encodings[0].group == "content" or encoding_name == "abacus":
        pytest.skip("may go by the tokens alone")
    change = (hidden_states(model, ids, positions=torch.arange(9) * 3) - hidden_states(model, ids)).abs().max()
    assert (float(change) > 1e-4) == (model.encodings[0].group != "none")


def test_sequences_of_a_batch_do_not_touch_each_other(model_of, encoding_name, ids_of):
    model, ids = model_of(encoding_name), ids_of(3, 9)
    alone = torch.cat([hidden_states(model, row) for row in ids.split(1)])
    torch.testing.assert_close(hidden_states(model, ids), alone, atol=1e-5, rtol=0)


# ---------------------------------------------------------------------------------------------------------------- finite


def test_all_is_finite_at_eight_times_the_trained_length(model_of, encoding_name, ids_of):
    model = model_of(encoding_name, trained=80)
    found = model.head(hidden_states(model, ids_of(1, 640)))
    assert found.dtype == torch.float32
    assert bool(found.isfinite().all())


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_wanted_places_alone_have_the_states_and_gradients_they_have_among_all(model_of, encoding_name, ids_of, dtype):
    model, ids, wanted_N = model_of(encoding_name, dtype=dtype).train(), ids_of(2, 9), torch.tensor([3, 4, 8, 16])
    whole, alone = model(ids).flatten(0, 1)[wanted_N], model(ids, wanted_N=wanted_N)
    torch.testing.assert_close(alone, whole, atol=1e-5, rtol=0)
    leaves = list(model.blocks.parameters())
    found, expected = (torch.autograd.grad(each.square().sum(), leaves, allow_unused=True) for each in (alone, whole))
    for mine, theirs in zip(found, expected, strict=True):
        if dtype == "float32" and theirs is not None:  # bfloat16 sums in another order
            torch.testing.assert_close(mine, theirs, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("attention", ["causal", "bidirectional"])
def test_the_last_layer_asks_only_the_places_that_are_read(model_of, encoding_name, ids_of, attention):
    """States and gradients from a place on, and of some of these, are those they have among all."""
    if attention == "bidirectional" and encoding.build(encoding_name, 16, 2).causal_only:
        pytest.skip("it is causal only")
    model, ids, first, some_N = model_of(encoding_name, attention=attention).train(), ids_of(2, 9), 4, torch.tensor([0, 3, 7])
    whole, found = model(ids)[:, first:], model(ids, first=first)
    torch.testing.assert_close(found, whole, atol=1e-5, rtol=0)
    torch.testing.assert_close(model(ids, first=first, wanted_N=some_N), whole.flatten(0, 1)[some_N], atol=1e-5, rtol=0)
    leaves = list(model.parameters())
    found, wanted = (torch.autograd.grad(each.square().sum(), leaves, allow_unused=True) for each in (found, whole))
    for mine, theirs in zip(found, wanted, strict=True):
        if theirs is not None:
            torch.testing.assert_close(mine, theirs, atol=1e-4, rtol=1e-4)


def test_layers_that_share_a_bias_build_it_once_a_pass(model_of, ids_of, monkeypatch):
    built, dense = [], attention._dense_bias
    monkeypatch.setattr(attention, "_dense_bias", lambda *args: built.append(1) or dense(*args))
    for choice, times in (("t5", 1), ("tisa", 3), ("t5+none", 1)):  # t5 is one instance, tisa one a layer
        built.clear()
        model_of(choice, n_layer=3)(ids_of(1, 8))
        assert len(built) == times, choice


@pytest.mark.parametrize("shortest", [0, 99])
def test_training_in_bfloat16_is_finite_and_near_float32(model_of, encoding_name, ids_of, shortest, monkeypatch):
    monkeypatch.setattr(attention_bf16, "SHORTEST", shortest)  # with attention's products in it, and without
    half, full, ids = model_of(encoding_name, dtype="bfloat16").train(), model_of(encoding_name).train(), ids_of(2, 16)
    found, wanted = half.head(half(ids)), full.head(full(ids))
    assert found.dtype == torch.float32
    assert bool(found.isfinite().all())
    difference = float((found - wanted).detach().norm() / wanted.detach().norm())
    assert 1e-5 < difference < 0.05
    found.logsumexp(-1).sum().backward()
    assert all(each.grad is not None and bool(each.grad.isfinite().all()) for each in half.parameters())


def test_evaluation_is_in_float32_whatever_training_was_in(model_of, encoding_name, ids_of):
    half, full, ids = model_of(encoding_name, dtype="bfloat16"), model_of(encoding_name), ids_of(2, 9)
    torch.testing.assert_close(hidden_states(half, ids), hidden_states(full, ids), atol=0, rtol=0)


# ---------------------------------------------------------------------------------------------------------- initialisation


def own_state(model: Transformer) -> dict[str, Tensor]:
    """The weights that are not the encoding's."""
    return {name: tensor for name, tensor in model.state().items() if not name.startswith("encodings.")}


def test_all_but_the_encoding_starts_alike_for_every_encoding(model_of, encoding_name):
    model, plain = own_state(model_of(encoding_name, seed=3)), own_state(model_of("none", seed=3))
    assert model.keys() == plain.keys()
    assert all(torch.equal(model[name], plain[name]) for name in plain)


def test_two_models_of_one_seed_are_identical_whatever_was_drawn_before(model_of, encoding_name):
    torch.manual_seed(1)
    first, then = model_of(encoding_name, seed=3).state(), torch.rand(1)
    torch.manual_seed(2)
    second = model_of(encoding_name, seed=3).state()
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert torch.rand(1) != then, "building a model seeds nobody else's draws"


def test_another_seed_is_another_model(model_of, encoding_name):
    first, second = model_of(encoding_name, seed=3), model_of(encoding_name, seed=4)
    pairs = zip(first.named_parameters(), second.parameters(), strict=True)
    same = {name.split(".")[-2:][0] for (name, one), two in pairs if torch.equal(one, two) and not name.startswith("encodings.")}
    assert same == {"norm", "norm1", "norm2"}


def test_layers_of_an_unshared_encoding_start_differently(model_of, encoding_name):
    first, second = model_of(encoding_name).encodings
    pairs = list(zip(first.parameters(), second.parameters(), strict=True))
    differs = any(not torch.equal(one, two) for one, two in pairs)
    drawn = any(bool((one != one.flatten()[0]).any()) for one, _ in pairs)  # not a constant, like tables that start at 0
    assert differs == (drawn and not first.shared)


def test_initial_values_are_those_of_the_docstring(model_of):
    model = model_of("none", d_model=128, mlp_ratio=3)
    assert float(model.embedding.weight.detach().std()) == pytest.approx(1.0, rel=0.05)
    linear = [module.weight.detach() for module in model.modules() if isinstance(module, Linear)]
    assert len(linear) == 2 * 6 + 1
    for weight in linear:
        assert float(weight.std()) == pytest.approx(weight.shape[1] ** -0.5, rel=0.05)
    for module in model.modules():
        if isinstance(module, torch.nn.LayerNorm):
            assert bool((module.weight == 1).all())
            assert bool((module.bias == 0).all())


def test_the_number_of_parameters_is_the_plain_models_and_the_encodings(model_of, encoding_name):
    M, V, layers, ratio = 32, 20, 2, 4
    plain = V * M + layers * (4 * M * M + 2 * ratio * M * M + 4 * M) + 2 * M + V * M
    model = model_of(encoding_name)
    learned = {id(each): each.numel() for made in model.encodings for each in made.parameters()}
    assert sum(each.numel() for each in model.parameters()) == plain + sum(learned.values())
    if encoding_name == "none":
        assert not learned


def test_the_length_of_training_leaves_all_else_alone(model_of, encoding_name):
    """An encoding may size its tables by the trained length; nothing else may depend on it."""
    short, long = own_state(model_of(encoding_name, trained=16)), own_state(model_of(encoding_name, trained=700))
    assert all(torch.equal(short[name], long[name]) for name in short)


# ---------------------------------------------------------------------------------------------------------------- weights


def test_weights_saved_and_loaded_are_the_same_model(model_of, encoding_name, ids_of):
    first, second, ids = model_of(encoding_name, seed=0), model_of(encoding_name, seed=1), ids_of(2, 9)
    saved = {name: tensor.clone() for name, tensor in first.state().items()}
    assert not torch.equal(hidden_states(first, ids), hidden_states(second, ids))
    second.load_state(saved)
    assert torch.equal(hidden_states(first, ids), hidden_states(second, ids))


def test_a_state_holds_each_shared_tensor_once(model_of, encoding_name):
    model = model_of(encoding_name, n_layer=3)
    held = [tensor.data_ptr() for tensor in model.state().values()]
    assert len(set(held)) == len(held)
    assert {each.data_ptr() for each in model.parameters()} <= set(held)


def test_weights_of_another_encoding_are_refused_by_name(model_of):
    with pytest.raises(ValueError, match=r"do not fit.*encodings\.0\.table_NxH"):
        model_of("t5").load_state(model_of("none").state())
    with pytest.raises(ValueError, match=r"do not fit.*encodings\.0\.table_NxH"):
        model_of("none").load_state(model_of("t5").state())


def test_weights_of_another_shape_are_refused_by_name(model_of):
    with pytest.raises(ValueError, match=r"do not fit: embedding\.weight is \[20, 64\], here \[20, 32\]"):
        model_of("none").load_state(model_of("none", d_model=64).state())


def test_refused_weights_change_nothing(model_of):
    model = model_of("none")
    before = {name: tensor.clone() for name, tensor in model.state().items()}
    foreign = {name: tensor + 1 for name, tensor in before.items()}
    foreign["out.weight"] = foreign["out.weight"][:3]  # all but the last tensor fit
    with pytest.raises(ValueError, match="do not fit"):
        model.load_state(foreign)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state().items())

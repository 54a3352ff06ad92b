"""The whole model with every encoding: causality, decoding, padding, initialisation, weights."""

import pytest
import torch
from helpers.encodings import BOTH, model_in, move_parameters
from torch import Tensor

from rpecli import encoding
from rpecli.attention import cpu_bfloat16, dispatch
from rpecli.attention.blocks import BlockSizes
from rpecli.attention.cache import Cache
from rpecli.model import Linear, Transformer
from rpecli.proofs.model import COLUMNS, PADDED_LENGTHS, decoding_error, dependence, hidden_states, padded, padding_error


def test_an_output_depends_on_all_earlier_tokens_and_on_no_later_one(model_of, encoding_name, ids_of):
    size_TxT = dependence(model_of(encoding_name).train(), ids_of(1, 9))
    assert not bool(size_TxT.triu(1).any())
    assert bool((size_TxT > 0).equal(torch.ones(9, 9).tril() > 0))


@pytest.mark.parametrize("dense_keys", [512, 0])
def test_a_later_token_changes_no_earlier_output_in_evaluation(model_of, encoding_name, ids_of, dense_keys):
    model, ids = model_of(encoding_name), ids_of(1, 30)
    model.block_sizes = BlockSizes(dense_keys, cells=7 * 30, min_rows=1)
    other = ids.clone()
    other[:, 17] = (ids[:, 17] + 1) % 20
    change_T = (hidden_states(model, ids) - hidden_states(model, other)).abs().amax(dim=(0, 2))
    assert float(change_T[:17].max()) < 1e-5
    assert float(change_T[17:].min()) > 1e-5


@pytest.mark.parametrize("steps", [[1] * 12, [5, 1, 1, 5], [11, 1]])
@pytest.mark.parametrize("positions", [None, torch.arange(12) + 40, torch.arange(12).square()])
def test_decoding_equals_the_full_pass(model_of, encoding_name, ids_of, steps, positions):
    assert decoding_error(model_of(encoding_name), ids_of(2, 12), steps, positions) < 2e-5


def test_decoding_past_the_dense_kernels_equals_the_full_pass(model_of, encoding_name, ids_of):
    model, ids, cache = model_of(encoding_name), ids_of(1, 12), Cache()
    model.block_sizes = BlockSizes(dense_keys=4, cells=30, min_rows=1)
    states = [hidden_states(model, part, cache=cache) for part in ids.split([7, 1, 1, 3], dim=1)]
    torch.testing.assert_close(torch.cat(states, dim=1), hidden_states(model, ids), atol=2e-5, rtol=0)


PADDED = pytest.mark.parametrize("where", COLUMNS)


@BOTH
@PADDED
@pytest.mark.parametrize("cells", [1 << 20, 20])
def test_padding_anywhere_changes_nothing(model_of, encoding_name, ids_of, where, cells, causal):
    model, whole = model_in(model_of, encoding_name, causal), ids_of(3, 9)
    model.block_sizes = BlockSizes(cells=cells, min_rows=1)
    assert padding_error(model, whole, where) < 2e-5


@PADDED
def test_padding_leaves_gradients_finite(model_of, encoding_name, ids_of, where):
    model = model_of(encoding_name).train()
    ids, positions, padding_mask = padded(ids_of(3, 9), where)
    model(ids, positions=positions, padding_mask_BxT=padding_mask)[~padding_mask].square().sum().backward()
    assert all(bool(parameter.grad.isfinite().all()) for parameter in model.parameters() if parameter.grad is not None)


@PADDED
@pytest.mark.parametrize("moved", [False, True], ids=["initial", "moved"])
def test_decoding_goes_on_behind_padding(model_of, encoding_name, ids_of, where, moved):
    """First padded, then a token each, then padded again."""
    model, whole, cache = model_of(encoding_name), ids_of(3, 20), Cache()
    if moved:
        move_parameters(model.encodings[0])
    ids, positions, padding_mask = padded(whole, where)
    hidden_states(model, ids, positions=positions, padding_mask_BxT=padding_mask, cache=cache)
    lengths_3x1, nothing = torch.tensor(PADDED_LENGTHS)[:, None], torch.zeros(3, 1, dtype=torch.bool)
    texts = [whole[row, :n] for row, n in enumerate(PADDED_LENGTHS)]
    for step, mask in enumerate((nothing, None)):
        new = whole.gather(1, lengths_3x1 + step)
        texts = [torch.cat([text, new[row]]) for row, text in enumerate(texts)]
        states = hidden_states(model, new, positions=lengths_3x1 + step, padding_mask_BxT=mask, cache=cache)
        for row, text in enumerate(texts):
            torch.testing.assert_close(states[row, 0], hidden_states(model, text[None])[0, -1], atol=2e-5, rtol=0)
    more, more_positions, padding_mask = padded(whole.flip(1), where)
    states = hidden_states(model, more, positions=more_positions + lengths_3x1 + 2, padding_mask_BxT=padding_mask, cache=cache)
    for row, (n, text) in enumerate(zip(PADDED_LENGTHS, texts, strict=True)):
        unpadded = hidden_states(model, torch.cat([text, whole.flip(1)[row, :n]])[None])[0, -n:]
        torch.testing.assert_close(states[row][~padding_mask[row]], unpadded, atol=2e-5, rtol=0)


@PADDED
def test_indexed_tokens_behind_padding_have_the_states_they_have_among_all(model_of, ids_of, where):
    model, (ids, positions, padding_mask) = model_of("cope"), padded(ids_of(3, 9), where)
    options = {"positions": positions, "padding_mask_BxT": padding_mask}
    states = hidden_states(model, ids, **options)
    assert states.shape == (3, 11, 32)
    late = hidden_states(model, ids, **options, query_start=3)
    torch.testing.assert_close(late[~padding_mask[:, 3:]], states[:, 3:][~padding_mask[:, 3:]], atol=1e-6, rtol=0)
    index_N = (~padding_mask[:, 3:]).flatten().nonzero().flatten()
    picked = hidden_states(model, ids, **options, query_start=3, query_index_N=index_N)
    torch.testing.assert_close(picked, states[:, 3:].flatten(0, 1)[index_N], atol=1e-6, rtol=0)


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
AS_SCORE = """    def score(self, logits, qk):
        q_feat, k_feat = qk.q_feat_BxHxTxF, qk.k_feat_BxHxSxF
        return logits - k_feat.cumsum(2).transpose(2, 3) + q_feat * k_feat.transpose(2, 3)
"""
AS_CHANNEL = """    def rotate(self, qk):
        q_feat, k_feat = qk.q_feat_BxHxTxF, qk.k_feat_BxHxSxF
        wide_k = torch.cat([qk.k_BxHxSxD, -k_feat.cumsum(2) / self.shape.scale, k_feat / self.shape.scale], dim=-1)
        return torch.cat([qk.q_BxHxTxD, torch.ones_like(q_feat), q_feat], dim=-1), wide_k
"""


@pytest.fixture(params=[AS_SCORE, AS_CHANNEL], ids=["score", "channel"])
def forgetting(request, tmp_path, model_of) -> Transformer:
    """An encoding with learned features, in two forms that are one function."""
    path = tmp_path / "forget.py"
    path.write_text(FORGET + request.param)
    return model_of(str(path))


def test_features_are_cached_beside_keys_and_values(forgetting, ids_of):
    ids, cache = ids_of(2, 12), Cache()
    states = [hidden_states(forgetting, part, cache=cache) for part in ids.split([5, 1, 1, 5], dim=1)]
    torch.testing.assert_close(torch.cat(states, dim=1), hidden_states(forgetting, ids), atol=2e-5, rtol=0)
    assert cache.layers[1]["features"].shape == (2, 4, 12, 1)


def test_features_are_cut_into_the_same_blocks_as_queries_and_keys(forgetting, ids_of):
    whole = hidden_states(forgetting, ids_of(1, 12))
    forgetting.block_sizes = BlockSizes(cells=30, min_rows=1)
    torch.testing.assert_close(hidden_states(forgetting, ids_of(1, 12)), whole, atol=1e-5, rtol=0)


def test_features_of_padding_change_nothing(forgetting, ids_of):
    whole = ids_of(3, 9)
    ids, positions, padding_mask = padded(whole, "left")
    states = hidden_states(forgetting, ids, positions=positions, padding_mask_BxT=padding_mask)
    for row, n in enumerate(PADDED_LENGTHS):
        unpadded = hidden_states(forgetting, whole[row : row + 1, :n])[0]
        torch.testing.assert_close(states[row][~padding_mask[row]], unpadded, atol=2e-5, rtol=0)


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
    if model.encodings[0].group == "content" or encoding_name in ("abacus", "bipe"):
        pytest.skip("may go by the tokens alone")
    change = (hidden_states(model, ids, positions=torch.arange(9) * 3) - hidden_states(model, ids)).abs().max()
    assert (float(change) > 1e-4) == (model.encodings[0].group != "none")


def test_sequences_of_a_batch_do_not_touch_each_other(model_of, encoding_name, ids_of):
    model, ids = model_of(encoding_name), ids_of(3, 9)
    one_by_one = torch.cat([hidden_states(model, row) for row in ids.split(1)])
    torch.testing.assert_close(hidden_states(model, ids), one_by_one, atol=1e-5, rtol=0)


def test_all_is_finite_at_eight_times_the_trained_length(model_of, encoding_name, ids_of):
    model = model_of(encoding_name, max_train_length=80)
    logits = model.head(hidden_states(model, ids_of(1, 640)))
    assert logits.dtype == torch.float32
    assert bool(logits.isfinite().all())


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_indexed_tokens_alone_have_the_states_and_gradients_they_have_among_all(model_of, encoding_name, ids_of, dtype):
    model, ids, index_N = model_of(encoding_name, dtype=dtype).train(), ids_of(2, 9), torch.tensor([3, 4, 8, 16])
    whole, indexed = model(ids).flatten(0, 1)[index_N], model(ids, query_index_N=index_N)
    torch.testing.assert_close(indexed, whole, atol=1e-5 if dtype == "float32" else 0.02, rtol=0)
    if dtype == "float32":  # bfloat16 sums in another order
        assert_same_gradients(model, indexed, whole)


@pytest.mark.parametrize("attention", ["causal", "bidirectional"])
def test_the_last_layer_has_only_the_queries_that_are_read(model_of, encoding_name, ids_of, attention):
    """States and gradients from a token on, and of some of these, are those they have among all."""
    if attention == "bidirectional" and encoding.build(encoding_name, 16, 2).causal_only:
        pytest.skip("it is causal only")
    model, ids, start, index_N = model_of(encoding_name, attention=attention).train(), ids_of(2, 9), 4, torch.tensor([0, 3, 7])
    whole, last = model(ids)[:, start:], model(ids, query_start=start)
    torch.testing.assert_close(last, whole, atol=1e-5, rtol=0)
    indexed = model(ids, query_start=start, query_index_N=index_N)
    torch.testing.assert_close(indexed, whole.flatten(0, 1)[index_N], atol=1e-5, rtol=0)
    assert_same_gradients(model, last, whole)


def assert_same_gradients(model: Transformer, states: Tensor, expected_states: Tensor) -> None:
    leaves = list(model.parameters())
    gradients, expected = (
        torch.autograd.grad(tensor.square().sum(), leaves, allow_unused=True) for tensor in (states, expected_states)
    )
    for gradient, expected_gradient in zip(gradients, expected, strict=True):
        if expected_gradient is not None:
            torch.testing.assert_close(gradient, expected_gradient, atol=1e-4, rtol=1e-4)


def test_layers_that_share_a_bias_build_it_once_a_pass(model_of, ids_of, monkeypatch):
    calls, dense_bias = [], dispatch.dense_bias
    monkeypatch.setattr(dispatch, "dense_bias", lambda *args, **options: calls.append(1) or dense_bias(*args, **options))
    for choice, times in (("t5", 1), ("tisa", 3), ("t5+none", 1)):  # t5 is one instance, tisa one a layer
        calls.clear()
        model_of(choice, n_layer=3)(ids_of(1, 8))
        assert len(calls) == times, choice


@pytest.mark.parametrize("shortest", [0, 99])
def test_training_in_bfloat16_is_finite_and_near_float32(model_of, encoding_name, ids_of, shortest, monkeypatch):
    monkeypatch.setattr(cpu_bfloat16, "SHORTEST", shortest)  # with attention's products in it, and without
    half, full, ids = model_of(encoding_name, dtype="bfloat16").train(), model_of(encoding_name).train(), ids_of(2, 16)
    logits, expected = half.head(half(ids)), full.head(full(ids))
    assert logits.dtype == torch.float32
    assert bool(logits.isfinite().all())
    difference = float((logits - expected).detach().norm() / expected.detach().norm())
    assert 1e-5 < difference < 0.05
    logits.logsumexp(-1).sum().backward()
    assert all(parameter.grad is not None and bool(parameter.grad.isfinite().all()) for parameter in half.parameters())


def test_evaluation_is_in_float32_whatever_training_was_in(model_of, encoding_name, ids_of):
    half, full, ids = model_of(encoding_name, dtype="bfloat16"), model_of(encoding_name), ids_of(2, 9)
    torch.testing.assert_close(hidden_states(half, ids), hidden_states(full, ids), atol=0, rtol=0)


def own_state(model: Transformer) -> dict[str, Tensor]:
    """The weights that are not the encoding's."""
    return {name: tensor for name, tensor in model.state().items() if not name.startswith("encodings.")}


def test_all_but_the_encoding_starts_alike_for_every_encoding(model_of, encoding_name):
    model, plain = own_state(model_of(encoding_name, seed=3)), own_state(model_of("none", seed=3))
    assert model.keys() == plain.keys()
    assert all(torch.equal(model[name], plain[name]) for name in plain)


def test_two_models_of_one_seed_are_identical_whatever_was_drawn_before(model_of, encoding_name):
    torch.manual_seed(1)
    first, random_number = model_of(encoding_name, seed=3).state(), torch.rand(1)
    torch.manual_seed(2)
    second = model_of(encoding_name, seed=3).state()
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert torch.rand(1) != random_number, "building a model seeds nobody else's draws"


def test_another_seed_is_another_model(model_of, encoding_name):
    first, second = model_of(encoding_name, seed=3), model_of(encoding_name, seed=4)
    pairs = zip(first.named_parameters(), second.parameters(), strict=True)
    same = {name.split(".")[-2:][0] for (name, one), two in pairs if torch.equal(one, two) and not name.startswith("encodings.")}
    assert same == {"norm", "norm1", "norm2"}


def test_layers_of_an_unshared_encoding_start_differently(model_of, encoding_name):
    first, second = model_of(encoding_name).encodings
    pairs = list(zip(first.parameters(), second.parameters(), strict=True))
    differs = any(not torch.equal(one, two) for one, two in pairs)
    random_start = any(bool((one != one.flatten()[0]).any()) for one, _ in pairs)  # not a constant, like tables that start at 0
    assert differs == (random_start and not first.shared)


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
    learned = {id(parameter): parameter.numel() for module in model.encodings for parameter in module.parameters()}
    assert sum(parameter.numel() for parameter in model.parameters()) == plain + sum(learned.values())
    if encoding_name == "none":
        assert not learned


def test_the_length_of_training_leaves_all_else_alone(model_of, encoding_name):
    """An encoding may size its tables by the training length; nothing else may depend on it."""
    short, long = (
        own_state(model_of(encoding_name, max_train_length=16)),
        own_state(model_of(encoding_name, max_train_length=700)),
    )
    assert all(torch.equal(short[name], long[name]) for name in short)


def test_weights_saved_and_loaded_are_the_same_model(model_of, encoding_name, ids_of):
    first, second, ids = model_of(encoding_name, seed=0), model_of(encoding_name, seed=1), ids_of(2, 9)
    saved = {name: tensor.clone() for name, tensor in first.state().items()}
    assert not torch.equal(hidden_states(first, ids), hidden_states(second, ids))
    second.load_state(saved)
    assert torch.equal(hidden_states(first, ids), hidden_states(second, ids))


def test_a_state_holds_each_shared_tensor_once(model_of, encoding_name):
    model = model_of(encoding_name, n_layer=3)
    pointers = [tensor.data_ptr() for tensor in model.state().values()]
    assert len(set(pointers)) == len(pointers)
    assert {parameter.data_ptr() for parameter in model.parameters()} <= set(pointers)


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

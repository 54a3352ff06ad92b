"""What turns scores into weights besides the softmax, and the factors on queries that grow with the keys they see."""

import math

import numpy as np
import pytest
import torch
from helpers import reference
from torch import Tensor

from rpecli import encoding
from rpecli.attention.blocks import BlockSizes
from rpecli.attention.dispatch import ForwardContext, attend, kernel
from rpecli.attention.reference import causal_mask, scores, stick_breaking
from rpecli.config.recipe import Config
from rpecli.encoding import QueryKey
from rpecli.model import Attention, Cache, LogitScale, Transformer


def broken_stick(logits_TxS: np.ndarray, masked_TxS: np.ndarray) -> np.ndarray:
    """Key by key away from the row's own place, each takes its share of what is left of the stick."""
    (T, S), weights_TxS = logits_TxS.shape, np.zeros(logits_TxS.shape)
    for row in range(T):
        left = 1.0
        for j in range(S - T + row - 1, -1, -1):
            if not masked_TxS[row, j]:
                share = 1 / (1 + math.exp(-logits_TxS[row, j]))
                weights_TxS[row, j] = left * share
                left *= 1 - share
    return weights_TxS


def draw(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("T", "S"), [(1, 1), (1, 7), (7, 7), (3, 9), (40, 64)])
def test_weights_are_parts_of_a_stick(T, S):
    logits, masked = draw(2, 3, T, S) * 3, causal_mask(T, S)
    weights = stick_breaking(logits, masked)
    for b, h in np.ndindex(2, 3):
        expected = broken_stick(reference.array(logits[b, h]), masked.numpy())
        np.testing.assert_allclose(weights[b, h].numpy(), expected, atol=1e-6)


def test_padding_keys_take_nothing_of_the_stick():
    logits, padding = draw(1, 1, 9, 9), torch.tensor([True, False, False, True, True, False, False, True, False])
    masked = causal_mask(9, 9) | padding
    weights = stick_breaking(logits, masked[None, None])[0, 0]
    np.testing.assert_allclose(weights.numpy(), broken_stick(reference.array(logits[0, 0]), masked.numpy()), atol=1e-6)
    assert bool((weights[:, padding] == 0).all())


def test_scores_of_zero_halve_the_stick_at_every_token():
    row = stick_breaking(torch.zeros(6, 6), causal_mask(6, 6))[5]
    assert row.tolist() == pytest.approx([1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2, 0])


def test_a_row_never_has_more_than_the_stick_and_the_first_row_nothing():
    rows = stick_breaking(draw(5, 30, 30) * 10, causal_mask(30, 30)).sum(-1)
    assert float(rows.max()) <= 1 + 1e-5
    assert bool((rows[:, 0] == 0).all())


@pytest.mark.parametrize("large", [50.3, 1000.7, 30000.1])
def test_a_key_that_takes_all_that_is_left_takes_it_exactly(large):
    """It leaves e^-1000, whose logarithm must not eat the digits of the others."""
    logits = draw(20, 1, 12)
    logits[:, :, 4] = large
    weights = stick_breaking(logits, causal_mask(1, 12))
    expected = (-logits[:, :, 5:11].double()).sigmoid().prod(-1)
    np.testing.assert_allclose(weights[:, :, 4].numpy(), expected.numpy(), rtol=2e-6)
    assert float(weights[:, :, :4].max()) < 1e-20


@pytest.mark.parametrize("size", [1.0, 100.0, 1e4])
def test_gradients_of_the_stick_are_finite(size):
    logits = (draw(2, 12, 12) * size).requires_grad_()
    (stick_breaking(logits, causal_mask(12, 12)) * draw(2, 12, 12, seed=2)).sum().backward()
    assert bool(logits.grad.isfinite().all())
    assert bool((logits.grad.triu() == 0).all())


def test_gradients_of_the_stick_equal_finite_differences():
    masked = causal_mask(4, 6)
    assert torch.autograd.gradcheck(lambda z: stick_breaking(z, masked), draw(2, 4, 6).double().requires_grad_())


@pytest.mark.parametrize(("T", "S"), [(20, 20), (5, 20), (1, 20)])
def test_the_stick_is_broken_alike_in_blocks_of_rows(T, S):
    module = encoding.build("rope", 32, 4)
    q, k, v, positions = draw(2, 4, T, 8), draw(2, 4, S, 8, seed=2), draw(2, 4, S, 8, seed=3), torch.arange(S)[None]
    weights = stick_breaking(scores(module, q, k), causal_mask(T, S))
    context = ForwardContext(contiguous_positions=True, sizes=BlockSizes(cells=3 * 2 * S, min_rows=1))
    with torch.no_grad():
        out = attend(module, QueryKey.last(q, k, positions), v, context, normalizer="stick-breaking")
    torch.testing.assert_close(out, weights @ v, atol=1e-6, rtol=0)


def test_no_encoding_takes_a_fused_kernel_where_sticks_are_broken(encoding_name):
    assert kernel(encoding.build(encoding_name, 32, 4), "stick-breaking") == "eager"


SCALES = ["none", "logn", "ssmax"]


@pytest.fixture
def score_name(encoding_name: str) -> str:
    """An encoding that acts on scores: what others add to the embeddings knows no weights."""
    if encoding.overrides(encoding.build(encoding_name, 32, 4), "embed"):
        pytest.skip("acts on the embeddings")
    return encoding_name


@torch.no_grad()
def decoded(model: Transformer, ids: Tensor) -> Tensor:
    cache = Cache()
    return torch.cat([model(part, cache=cache) for part in ids.split([5, 1, 1, ids.shape[1] - 7], dim=1)], dim=1)


@pytest.mark.parametrize("scale", SCALES)
def test_decoding_equals_the_full_pass_with_broken_sticks(model_of, score_name, ids_of, scale):
    model, ids = model_of(score_name, max_train_length=4, normalizer="stick-breaking", logit_scale=scale), ids_of(2, 12)
    with torch.no_grad():
        torch.testing.assert_close(decoded(model, ids), model(ids), atol=2e-5, rtol=0)


def test_training_with_broken_sticks_is_finite_and_moves_everything(model_of, encoding_name, ids_of):
    model = model_of(encoding_name, normalizer="stick-breaking", dtype="bfloat16").train()
    model.head(model(ids_of(2, 16))).logsumexp(-1).sum().backward()
    for parameter in model.parameters():
        assert parameter.grad is not None
        assert bool(parameter.grad.isfinite().all())


def factors(kind: str, n_keys: list[int], max_train_length: int = 16, heads: int = 3) -> Tensor:
    """Factor on the query of each head for these numbers of keys, `[heads, T]`."""
    scale = LogitScale(kind, heads, max_train_length)
    with torch.no_grad():
        return scale(torch.ones(1, heads, len(n_keys), 1), torch.tensor(n_keys))[0, :, :, 0]


def test_no_scale_leaves_queries_as_they_are():
    config = Config(task="copy", encoding="none", d_model=24, n_head=3)
    attention = Attention(config, torch.float32, LogitScale("none", 3, 16))
    q = draw(1, 3, 4, 8)
    assert attention.scale_queries(q, 4, encoding.build("none", d_model=24, n_head=3)) is q


@pytest.mark.parametrize("length", [2, 16, 64])
def test_logn_is_one_up_to_the_trained_length_and_grows_with_the_logarithm(length):
    n_keys = [1, 2, length, 2 * length, 1000]
    expected = [max(1.0, math.log(n) / math.log(length)) for n in n_keys]
    np.testing.assert_allclose(factors("logn", n_keys, length).numpy(), [expected] * 3, rtol=1e-6)


def test_ssmax_is_the_logarithm_times_a_number_of_each_head():
    scale = LogitScale("ssmax", 3, 16)
    with torch.no_grad():
        scale.s_Hx1x1[:, 0, 0] = torch.tensor([0.1, 0.43, 2.0])
        scaled = scale(torch.ones(2, 3, 3, 5), torch.tensor([1, 7, 500]))
    for head, s in enumerate([0.1, 0.43, 2.0]):
        for row, n in enumerate([1, 7, 500]):
            assert scaled[:, head, row].flatten().tolist() == pytest.approx([s * math.log(n)] * 10, rel=1e-6, abs=1e-9)


def test_ssmax_starts_as_no_scale_at_the_trained_length():
    torch.testing.assert_close(factors("ssmax", [16, 256]), torch.tensor([1.0, 2.0]).expand(3, 2))


def test_a_scale_multiplies_the_scores_of_a_row_and_not_the_bias(model_of, ids_of):
    """Seen from outside: with alibi, a scaled query is a model whose query matrix is larger."""
    model, ids = model_of("alibi", max_train_length=3, logit_scale="logn", n_layer=1), ids_of(1, 9)
    plain = model_of("alibi", max_train_length=3, n_layer=1)
    with torch.no_grad():
        plain.blocks[0].attention.q.weight *= math.log(9) / math.log(3)
        torch.testing.assert_close(model(ids)[:, -1], plain(ids)[:, -1], atol=1e-5, rtol=0)
        assert float((model(ids)[:, 5] - plain(ids)[:, 5]).abs().max()) > 1e-3


@pytest.mark.parametrize("scale", SCALES)
def test_parameters_are_learned_for_ssmax_only(model_of, ids_of, scale):
    model = model_of("rope", logit_scale=scale).train()
    scales = {name: parameter for name, parameter in model.named_parameters() if "logit_scale" in name}
    assert [tuple(parameter.shape) for parameter in scales.values()] == ([(4, 1, 1)] * 2 if scale == "ssmax" else [])
    assert set(scales) <= set(model.state())
    model.head(model(ids_of(2, 9))).logsumexp(-1).sum().backward()
    assert all(bool((parameter.grad != 0).all()) for parameter in scales.values())


@pytest.mark.parametrize("scale", ["logn", "ssmax"])
def test_decoding_equals_the_full_pass_with_scaled_queries(model_of, score_name, ids_of, scale):
    model, ids = model_of(score_name, max_train_length=4, logit_scale=scale), ids_of(2, 12)
    with torch.no_grad():
        torch.testing.assert_close(decoded(model, ids), model(ids), atol=2e-5, rtol=0)


@pytest.mark.parametrize("scale", ["logn", "ssmax"])
def test_padding_is_not_counted_among_the_keys_seen(model_of, ids_of, scale):
    model, ids = model_of("rope", max_train_length=4, logit_scale=scale), ids_of(2, 9)
    padded, padding_mask = torch.cat([ids_of(2, 5), ids], dim=1), torch.arange(14).expand(2, 14) < 5
    with torch.no_grad():
        states = model(padded, torch.cat([torch.zeros(5), torch.arange(9)]).long(), padding_mask)[:, 5:]
        torch.testing.assert_close(states, model(ids), atol=2e-5, rtol=0)

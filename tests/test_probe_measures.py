"""Patterns, fits, score terms and similarity of hand-made matrices, where every number is known beforehand."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from helpers.probes import batches_of, untrained_model
from torch import Tensor

from rpecli.attention.blocks import BlockSizes
from rpecli.probes import mean_scores, score_terms, similarity, toeplitz
from rpecli.probes.attention_weights import layer_inputs
from rpecli.probes.head_patterns import AttentionSums, patterned_heads


def sums_of(key: Callable[[int, int, int], int], n: int, weight: float = 1.0) -> AttentionSums:
    """A head whose answer rows n+1..2n (as in copying) put `weight` on key(i, t, n), the rest on the row itself."""
    i_N, t_N = torch.arange(n + 1, 2 * n + 1), torch.arange(n)
    weights_NxHxT = torch.zeros(n, 1, 2 * n + 2)
    for row, (i, t) in enumerate(zip(i_N.tolist(), t_N.tolist(), strict=True)):
        weights_NxHxT[row, 0, i] += 1 - weight
        weights_NxHxT[row, 0, key(i, t, n)] += weight
    sums = AttentionSums(1, 2 * n + 2)
    sums.add(weights_NxHxT, i_N, t_N, causal=True)
    return sums


@pytest.mark.parametrize(
    ("key", "rule"),
    [
        (lambda i, t, n: i, "distance 0"),
        (lambda i, t, n: i - 3, "distance 3"),
        (lambda i, t, n: i - n, "distance n"),
        (lambda i, t, n: i - n - 1, "distance n+1"),
        (lambda i, t, n: 0, "place 0"),
        (lambda i, t, n: n + 1, "place n+1"),
        (lambda i, t, n: n - t, "distance 2t+1"),
        (lambda i, t, n: t // 2 + t % 2, None),
    ],
)
def test_a_head_that_follows_a_pattern_is_named(key: Callable[[int, int, int], int], rule: str | None) -> None:
    heads = patterned_heads([{n: sums_of(key, n) for n in (8, 16, 32)}], 16, 8)
    assert [head["pattern"] for head in heads] == ([rule] if rule else [])
    if rule:
        assert heads[0]["share"] == {"8": 1.0, "16": 1.0, "32": 1.0}
        assert (heads[0]["layer"], heads[0]["head"]) == (1, 1)


def test_a_share_is_the_weight_in_the_pattern_and_half_of_it_is_required() -> None:
    (head,) = patterned_heads([{n: sums_of(lambda i, t, n: i - n, n, 0.68) for n in (8, 16)}], 16, 8)
    assert head["share"] == {"8": 0.68, "16": 0.68}
    weak = [{n: _with_uniform_rows(sums_of(lambda i, t, n: i - n, n)) for n in (8, 16)}]
    assert patterned_heads(weak, 16, 8) == []


def _with_uniform_rows(sums: AttentionSums) -> AttentionSums:
    """Adds twice as many rows that attend equally everywhere: less than half of the weight is left in the pattern."""
    n = sums.T // 2 - 1
    sums.add(torch.ones(2 * n, 1, sums.T), torch.arange(2 * n), torch.zeros(2 * n, dtype=torch.long), causal=True)
    return sums


def test_one_answer_token_fits_every_pattern_and_is_called_a_distance() -> None:
    sums = AttentionSums(1, 6)
    sums.add(torch.eye(6)[None, 2:3], torch.tensor([4]), torch.tensor([0]), causal=True)
    assert sums.strongest(0) == ("distance", 2, 1.0)


def test_a_distance_that_fails_at_a_greater_length_shows_it() -> None:
    broken = {n: sums_of(lambda i, t, n: i - min(n, 16), n) for n in (8, 16, 32)}
    (head,) = patterned_heads([broken], 16, 8)
    assert (head["pattern"], head["share"]) == ("distance n", {"8": 1.0, "16": 1.0, "32": 0.0})


def test_distance_entropy_and_weights_by_distance() -> None:
    sums = AttentionSums(2, 4)
    equal, two_back = [0.25, 0.25, 0.25, 0.25], [0, 1.0, 0, 0]
    sums.add(torch.tensor([[equal, two_back]]), torch.tensor([3]), torch.tensor([0]), causal=True)
    first, second = sums.heads(causal=True)
    log_4 = round(math.log(4), 4)
    assert first == {"head": 1, "distance": 1.5, "entropy": log_4, "uniform": log_4, "by_distance": equal}
    assert second == {"head": 2, "distance": 2, "entropy": 0, "uniform": log_4, "by_distance": [0, 0, 1.0, 0]}
    assert sums.heads(causal=False)[1]["by_distance"] == [0, 0, 0, 0, 0, 1.0, 0]


CAUSAL = torch.ones(40, 40).tril().bool()
DISTANCE = torch.arange(40)[:, None] - torch.arange(40)


def noise(seed: int) -> Tensor:
    return torch.randn(40, 40, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("visible", [CAUSAL, torch.ones(40, 40).bool()], ids=["causal", "bidirectional"])
def test_a_function_of_the_distance_is_explained_wholly_and_noise_is_not(visible: Tensor) -> None:
    fit = toeplitz.fit(torch.sin(DISTANCE / 3.0) + 0.01 * DISTANCE, visible)
    assert fit["r2"] == fit["r2_row_centered"] == pytest.approx(1, abs=1e-6)
    fits = [toeplitz.fit(noise(seed), visible) for seed in range(5)]
    assert all(fit["r2"] < 0.12 and fit["r2_row_centered"] < 0.12 for fit in fits)
    assert sum(fit["r2"] for fit in fits) / 5 == pytest.approx(fits[0]["r2_chance"], abs=0.02)


def test_only_the_row_centered_r2_ignores_what_is_constant_along_rows() -> None:
    fit = toeplitz.fit(torch.sin(DISTANCE / 3.0) + 5 * noise(0)[:, :1], CAUSAL)
    assert fit["r2_row_centered"] == pytest.approx(1, abs=1e-6)
    assert fit["r2"] < 0.5


def test_half_of_the_variance_is_half() -> None:
    signal = torch.sin(DISTANCE / 3.0)
    rest = noise(1) * float(signal[CAUSAL].std())
    assert toeplitz.fit(signal + rest, CAUSAL)["r2"] == pytest.approx(0.5, abs=0.07)


def test_a_constant_has_no_r2() -> None:
    fit = toeplitz.fit(torch.full((40, 40), 3.0), CAUSAL)
    assert (fit["r2"], fit["r2_row_centered"]) == (None, None)


def test_every_matrix_is_fitted_over_its_own_pairs() -> None:
    near = CAUSAL & (DISTANCE < 5)
    fits = toeplitz.fits([(noise(0), CAUSAL), (noise(1), CAUSAL), (noise(1), near)])
    assert fits == [toeplitz.fit(noise(0), CAUSAL), toeplitz.fit(noise(1), CAUSAL), toeplitz.fit(noise(1), near)]
    assert fits[2]["r2_chance"] == pytest.approx(4 / (int(near.sum()) - 1), abs=1e-6)


def test_the_fit_of_mean_scores_is_that_of_the_mean_over_sequences() -> None:
    loaded = untrained_model("none", n_layer=2)
    with torch.no_grad():
        layers = [layer.scores(0, 10).double().mean(0) for layer in layer_inputs(loaded, batches_of(loaded)[0])]
        expected = [[toeplitz.fit(mean_TxT, torch.ones(10, 10).tril().bool()) for mean_TxT in layer] for layer in layers]
        loaded.model.block_sizes = BlockSizes(cells=700)
        fits = mean_scores.measure(loaded, batches_of(loaded))
    for layer, expected_layer in zip(fits, expected, strict=True):
        for number, (head, fit) in enumerate(zip(layer, expected_layer, strict=True)):
            assert head == pytest.approx({"head": number + 1, **fit}, abs=1e-4)


def test_keys_that_an_encoding_masks_are_no_part_of_the_fit() -> None:
    loaded = untrained_model("window:width=2")
    with torch.no_grad():
        ((first, _),) = mean_scores.measure(loaded, batches_of(loaded)[:1])
    assert first["r2_chance"] == pytest.approx(1 / (10 + 9 - 1), abs=1e-6)


@pytest.mark.parametrize("encoding", ["learned", "sinusoidal"])
@pytest.mark.parametrize(
    "keys", [{}, {"logit_scale": "logn"}, {"attention": "bidirectional"}, {"block": "gpt2"}, {"block": "llama"}], ids=str
)
def test_four_terms_add_up_to_the_score(encoding: str, keys: dict[str, Any]) -> None:
    loaded = untrained_model(encoding, **keys)
    block = loaded.model.blocks[0]
    for parameter in [*block.norm1.parameters(), block.attention.q.bias, block.attention.k.bias]:
        if parameter is not None:
            torch.nn.init.normal_(parameter)
    batch = batches_of(loaded)[0]
    with torch.no_grad():
        scores_BxHxTxT = layer_inputs(loaded, batch)[0].scores(0, batch.inputs_BxT.shape[1])
    terms_4xBxHxTxT = score_terms.score_terms(loaded.model, batch)
    torch.testing.assert_close(terms_4xBxHxTxT.sum(0), scores_BxHxTxT, atol=1e-4, rtol=1e-4)


def test_without_positions_all_is_content_and_without_content_all_is_position() -> None:
    loaded = untrained_model("learned")
    with torch.no_grad():
        table_RxM = loaded.model.current[0].table_RxM
        values_RxM = table_RxM.clone()
        table_RxM.zero_()
        without_positions = score_terms.measure(loaded.model, batches_of(loaded)[:1])
        table_RxM.copy_(values_RxM)
        loaded.model.embedding.weight.zero_()
        without_content = score_terms.measure(loaded.model, batches_of(loaded)[:1])
    assert [list(head["share"].values()) for head in without_positions] == [[1, 0, 0, 0]] * 2
    assert [head["toeplitz"]["r2"] for head in without_positions] == [None, None]
    assert [list(head["share"].values()) for head in without_content] == [[0, 0, 0, 1]] * 2
    assert [list(head["covariance"].values()) for head in without_content] == [[0, 0, 0, 1]] * 2


def test_shares_sum_to_1_and_small_batches_change_nothing() -> None:
    loaded = untrained_model("sinusoidal")
    whole = score_terms.measure(loaded.model, batches_of(loaded))
    loaded.model.block_sizes = BlockSizes(cells=700)
    parts = score_terms.measure(loaded.model, batches_of(loaded))
    for head, same_head in zip(whole, parts, strict=True):
        assert sum(head["share"].values()) == pytest.approx(1, abs=1e-5)
        assert sum(head["covariance"].values()) == pytest.approx(1, abs=1e-5)
        assert head["share"] == pytest.approx(same_head["share"], abs=1e-5)
        assert head["toeplitz"] == pytest.approx(same_head["toeplitz"], abs=1e-4)


def test_terms_are_for_encodings_that_add_to_the_embeddings() -> None:
    names = ("learned", "sinusoidal", "rope", "t5", "none")
    with_terms = [name for name in names if score_terms.adds_positions(untrained_model(name).model)]
    assert with_terms == ["learned", "sinusoidal"]


def rows(seed: int, heads: int = 3) -> Tensor:
    return torch.randn(20, heads, 9, generator=torch.Generator().manual_seed(seed)).mul(3).softmax(-1)


def test_a_layer_is_like_itself_and_disjoint_heads_are_not_alike() -> None:
    assert similarity.layer_similarity(rows(0), rows(0)) == {"mean": 1, "paired": 1, "pairs": [[1, 1], [2, 2], [3, 3]]}
    left, right = torch.tensor([[[1.0, 0]]]), torch.tensor([[[0, 1.0]]])
    assert similarity.layer_similarity(left, right) == {"mean": 0, "paired": 0, "pairs": [[1, 1]]}


def test_heads_in_another_order_are_paired() -> None:
    permuted = similarity.layer_similarity(rows(0), rows(0)[:, [2, 0, 1]])
    assert (permuted["paired"], permuted["pairs"]) == (1, [[1, 2], [2, 3], [3, 1]])
    other = similarity.layer_similarity(rows(0), rows(1))
    assert 0 < other["paired"] < 0.95


def test_divergence_of_hand_worked_rows() -> None:
    """Between (1, 0) and (1/2, 1/2): H(3/4, 1/4) - H(1/2, 1/2)/2."""
    expected = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25)) - math.log(2) / 2
    assert similarity.divergence(torch.tensor([[1.0, 0]]), torch.tensor([[0.5, 0.5]])) == pytest.approx(expected)

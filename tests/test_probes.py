"""Probes on hand-made models and matrices, where every number is known beforehand."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from helpers import training as tiny
from helpers.encodings import move_parameters
from torch import Tensor

from rpecli import data
from rpecli.attention import blocks as attention_blocks
from rpecli.evaluate.eval_set import eval_set
from rpecli.model import LoadedModel, build
from rpecli.probes import invariance, mean_scores, score_terms, similarity, toeplitz
from rpecli.probes.attention_weights import LayerInputs, attention_rows, capture_layers, layer_inputs, split_heads
from rpecli.probes.head_patterns import AttentionSums, patterned_heads
from rpecli.probes.inputs import ProbeBatch, probe_batches, random_prefix
from rpecli.run.records import ShiftScores
from rpecli.task import Batch

SETTINGS = [{}, {"logit_scale": "ssmax"}, {"normalizer": "stick-breaking"}]


def untrained_model(encoding: str, **keys: Any) -> LoadedModel:
    """A model that was never trained, its encoding moved away from its initial values."""
    loaded = build(tiny.config(encoding=encoding, **keys), torch.device("cpu"))
    loaded.model.eval()
    for part in dict.fromkeys(loaded.model.current):
        move_parameters(part)
    return loaded


def blocks_of(loaded: LoadedModel, length: int = 4) -> list[Batch]:
    return eval_set(loaded.config, loaded.task, length)


def batches_of(loaded: LoadedModel, length: int = 4) -> list[ProbeBatch]:
    return list(probe_batches(loaded, length, blocks_of(loaded, length)))


def shift_scores(loaded: LoadedModel, shifts: list[tuple[invariance.Kind, int]], length: int = 4) -> list[ShiftScores]:
    return invariance.measure(loaded, length, blocks_of(loaded, length), shifts, [])


def weights_times_values(block: Any, layer: LayerInputs) -> Tensor:
    """`[B, T, M]`, from the attention of every row."""
    B, T, _ = layer.h_BxTxM.shape
    weights_BxHxTxT = attention_rows(layer, torch.ones(B, T, dtype=torch.bool)).unflatten(0, (B, T)).transpose(1, 2)
    return (weights_BxHxTxT @ split_heads(block.v(layer.h_BxTxM), block.n_head)).transpose(1, 2).flatten(2)


@pytest.mark.parametrize("keys", SETTINGS, ids=str)
def test_the_weights_computed_again_are_those_the_model_used(
    encoding_name: str, keys: dict[str, Any], model_of: Callable[..., Any], ids_of: Callable[..., Tensor], monkeypatch: Any
) -> None:
    """The input of a block's last projection is weights times values, whatever the kernel; in blocks of 3 rows."""
    model, ids_BxT = model_of(encoding_name, **keys), ids_of(2, 10)
    monkeypatch.setattr(attention_blocks, "CELLS", 60)
    projected: list[Tensor] = []
    for block in model.blocks:
        block.o.register_forward_pre_hook(lambda _, inputs: projected.append(inputs[0]))
    with torch.no_grad(), capture_layers(model) as captured:
        model(ids_BxT, torch.arange(10)[None] + 5)
        for block, layer, y_BxTxM in zip(model.blocks, captured, projected, strict=True):
            assert len(list(layer.row_blocks())) > 1
            torch.testing.assert_close(weights_times_values(block, layer), y_BxTxM, atol=2e-4, rtol=1e-3)


def test_bidirectional_attention_is_computed_again(model_of: Callable[..., Any], ids_of: Callable[..., Tensor]) -> None:
    model, projected = model_of("t5", attention="bidirectional"), list[Tensor]()
    model.blocks[1].o.register_forward_pre_hook(lambda _, inputs: projected.append(inputs[0]))
    with torch.no_grad(), capture_layers(model) as captured:
        model(ids_of(2, 7))
    torch.testing.assert_close(weights_times_values(model.blocks[1], captured[1]), projected[0], atol=1e-5, rtol=1e-4)
    weights_NxHxT = attention_rows(captured[1], torch.ones(2, 7, dtype=torch.bool))
    assert bool((weights_NxHxT[0] > 0).all())  # the first token attends to later ones
    torch.testing.assert_close(captured[1].scores(2, 5), captured[1].scores(0, 7)[:, :, 2:5])


def test_capturing_leaves_no_hooks_behind(model_of: Callable[..., Any], ids_of: Callable[..., Tensor]) -> None:
    model = model_of("none")
    with capture_layers(model) as captured:
        model(ids_of(1, 4))
    model(ids_of(1, 4))
    assert len(captured) == 2


def test_an_encoding_that_claims_invariance_does_not_notice_later_positions(encoding_name: str) -> None:
    loaded = untrained_model(encoding_name, n_layer=2)
    (line,) = shift_scores(loaded, [("positions", 64)])
    if all(encoding.shift_invariant for encoding in loaded.model.current):
        assert line["logits_max"] < 1e-3
        assert line["kl_max"] < 1e-6
        assert max(line["attention"]) < 1e-4
        assert line["exact_match"] == line["exact_match_before"]


@pytest.mark.parametrize("encoding", ["learned", "sinusoidal", "fire"])
def test_an_encoding_of_absolute_positions_notices(encoding: str) -> None:
    (line,) = shift_scores(untrained_model(encoding, n_layer=2), [("positions", 64)])
    assert line["logits_mean"] > 0.01
    assert line["kl_mean"] > 1e-5
    assert min(line["attention"]) > 0.01


def test_positions_that_were_never_trained_are_counted() -> None:
    loaded = untrained_model("learned")
    loaded.model.current[0].touched_R[:10] = True
    lines = shift_scores(loaded, [("positions", 1), ("positions", 5)])  # ten tokens are read: positions 1..10, 5..14
    assert [line["untrained_positions"] for line in lines] == [0.1, 0.5]


def test_equal_weights_spread_over_the_prefix_as_over_the_rest() -> None:
    loaded = untrained_model("none")
    with torch.no_grad():
        for block in loaded.model.blocks:
            block.q.weight.zero_()
    (line,) = shift_scores(loaded, [("prefix", 6)])
    share = sum(6 / (6 + i + 1) for i in (5, 6, 7, 8)) / 4  # places that predict the 4 answers behind > x x x x |
    assert line["on_prefix"] == [pytest.approx(share, rel=1e-4)]
    assert line["attention"] == [pytest.approx(share, rel=1e-4)]


def test_a_prefix_beyond_the_window_changes_nothing() -> None:
    """A window of two keys, one layer: no answer attends to what stands before the begin token."""
    (line,) = shift_scores(untrained_model("window:width=2"), [("prefix", 16)])
    assert line["on_prefix"] == [0.0]
    assert line["attention"] == [pytest.approx(0, abs=1e-6)]
    assert line["logits_max"] < 1e-4


def test_a_shorter_prefix_is_the_end_of_a_longer_one() -> None:
    loaded = untrained_model("none")
    batch = batches_of(loaded)[0]
    short, long = (random_prefix(loaded, 4, batch, tokens) for tokens in (3, 9))
    assert torch.equal(short, long[:, -3:])
    assert len(long.unique()) > 10
    assert int(long.min()) >= 4
    assert not torch.equal(long, random_prefix(loaded, 5, batch, 9))


def test_content_behind_a_prefix_stands_at_the_positions_of_the_plain_shift() -> None:
    loaded = untrained_model("none", positions="randomized", positions_per="layer", n_layer=2, max_position=64)
    batch = batches_of(loaded)[0]
    shifted = batch.shifted(5, random_prefix(loaded, 4, batch, 5))
    assert torch.equal(shifted.positions[..., 5:], batch.shifted(5).positions)
    assert shifted.positions[1, 0, :5].tolist() == [0, 1, 2, 3, 4]
    assert shifted.answer_mask_BxT.sum() == batch.answer_mask_BxT.sum()
    assert torch.equal(shifted.inputs_BxT[shifted.answer_mask_BxT], batch.inputs_BxT[batch.answer_mask_BxT])


def test_batches_hold_every_sequence_once_at_the_positions_of_the_evaluation(monkeypatch: Any) -> None:
    monkeypatch.setattr(attention_blocks, "CELLS", 700)
    loaded = untrained_model("none", positions="randomized", max_position=64)
    batches, (block, *_) = batches_of(loaded), blocks_of(loaded)
    assert len(batches) > 3
    inputs_BxT = torch.cat([batch.inputs_BxT for batch in batches])
    assert torch.equal(inputs_BxT, torch.from_numpy(block.tokens_BxT[:, :-1]))
    positions = data.evaluation_positions(loaded.task, loaded.config, block, 4, 0)
    assert positions is not None
    assert all(batch.positions.tolist() == positions.tolist() for batch in batches)


def test_accuracy_before_and_after_and_what_changed_are_counted_apart() -> None:
    """Two sequences of two answers: all four right before, one of them wrong after."""
    answer_mask_BxT = torch.tensor([[False, True, True]] * 2)
    targets_BxT = torch.tensor([[0, 1, 2], [0, 3, 0]])
    batch = ProbeBatch(targets_BxT, targets_BxT, answer_mask_BxT, torch.arange(3)[None], block=1, first=0)
    before_NxV = torch.nn.functional.one_hot(targets_BxT[answer_mask_BxT], 4).float()
    after_NxV = before_NxV.clone()
    after_NxV[3] = torch.tensor([0.0, 0, 0, 4])
    sums, attention = invariance.ShiftSums(), [torch.ones(4, 1, 3) / 3]
    sums.add(batch, invariance.AnswerState(before_NxV, attention), invariance.AnswerState(after_NxV, attention))
    line = sums.scores("positions", 1, seconds=0)
    assert (line["exact_match_before"], line["exact_match"]) == (1, 0.5)
    assert (line["token_accuracy_before"], line["token_accuracy"], line["changed"]) == (1, 0.75, 0.25)
    assert (line["logits_max"], line["logits_mean"]) == (4, 5 / 16)


def test_kl_and_total_variation_of_hand_worked_rows() -> None:
    half, quarter = torch.tensor([[0.5, 0.5]]).log(), torch.tensor([[0.25, 0.75]]).log()
    assert float(invariance.kl_divergence(half, quarter)) == pytest.approx(0.5 * math.log(2) + 0.5 * math.log(2 / 3))
    assert float(invariance.kl_divergence(half, half + 7)) == pytest.approx(0, abs=1e-12)
    assert float(invariance.total_variation(torch.tensor([[[1.0, 0]]]), torch.tensor([[[0.25, 0.75]]]))) == 0.75


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
    assert [head["rule"] for head in heads] == ([rule] if rule else [])
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
    assert (head["rule"], head["share"]) == ("distance n", {"8": 1.0, "16": 1.0, "32": 0.0})


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


def test_the_fit_of_mean_scores_is_that_of_the_mean_over_sequences(monkeypatch: Any) -> None:
    loaded = untrained_model("none", n_layer=2)
    with torch.no_grad():
        layers = [layer.scores(0, 10).double().mean(0) for layer in layer_inputs(loaded, batches_of(loaded)[0])]
        expected = [[toeplitz.fit(mean_TxT, torch.ones(10, 10).tril().bool()) for mean_TxT in layer] for layer in layers]
        monkeypatch.setattr(attention_blocks, "CELLS", 700)
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
@pytest.mark.parametrize("keys", [{}, {"logit_scale": "logn"}, {"attention": "bidirectional"}], ids=str)
def test_four_terms_add_up_to_the_score(encoding: str, keys: dict[str, Any]) -> None:
    loaded = untrained_model(encoding, **keys)
    norm = loaded.model.blocks[0].norm1
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
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


def test_shares_sum_to_1_and_small_batches_change_nothing(monkeypatch: Any) -> None:
    loaded = untrained_model("sinusoidal")
    whole = score_terms.measure(loaded.model, batches_of(loaded))
    monkeypatch.setattr(attention_blocks, "CELLS", 700)
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

"""Attention weights and shifts of hand-made models, where every number is known beforehand."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from helpers.probes import batches_of, blocks_of, untrained_model
from torch import Tensor

from rpecli import data
from rpecli.attention.blocks import BlockSizes
from rpecli.attention.reference import split_heads
from rpecli.model import LoadedModel
from rpecli.probes import invariance
from rpecli.probes.attention_weights import LayerInputs, attention_rows, capture_layers
from rpecli.probes.inputs import ProbeBatch, random_prefix
from rpecli.run.records import ShiftScores

SETTINGS = [{}, {"logit_scale": "ssmax"}, {"normalizer": "stick-breaking"}]


def shift_scores(loaded: LoadedModel, shifts: list[tuple[invariance.Kind, int]], length: int = 4) -> list[ShiftScores]:
    return invariance.measure(loaded, length, blocks_of(loaded, length), shifts, [])


def weights_times_values(block: Any, layer: LayerInputs) -> Tensor:
    """`[B, T, M]`, from the attention of every row."""
    B, T, _ = layer.h_BxTxM.shape
    weights_BxHxTxT = attention_rows(layer, torch.ones(B, T, dtype=torch.bool)).unflatten(0, (B, T)).transpose(1, 2)
    return (weights_BxHxTxT @ split_heads(block.attention.v(layer.h_BxTxM), block.attention.n_head)).transpose(1, 2).flatten(2)


@pytest.mark.parametrize("keys", SETTINGS, ids=str)
def test_the_weights_computed_again_are_those_the_model_used(
    encoding_name: str, keys: dict[str, Any], model_of: Callable[..., Any], ids_of: Callable[..., Tensor]
) -> None:
    """The input of a block's last projection is weights times values, whatever the kernel; in blocks of 3 rows."""
    model, ids_BxT = model_of(encoding_name, **keys), ids_of(2, 10)
    model.block_sizes = BlockSizes(cells=60)
    projected: list[Tensor] = []
    for block in model.blocks:
        block.attention.o.register_forward_pre_hook(lambda _, inputs: projected.append(inputs[0]))
    with torch.no_grad(), capture_layers(model) as captured:
        model(ids_BxT, torch.arange(10)[None] + 5)
        for block, layer, y_BxTxM in zip(model.blocks, captured, projected, strict=True):
            assert len(list(layer.row_blocks())) > 1
            torch.testing.assert_close(weights_times_values(block, layer), y_BxTxM, atol=2e-4, rtol=1e-3)


def test_bidirectional_attention_is_computed_again(model_of: Callable[..., Any], ids_of: Callable[..., Tensor]) -> None:
    model, projected = model_of("t5", attention="bidirectional"), list[Tensor]()
    model.blocks[1].attention.o.register_forward_pre_hook(lambda _, inputs: projected.append(inputs[0]))
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
            block.attention.q.weight.zero_()
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


def test_batches_hold_every_sequence_once_at_the_positions_of_the_evaluation() -> None:
    loaded = untrained_model("none", positions="randomized", max_position=64)
    loaded.model.block_sizes = BlockSizes(cells=175)
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
